// What one looks at: the part of the plane, the theme's colours, the axes, the outline and the legend.

const MUTED = 0.55; // share of the ground in the colour of what is not chosen
const CELL = 2;     // pixels of the page within which only the point on top is painted

const GREY = [138, 144, 153];
const rgb = text => text.startsWith("#") ? [1, 3, 5].map(k => parseInt(text.slice(k, k + 2), 16)) : (text.match(/[\d.]+/g) || [0, 0, 0]).slice(0, 3).map(Number);

function ramp(stops) { // 256 colours between equally distant stops
  const known = stops.map(rgb);
  return Array.from({ length: 256 }, (_, k) => {
    const at = k / 255 * (known.length - 1), from = Math.min(known.length - 2, Math.floor(at));
    return known[from].map((part, c) => Math.round(part + (known[from + 1][c] - part) * (at - from)));
  });
}

function ticks(from, to) { // round numbers, about four
  const step0 = (to - from) / 4, power = 10 ** Math.floor(Math.log10(step0));
  const step = power * [1, 2, 5, 10].find(k => k * power >= step0), out = [];
  for (let k = Math.ceil(from / step); k * step <= to; k++) out.push(Number((k * step).toPrecision(6)));
  return out;
}

class View {
  constructor(root) {
    this.root = root;
    this.ground = root.querySelector(".ground");
    [this.canvas, this.svg, this.tip, this.legend, this.out] = ["canvas", "svg", ".tip", ".legend", ".out"].map(name => root.querySelector(name));
    this.painter = new Painter(this.canvas);
    this.outline = null;
  }

  load(all = true) { // what is painted, and the colours of the theme
    if (!this.header || !this.points) return;
    const style = getComputedStyle(this.ground), ground = rgb(style.backgroundColor), { kind, low, high } = this.header;
    const dark = ground[0] * 0.299 + ground[1] * 0.587 + ground[2] * 0.114 < 128;
    this.colours = this.header.colours[dark ? "dark" : "light"];
    if (all) Object.assign(this, toned(this.values, kind, low, high));
    const every = Object.assign(Array(TONES).fill(GREY), kind === "categories" ? this.colours.map(rgb) : ramp(this.colours), { [UNKNOWN]: GREY });
    const plain = colour => packedColours([colour], ground, 0)[0];
    this.theme = { palette: packedColours(every, ground, 0), muted: packedColours(every, ground, MUTED), ground: plain(ground), ink: plain(rgb(style.color)) };
    this.explain();
    this.draw();
  }

  look([left, low, right, high]) {
    this.centre = [(left + right) / 2, (low + high) / 2];
    this.reach = [(right - left) / 2 * 1.06, (high - low) / 2 * 1.06];
  }

  draw() {
    cancelAnimationFrame(this.frameId);
    this.frameId = requestAnimationFrame(() => this.paint());
  }

  paint() {
    const box = this.canvas.getBoundingClientRect(), dense = window.devicePixelRatio || 1;
    if (!this.theme || !box.width) return;
    const [width, height] = [Math.round(box.width * dense), Math.round(box.height * dense)];
    if (this.canvas.width !== width || this.canvas.height !== height) [this.canvas.width, this.canvas.height] = [width, height];
    const n = this.values.length, zoom = (this.points.header.extent[2] - this.points.header.extent[0]) / 2 / this.reach[0];
    const size = Math.min(8, Math.max(1.5, 0.55 * Math.sqrt(box.width * box.height / n) * Math.sqrt(Math.max(1, zoom)))) * dense;
    const chosen = this.within || this.marks, { centre, reach, places, tones, levels } = this;
    this.painter.paint({ places, tones, levels, chosen }, { ...this.theme, centre, reach, size, cell: CELL * dense, ring: !this.within });
    this.overlay();
    this.tellOutside(this.painter.outside);
    Object.assign(this.root.dataset, { n, key: this.header.key, view: [...centre, ...reach].join(" "), painted: performance.now() });
  }

  tellOutside(n) {
    const said = n === 1 ? "1 row lies" : `${n.toLocaleString("en")} rows lie`, text = n ? `${said} outside this view: “Whole map” shows all.` : "";
    if (this.out.textContent !== text) this.out.textContent = text;
  }

  overlay() {
    const box = this.canvas.getBoundingClientRect(), parts = [];
    const make = (name, attributes, text = "") => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
      node.textContent = text;
      parts.push(node);
    };
    const [x0, x1, y0, y1] = [this.centre[0] - this.reach[0], this.centre[0] + this.reach[0], this.centre[1] - this.reach[1], this.centre[1] + this.reach[1]];
    for (const x of ticks(x0, x1)) make("text", { x: this.pixel([x, 0])[0], y: box.height - 20, "text-anchor": "middle" }, String(x));
    for (const y of ticks(y0, y1)) if (this.pixel([0, y])[1] < box.height - 34) make("text", { x: 6, y: this.pixel([0, y])[1] + 4 }, String(y));
    make("text", { x: box.width / 2, y: box.height - 6, "text-anchor": "middle", class: "axis" }, this.points.header.axes[0]);
    make("text", { x: 8, y: 16, class: "axis" }, `${this.points.header.axes[1]} ↑`);
    const drawn = this.line || this.outline?.map(corner => this.pixel(corner));
    if (drawn) make("polygon", { points: drawn.map(corner => corner.join(",")).join(" ") });
    this.svg.replaceChildren(...parts);
  }

  pixel([x, y]) {
    const box = this.canvas.getBoundingClientRect();
    return [((x - this.centre[0]) / this.reach[0] + 1) / 2 * box.width, (1 - (y - this.centre[1]) / this.reach[1]) / 2 * box.height];
  }

  place([x, y]) {
    const box = this.canvas.getBoundingClientRect();
    return [this.centre[0] + (2 * x / box.width - 1) * this.reach[0], this.centre[1] + (1 - 2 * y / box.height) * this.reach[1]];
  }

  explain() {
    const span = (text, inner) => {
      const node = document.createElement("span");
      if (inner) node.append(inner);
      node.append(text);
      return node;
    };
    const { kind, title, ends, names } = this.header, swatch = document.createElement("span");
    const selected = this.marks ? [span("○ selected")] : [];
    if (kind === "categories") {
      const chips = names.map((name, k) => {
        const chip = document.createElement("span");
        [chip.className, chip.style.background] = ["chip", this.colours[k]];
        return span(name, chip);
      });
      return this.legend.replaceChildren(span(title), ...chips, ...selected);
    }
    [swatch.className, swatch.style.background] = ["bar", `linear-gradient(90deg, ${this.colours.join(", ")})`];
    this.legend.replaceChildren(span(title), span(ends[0]), swatch, span(ends[1]), ...selected);
  }
}
