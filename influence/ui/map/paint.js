// Painting: all points in one WebGL2 call, coloured in the vertex shader, so that nothing but a view changes while one moves about.

const VERTEX = `#version 300 es
precision highp float;
layout(location = 0) in vec2 place;
layout(location = 1) in float value;
layout(location = 2) in float mark;
uniform vec2 centre, reach;      // the view, in the units of the coordinates
uniform vec4 frame;              // the outline's box: left, low, right, high
uniform float size, low, high;
uniform int kind;                // 0 diverging, 1 sequential, 2 categories
uniform bool outlined, marked;
uniform vec3 ground, grey;
uniform sampler2D palette, mask;
flat out vec4 tint;
flat out float ring;
void main() {
  float share = clamp((value - low) / (high - low), 0.0, 1.0);
  bool known = !isnan(value);
  int at = kind == 2 ? int(min(value, 255.0)) : int(share * 255.0 + 0.5);
  vec3 own = known ? texelFetch(palette, ivec2(at, 0), 0).rgb : grey;
  vec2 in_frame = (place - frame.xy) / (frame.zw - frame.xy);
  bool within = all(greaterThanEqual(in_frame, vec2(0.0))) && all(lessThanEqual(in_frame, vec2(1.0))) && texture(mask, in_frame).a > 0.5;
  bool chosen = outlined ? within : !marked || mark > 0.5;
  bool apart = (outlined || marked) && chosen;
  float strength = !known ? 0.0 : kind == 0 ? abs(2.0 * share - 1.0) : kind == 1 ? share : fract(float(gl_VertexID) * 0.61803398875);
  float depth = (1.0 - strength) * 0.98 - (chosen ? 0.99 : 0.0);  // the strong lie on the weak, the chosen on the others
  gl_Position = vec4((place - centre) / reach, depth, 1.0);
  gl_PointSize = apart ? size * 1.25 + 1.0 : size;
  ring = marked && !outlined && chosen && size > 3.0 ? 1.0 : 0.0;
  tint = vec4(chosen ? own : mix(own, ground, 0.82), gl_PointSize);
}`;

const FRAGMENT = `#version 300 es
precision mediump float;
flat in vec4 tint;
flat in float ring;
uniform vec3 ink;
out vec4 colour;
void main() {
  vec2 off = gl_PointCoord - 0.5;
  float far = dot(off, off);
  if (tint.a > 2.5 && far > 0.25) discard;
  colour = vec4(ring > 0.5 && far > 0.13 ? ink : tint.rgb, 1.0);
}`;

const UNIFORMS = ["centre", "reach", "frame", "size", "low", "high", "kind", "outlined", "marked", "ground", "grey", "palette", "mask", "ink"];
const MASK = 1024;    // pixels of the picture of an outline, by which the others are muted
const MOVING = 60000; // points painted while one moves about
const SLICE = 125000; // points painted at a time where all are: between two slices the hand that moves on is answered
const STRIDE = 31;    // WebGL takes strides of up to 255 bytes

function compiled(gl, type, source) {
  const shader = gl.createShader(type);
  gl.shaderSource(shader, source);
  gl.compileShader(shader);
  if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) throw new Error(gl.getShaderInfoLog(shader));
  return shader;
}

function painter(gl) {
  const program = gl.createProgram();
  gl.attachShader(program, compiled(gl, gl.VERTEX_SHADER, VERTEX));
  gl.attachShader(program, compiled(gl, gl.FRAGMENT_SHADER, FRAGMENT));
  gl.linkProgram(program);
  gl.useProgram(program);
  gl.enable(gl.DEPTH_TEST);
  const at = Object.fromEntries(UNIFORMS.map(name => [name, gl.getUniformLocation(program, name)]));
  const buffers = [0, 1, 2].map(() => gl.createBuffer());
  const textures = [0, 1].map(unit => {
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const name of ["TEXTURE_MIN_FILTER", "TEXTURE_MAG_FILTER"]) gl.texParameteri(gl.TEXTURE_2D, gl[name], gl.NEAREST);
    for (const name of ["TEXTURE_WRAP_S", "TEXTURE_WRAP_T"]) gl.texParameteri(gl.TEXTURE_2D, gl[name], gl.CLAMP_TO_EDGE);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
    return texture;
  });
  gl.uniform1i(at.palette, 0);
  gl.uniform1i(at.mask, 1);
  const shapes = [[2, gl.FLOAT, 8], [1, gl.FLOAT, 4], [1, gl.UNSIGNED_BYTE, 1]];

  return {
    points(places, values, marks) {
      [places, values, marks].forEach((array, k) => {
        gl.bindBuffer(gl.ARRAY_BUFFER, buffers[k]);
        gl.bufferData(gl.ARRAY_BUFFER, array, gl.STATIC_DRAW);
        gl.enableVertexAttribArray(k);
      });
    },
    palette(colours) {
      const pixels = new Uint8Array(1024);
      colours.forEach((colour, k) => pixels.set([...colour, 255], 4 * k));
      gl.activeTexture(gl.TEXTURE0);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    },
    mask(outline, frame) {
      const picture = new OffscreenCanvas(MASK, MASK), pen = picture.getContext("2d");
      pen.beginPath();
      for (const [x, y] of outline) pen.lineTo((x - frame[0]) / (frame[2] - frame[0]) * MASK, (y - frame[1]) / (frame[3] - frame[1]) * MASK);
      pen.fill("evenodd");
      gl.activeTexture(gl.TEXTURE1);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, picture);
    },
    paint(n, look, moving) { // the first points, on a cleared ground; returns how many were painted
      const each = moving ? Math.min(STRIDE, Math.ceil(n / MOVING)) || 1 : 1;
      gl.viewport(0, 0, gl.canvas.width, gl.canvas.height);
      gl.clearColor(...look.ground, 1);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.uniform2fv(at.centre, look.centre);
      gl.uniform2fv(at.reach, look.reach);
      gl.uniform4fv(at.frame, look.frame || [0, 0, 1, 1]);
      for (const name of ["size", "low", "high"]) gl.uniform1f(at[name], look[name]);
      for (const name of ["ground", "grey", "ink"]) gl.uniform3fv(at[name], look[name]);
      gl.uniform1i(at.kind, look.kind);
      gl.uniform1i(at.outlined, look.frame ? 1 : 0);
      gl.uniform1i(at.marked, look.marked ? 1 : 0);
      shapes.forEach(([width, type, bytes], k) => {
        gl.bindBuffer(gl.ARRAY_BUFFER, buffers[k]);
        gl.vertexAttribPointer(k, width, type, false, bytes * each, 0);
      });
      const first = moving ? Math.floor(n / each) : Math.min(n, SLICE);
      gl.drawArrays(gl.POINTS, 0, first);
      return moving ? n : first;
    },
    more(from, n) { // further points on what is there: the depth that was kept says which lie on top; returns up to which one
      gl.drawArrays(gl.POINTS, from, Math.min(SLICE, n - from));
      return Math.min(n, from + SLICE);
    },
    begun() { // a promise to be asked whether all that was painted is on the ground, so that no more is asked for than one can wait for
      const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
      gl.flush();
      return () => gl.isContextLost() || gl.clientWaitSync(fence, 0, 0) !== gl.TIMEOUT_EXPIRED;
    },
  };
}
