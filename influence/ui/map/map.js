// The map: what hands do with it, and what it tells the server, an outline in the units of the coordinates. The server counts what is inside.

const RADIUS = 8, SMALLEST = 5; // pixels in which a point is under the pointer, and of an outline that is one
const KEYS = { "+": "in", "=": "in", "-": "out", "_": "out", "0": "reset", Home: "reset", Escape: "clear", Enter: "view" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

class Hands extends View {
  constructor(root) {
    super(root);
    this.mode = "lasso";
    this.listen();
  }

  listen() {
    const on = (name, act, target = this.canvas) => target.addEventListener(name, e => this.points && act(e), { passive: false });
    on("pointerdown", e => this.press(e));
    on("pointermove", e => this.move(e));
    on("pointerup", e => this.release(e));
    on("pointercancel", () => { this.line = this.held = null; this.overlay(); });
    on("pointerleave", () => { this.tip.hidden = true; });
    on("wheel", e => this.wheel(e));
    on("keydown", e => this.key(e));
    on("transitionend", () => this.load(false), this.ground); // the ground's colour changed: another theme
    on("click", e => this.tool(e.target.closest("button")), this.root.querySelector(".tools"));
    const meet = () => this.root.isConnected ? this.meet() : globalThis.removeEventListener("lethe-points", meet);
    globalThis.addEventListener("lethe-points", meet);
    new ResizeObserver(() => this.draw()).observe(this.ground);
  }

  take(data) {
    const colours = unpacked(data), { key, marked, alt } = colours.header;
    if (key === this.header?.key) return;
    this.header = colours.header;
    this.values = colours.array("values");
    this.marks = marked ? colours.array("marks") : null;
    this.canvas.setAttribute("aria-label", alt);
    this.meet();
  }

  meet() { // points and their colours come one after the other
    const points = globalThis.lethePoints?.get(this.header?.placed);
    if (!points) return;
    if (points !== this.points) {
      [this.points, this.places, this.name] = [points, points.array("places"), namer(points)];
      this.find = this.outline = this.within = null;
      this.look(points.header.first);
    }
    this.load();
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.tip.hidden = true;
    if (this.mode === "pan" || event.shiftKey || event.button === 1) this.held = this.at(event);
    else if (event.button === 0) this.line = [this.at(event)];
  }

  move(event) {
    const here = this.at(event);
    if (this.held) {
      const [from, to] = [this.place(this.held), this.place(here)];
      this.centre = this.centre.map((value, k) => value + from[k] - to[k]);
      this.held = here;
      this.draw();
    } else if (this.line) {
      const first = this.line[0], last = this.line[this.line.length - 1];
      if (this.mode === "box") this.line = [first, [here[0], first[1]], here, [first[0], here[1]]];
      else if (Math.hypot(here[0] - last[0], here[1] - last[1]) >= 2) this.line.push(here);
      this.overlay();
    } else this.hover(here);
  }

  release() {
    const line = this.line;
    this.line = this.held = null;
    if (!line) return;
    const span = [0, 1].map(k => Math.max(...line.map(p => p[k])) - Math.min(...line.map(p => p[k])));
    if (line.length < 3 || Math.min(...span) < SMALLEST) this.choose(null); // a click is no outline: it takes the last one away
    else this.choose((this.mode === "box" ? line : shortened(line, 0.7)).map(corner => this.place(corner)));
  }

  choose(outline) {
    if (!outline && !this.outline) return this.overlay();
    this.outline = outline;
    this.tell("outline", outline); // before it is painted: the server counts meanwhile
    const xs = outline?.map(p => p[0]), ys = outline?.map(p => p[1]);
    this.within = outline && inside(this.places, outline, [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)]);
    this.draw();
  }

  hover(here) {
    const scale = [2 * this.reach[0] / this.canvas.clientWidth, 2 * this.reach[1] / this.canvas.clientHeight];
    this.find ??= finder(this.places, this.points.header.extent);
    const k = this.find(...this.place(here), scale.map(part => part * RADIUS));
    this.tip.hidden = k < 0;
    if (k < 0) return;
    const value = this.values[k], label = this.points.array("labels")[k], { names, title } = this.header, { classes, target } = this.points.header;
    const said = Number.isNaN(value) ? "not known" : names ? names[value] : value.toPrecision(3);
    const own = classes ? classes[label] : Number(label).toPrecision(4);
    this.tip.textContent = `id ${this.name(k)}\n${target}: ${own}` + (title === target ? "" : `\n${title}: ${said}`);
    const [x, y] = this.pixel([this.places[2 * k], this.places[2 * k + 1]]);
    this.tip.style.left = `${Math.min(x + 12, this.canvas.clientWidth - this.tip.offsetWidth - 4)}px`;
    this.tip.style.top = `${Math.max(4, y - this.tip.offsetHeight - 10)}px`;
  }

  zoom(factor, about = this.centre) {
    this.centre = this.centre.map((value, k) => about[k] + (value - about[k]) * factor);
    this.reach = this.reach.map(value => value * factor);
    this.draw();
  }

  wheel(event) {
    const focused = this.root.getRootNode().activeElement === this.canvas;
    if (!focused && !event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    this.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.004), this.place(this.at(event)));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (ARROWS[event.key]) {
      this.centre = this.centre.map((value, k) => value + ARROWS[event.key][k] * this.reach[k] * 0.2);
      this.draw();
    } else if (KEYS[event.key]) this.act(KEYS[event.key]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  act(what) {
    const [[x, y], [w, h]] = [this.centre, this.reach];
    if (what === "in" || what === "out") this.zoom(what === "in" ? 0.7 : 1 / 0.7);
    else if (what === "reset") { this.look(this.points.header.extent); this.draw(); }
    else if (what === "clear") { this.line = null; this.choose(null); }
    else this.choose([[x - w, y - h], [x + w, y - h], [x + w, y + h], [x - w, y + h]]);
  }

  tool(button) {
    if (!button) return;
    if (button.dataset.do) return this.act(button.dataset.do);
    this.mode = button.dataset.mode;
    for (const each of this.root.querySelectorAll("[data-mode]")) each.setAttribute("aria-pressed", String(each === button));
    this.canvas.style.cursor = this.mode === "pan" ? "grab" : "crosshair";
  }
}

export default function (component) {
  const root = component.parentElement.querySelector(".map"), map = root.map ??= new Hands(root);
  map.tell = component.setStateValue;
  map.take(component.data);
}
