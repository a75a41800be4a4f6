"""How far rows moved a prediction at each kept checkpoint of training: a line per row."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import plotly.graph_objects as go

from influence.charts.colours import GROUPS
from influence.charts.frame import framed
from influence.evidence.words import signed

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "star")


class Line(NamedTuple):
    """A row's terms, one per checkpoint, and whether it speaks for the prediction."""

    name: str
    values: Sequence[float]
    speaks_for: bool


def course(steps: Sequence[int], lines: Sequence[Line], axis: str) -> go.Figure:
    """Draw the lines over the training steps of the checkpoints; sides differ in colour and dash, rows of a side in their marks."""
    figure, drawn = go.Figure(), {True: 0, False: 0}
    for line in lines:
        tint = GROUPS[0] if line.speaks_for else GROUPS[1]
        symbol = SYMBOLS[drawn[line.speaks_for] % len(SYMBOLS)]
        drawn[line.speaks_for] += 1
        figure.add_trace(
            go.Scatter(
                x=list(steps),
                y=list(line.values),
                mode="lines+markers",
                name=escape(line.name),
                line={"color": tint, "dash": "solid" if line.speaks_for else "dash"},
                marker={"symbol": symbol, "size": 8, "color": tint},
                customdata=[f"{escape(line.name)}, step {s:,}: {signed(v)}" for s, v in zip(steps, line.values, strict=True)],
                hovertemplate="%{customdata}<extra></extra>",
            )
        )
    return framed(figure, 340, x="training step", y=axis, legend=True)
