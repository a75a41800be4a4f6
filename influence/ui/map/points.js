// Points and colours as they come from the server: a header in JSON and raw arrays behind it; which point lies nearest; outlines made short.

const TYPES = { f4: Float32Array, u1: Uint8Array, u4: Uint32Array, i4: Int32Array };
const CELLS = 512; // along each axis of the grid in which a point is looked for
const HELD = 2; // layouts whose points are kept at a time

function unpacked(data) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const array = name => {
    const [type, start, size] = header.parts[name], from = bytes.byteOffset + 4 + length + start;
    const kind = TYPES[type];
    return from % kind.BYTES_PER_ELEMENT ? new kind(bytes.buffer.slice(from, from + size)) : new kind(bytes.buffer, from, size / kind.BYTES_PER_ELEMENT);
  };
  return { header, array };
}

function namer(points) { // ids are read when the first one is asked for
  let names;
  return k => {
    names ??= points.header.parts.ids[0] === "u1" ? new TextDecoder().decode(points.array("ids")).split("\n") : points.array("ids");
    return String(names[k]);
  };
}

function finder(places, extent) { // the points of each cell, one cell after another
  const [left, low, right, high] = extent, n = places.length / 2;
  const cell = (value, from, to) => Math.max(0, Math.min(CELLS - 1, Math.floor((value - from) / (to - from) * CELLS)));
  const starts = new Uint32Array(CELLS * CELLS + 1), order = new Uint32Array(n), own = new Uint32Array(n);
  for (let k = 0; k < n; k++) {
    own[k] = cell(places[2 * k + 1], low, high) * CELLS + cell(places[2 * k], left, right);
    starts[own[k] + 1]++;
  }
  for (let k = 0; k < CELLS * CELLS; k++) starts[k + 1] += starts[k];
  const next = starts.slice();
  for (let k = 0; k < n; k++) order[next[own[k]]++] = k;
  return (x, y, reach) => { // the nearest point, with distances in units of `reach`; -1 if none is nearer than 1
    let best = -1, nearest = 1;
    const columns = [cell(x - reach[0], left, right), cell(x + reach[0], left, right)];
    for (let row = cell(y - reach[1], low, high); row <= cell(y + reach[1], low, high); row++) {
      for (let at = starts[row * CELLS + columns[0]]; at < starts[row * CELLS + columns[1] + 1]; at++) {
        const k = order[at], far = Math.hypot((places[2 * k] - x) / reach[0], (places[2 * k + 1] - y) / reach[1]);
        if (far < nearest) [best, nearest] = [k, far];
      }
    }
    return best;
  };
}

function shortened(line, slack) { // Douglas and Peucker 1973: corners nearer to the line than `slack` pixels go
  const kept = new Uint8Array(line.length), open = [[0, line.length - 1]];
  kept[0] = kept[line.length - 1] = 1;
  while (open.length) {
    const [from, to] = open.pop(), [x0, y0] = line[from], [x1, y1] = line[to], length = Math.hypot(x1 - x0, y1 - y0);
    let far = slack, at = -1;
    for (let k = from + 1; k < to; k++) {
      const [x, y] = line[k];
      const off = length ? Math.abs((x1 - x0) * (y0 - y) - (x0 - x) * (y1 - y0)) / length : Math.hypot(x - x0, y - y0);
      if (off > far) [far, at] = [off, k];
    }
    if (at > 0) {
      kept[at] = 1;
      open.push([from, at], [at, to]);
    }
  }
  return line.filter((_, k) => kept[k]);
}
