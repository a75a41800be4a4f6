// Points are sent apart from their colours, so that another colour does not send them again: this component draws nothing and holds them.

export default function (component) {
  const points = unpacked(component.data), held = globalThis.lethePoints ??= new Map();
  if (held.has(points.header.placed)) return;
  if (held.size >= HELD) held.delete(held.keys().next().value);
  held.set(points.header.placed, points);
  globalThis.dispatchEvent(new Event("lethe-points"));
}
