"""Pairs of things as a square of figures: colour says what the number in it says."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from influence.charts.frame import framed

LOW, NONE, HIGH = "#E69F00", "#F2F2F2", "#56B4E9"
"""Orange to blue over white (colour-blind people tell them apart): dark figures can be read on each."""


def matrix(names: Sequence[str], values: Sequence[Sequence[float | None]], told: Sequence[Sequence[str]], low: float = -1.0) -> go.Figure:
    """Draw a square matrix of figures from `low` to 1; `told`: what is said of each cell under the pointer."""
    labels = [escape(name) for name in names]
    cells = [["" if v is None else f"{v:.2f}" for v in row] for row in values]
    middle = max(0.0, (0 - low) / (1 - low))
    scale = [[0.0, LOW if middle else NONE], [middle, NONE], [1.0, HIGH]]
    figure = go.Figure(
        go.Heatmap(
            z=values, x=labels, y=labels, zmin=low, zmax=1, colorscale=scale, text=cells, texttemplate="%{text}",
            textfont={"color": "#111111"},
            customdata=told, hovertemplate="%{customdata}<extra></extra>", showscale=False, xgap=2, ygap=2,
        )
    )  # fmt: skip
    framed(figure, 90 + 46 * max(2, len(labels)))
    figure.update_xaxes(showgrid=False, type="category")
    figure.update_yaxes(showgrid=False, autorange="reversed", type="category")
    return figure
