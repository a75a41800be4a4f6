"""Charts as inline SVG: pure functions of values. Colours are classes that the page's style sheet sets, for light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from markupsafe import Markup

from influence.evidence.words import interval, known, number

WIDTH, LEFT, RIGHT, TOP, STEP = 940, 300, 24, 34, 15


@dataclass(frozen=True)
class Mark:
    """A value with its interval; `series` is its place in the legend, and gives colour and shape."""

    series: int
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of a forest: its label and its marks."""

    label: str
    marks: tuple[Mark, ...]


def forest(title: str, series: Sequence[str], rows: Sequence[Row]) -> Markup:
    """Return values and intervals of several series beside each other on one axis that holds zero; nothing if there is nothing to show."""
    rows = [row for row in rows if any(known(mark.value) for mark in row.marks)]
    if not rows:
        return Markup("")
    scale = Scale.of([x for row in rows for mark in row.marks for x in (mark.value, mark.low, mark.high) if known(x)])
    heights = [STEP * max(1, len(row.marks)) + 14 for row in rows]
    bottom = TOP + sum(heights)
    parts = [_legend(series, {mark.series for row in rows for mark in row.marks}), _axis(scale, bottom)]
    y = float(TOP)
    for row, height in zip(rows, heights, strict=True):
        parts.append(_row(row, series, scale, y, height))
        y += height
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, bottom + 30, title, Markup("").join(parts)
    )


@dataclass(frozen=True)
class Scale:
    """A linear axis from `low` to `high` with round ticks `step` apart."""

    low: float
    high: float
    step: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Scale:
        """Return an axis that holds zero and all values, with four to ten steps."""
        low, high = min(0.0, *values), max(0.0, *values)
        span = (high - low) or 1.0
        power = 10.0 ** math.floor(math.log10(span / 4))
        step = next(power * factor for factor in (5, 2, 1) if span / (power * factor) >= 4)
        return cls(math.floor(low / step + 1e-9) * step, math.ceil((high or low + span) / step - 1e-9) * step, step)

    def x(self, value: float) -> float:
        """Return where a value stands, in pixels."""
        return LEFT + (value - self.low) / (self.high - self.low) * (WIDTH - LEFT - RIGHT)

    def ticks(self) -> list[float]:
        """Return the round values on the axis; zero is exactly zero."""
        first = round(self.low / self.step)
        return [(first + i) * self.step for i in range(round((self.high - self.low) / self.step) + 1)]


def _legend(series: Sequence[str], used: set[int]) -> Markup:
    parts, x = [], float(LEFT)
    for place in sorted(used):
        name = series[place]
        parts.append(_shape(place, x + 6, 12) + Markup('<text x="{:.0f}" y="16">{}</text>').format(x + 17, name))
        x += 40 + 7.2 * len(name)
    return Markup("").join(parts)


def _axis(scale: Scale, bottom: float) -> Markup:
    parts = []
    for tick in scale.ticks():
        line = Markup('<line class="{}" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>')
        parts.append(line.format("zero" if tick == 0 else "grid", scale.x(tick), scale.x(tick), TOP - 6, bottom))
        digits = max(0, -math.floor(math.log10(scale.step) + 1e-9))
        parts.append(Markup('<text class="tick" x="{:.1f}" y="{}">{}</text>').format(scale.x(tick), bottom + 18, number(tick, digits)))
    return Markup("").join(parts)


def _row(row: Row, series: Sequence[str], scale: Scale, top: float, height: float) -> Markup:
    lines = wrap(row.label, 44, max_lines=2, placeholder="…") or [""]
    start = top + height / 2 + 4 - 7 * (len(lines) - 1)
    label = '<text class="label" x="{}" y="{:.1f}">{}</text>'
    parts = [Markup(label).format(LEFT - 14, start + 14 * place, line) for place, line in enumerate(lines)]
    for place, mark in enumerate(row.marks):
        y = top + 7 + STEP * (place + 0.5)
        if not known(mark.value):
            continue
        if known(mark.low) and known(mark.high):
            bar = Markup('<line class="bar s{}" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>')
            parts.append(bar.format(mark.series, scale.x(mark.low), scale.x(mark.high), y, y))
        says = f"{row.label}, {series[mark.series]}: {number(mark.value)} ({interval(mark.low, mark.high)})"
        parts.append(Markup("<g><title>{}</title>{}</g>").format(says, _shape(mark.series, scale.x(mark.value), y)))
    return Markup("").join(parts)


def _shape(series: int, x: float, y: float) -> Markup:
    """A circle, a diamond, a square or a triangle: the series can be told apart without colour."""
    kind = f"mark s{series}"
    if series == 0:
        return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4.5"/>').format(kind, x, y)
    if series == 1:
        return Markup('<path class="{}" d="M{:.1f} {:.1f}l6 6 -6 6 -6 -6z"/>').format(kind, x, y - 6)
    if series == 3:
        return Markup('<path class="{}" d="M{:.1f} {:.1f}l5.5 10 -11 0z"/>').format(kind, x, y - 6)
    return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="9" height="9"/>').format(kind, x - 4.5, y - 4.5)


def histogram(axis: str, edges: Sequence[float], counts: Sequence[int]) -> Markup:
    """Return how many values lie in each bin, counts on a logarithmic scale; nothing if there are none."""
    most = max(counts, default=0)
    if not most or len(edges) != len(counts) + 1:
        return Markup("")
    scale, height = Scale.of([edges[0], edges[-1]]), 120
    bottom, full = TOP + height, math.log10(most + 1)
    parts = [
        _axis(scale, bottom),
        Markup('<text class="label" x="{}" y="{}">at most {} rows</text>').format(LEFT - 14, TOP + 8, f"{most:,}"),
    ]
    for left, right, count in zip(edges, edges[1:], counts, strict=False):
        if count:
            tall = height * math.log10(count + 1) / full
            bar = '<g><title>{} to {}: {} rows</title><rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/></g>'
            kind = "mark s2" if (left + right) / 2 < 0 else "mark s1"
            width = max(0.5, scale.x(right) - scale.x(left) - 0.5)
            parts.append(Markup(bar).format(number(left), number(right), count, kind, scale.x(left), bottom - tall, width, tall))
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, bottom + 30, f"How many rows lie where: {axis}", Markup("").join(parts)
    )
