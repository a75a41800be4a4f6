// Painting, by the processor: of the points that share a cell of about a point's size only the one on top is painted, so that a million points
// cost one walk through their coordinates and as many dots as the picture has cells. No graphics card, and none that is emulated, is needed.

const UNKNOWN = 256, TONES = 257, LEVELS = 256; // places in a palette, the last for values not known; strengths that are told apart
const MASK = 1024; // pixels of the picture of an outline, by which points are found inside

function toned(values, kind, low, high) { // each point's place in the palette, and how far it lies on top of the others, from 1 on
  const n = values.length, tones = new Uint16Array(n), levels = new Uint16Array(n);
  for (let k = 0; k < n; k++) {
    const value = values[k];
    if (Number.isNaN(value)) {
      [tones[k], levels[k]] = [UNKNOWN, 1];
      continue;
    }
    const share = Math.min(1, Math.max(0, (value - low) / (high - low)));
    tones[k] = kind === "categories" ? Math.min(value, UNKNOWN - 1) : share * 255 + 0.5;
    // Groups lie on each other in an order without meaning, so that none hides another.
    const strength = kind === "categories" ? k * 0.61803398875 % 1 : kind === "diverging" ? Math.abs(2 * share - 1) : share;
    levels[k] = 1 + strength * (LEVELS - 1);
  }
  return { tones, levels };
}

function packedColours(colours, ground, share) { // as pixels are written, mixed with the ground by a share
  const pixels = new Uint32Array(TONES);
  colours.forEach((colour, k) => {
    const [r, g, b] = colour.map((part, c) => Math.round(part + (ground[c] - part) * share));
    pixels[k] = 0xff000000 | b << 16 | g << 8 | r;
  });
  return pixels;
}

function inside(places, outline, frame) { // which points lie inside an outline, 0 or 1 each
  const picture = new OffscreenCanvas(MASK, MASK), pen = picture.getContext("2d", { willReadFrequently: true });
  const scale = [0, 1].map(c => MASK / (frame[2 + c] - frame[c]));
  pen.beginPath();
  for (const [x, y] of outline) pen.lineTo((x - frame[0]) * scale[0], (y - frame[1]) * scale[1]);
  pen.fill("evenodd");
  const filled = pen.getImageData(0, 0, MASK, MASK).data, found = new Uint8Array(places.length / 2);
  for (let k = 0; k < found.length; k++) {
    const x = (places[2 * k] - frame[0]) * scale[0], y = (places[2 * k + 1] - frame[1]) * scale[1];
    if (x >= 0 && x < MASK && y >= 0 && y < MASK) found[k] = filled[4 * ((y | 0) * MASK + (x | 0)) + 3] > 127;
  }
  return found;
}

class Painter {
  constructor(canvas) {
    this.pen = canvas.getContext("2d", { alpha: false });
  }

  paint(points, look) { // points: places, tones, levels, chosen or null; look: palettes, ground, ink, centre, reach, size in pixels
    const { width, height } = this.pen.canvas;
    if (this.image?.width !== width || this.image.height !== height) {
      this.image = this.pen.createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    this.pixels.fill(look.ground);
    const found = this.ordered(this.topmost(points, look, width, height));
    for (const k of found) this.dot(k, points, look, width, height);
    this.pen.putImageData(this.image, 0, 0);
  }

  topmost({ places, levels, chosen }, look, width, height) { // of each cell the point on top: its place + 1, and its level
    const cell = Math.max(1, Math.min(look.size, look.cell)), columns = Math.ceil(width / cell), rows = Math.ceil(height / cell);
    if (this.tops?.length !== columns * rows) [this.tops, this.heights] = [new Uint32Array(columns * rows), new Uint16Array(columns * rows)];
    else [this.tops, this.heights].forEach(array => array.fill(0));
    const { tops, heights } = this, n = levels.length;
    this.outside = 0; // points that are not in the picture
    const [x0, y0] = [look.centre[0] - look.reach[0], look.centre[1] + look.reach[1]];
    const [across, down] = [width / cell / 2 / look.reach[0], height / cell / 2 / look.reach[1]];
    for (let k = 0; k < n; k++) {
      const x = (places[2 * k] - x0) * across, y = (y0 - places[2 * k + 1]) * down;
      if (!(x >= 0 && x < columns && y >= 0 && y < rows)) {
        this.outside++;
        continue;
      }
      const at = (y | 0) * columns + (x | 0), level = chosen && chosen[k] ? levels[k] + LEVELS : levels[k];
      if (level > heights[at]) [heights[at], tops[at]] = [level, k + 1];
    }
    return { tops, heights };
  }

  ordered({ tops, heights }) { // places of the points that were found, those that lie on top last
    const starts = new Uint32Array(2 * LEVELS + 2);
    for (let at = 0; at < heights.length; at++) if (heights[at]) starts[heights[at] + 1]++;
    for (let level = 1; level < starts.length; level++) starts[level] += starts[level - 1];
    const found = new Uint32Array(starts[starts.length - 1]);
    for (let at = 0; at < heights.length; at++) if (heights[at]) found[starts[heights[at]]++] = tops[at] - 1;
    return found;
  }

  dot(k, { places, tones, chosen }, look, width, height) {
    const apart = chosen && chosen[k], size = apart ? look.size * 1.25 + 1 : look.size;
    const colour = (chosen && !apart ? look.muted : look.palette)[tones[k]];
    const x = ((places[2 * k] - look.centre[0]) / look.reach[0] + 1) * width / 2, y = (1 - (places[2 * k + 1] - look.centre[1]) / look.reach[1]) * height / 2;
    const left = Math.max(0, Math.round(x - size / 2)), right = Math.min(width, Math.max(Math.round(x + size / 2), Math.round(x - size / 2) + 1));
    const top = Math.max(0, Math.round(y - size / 2)), bottom = Math.min(height, Math.max(Math.round(y + size / 2), Math.round(y - size / 2) + 1));
    const ring = apart && look.ring && size > 4 ? size / 2 - 1.3 : Infinity;
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) {
        const far = size > 2.5 ? Math.hypot(column + 0.5 - x, row + 0.5 - y) : 0, at = row * width + column;
        const cover = Math.min(1, size / 2 + 0.5 - far);
        if (cover > 0) this.pixels[at] = blended(far > ring ? look.ink : colour, this.pixels[at], cover);
      }
    }
  }
}

function blended(colour, below, share) { // two pixels as they are written, mixed
  if (share >= 1) return colour;
  let pixel = 0xff000000;
  for (let shift = 0; shift < 24; shift += 8) {
    const [own, under] = [colour >>> shift & 255, below >>> shift & 255];
    pixel |= Math.round(under + (own - under) * share) << shift;
  }
  return pixel;
}
