"""How scores are spread."""

from __future__ import annotations

from html import escape

import numpy as np
import plotly.graph_objects as go

from influence.charts.colours import LOWERS, RAISES
from influence.charts.frame import framed

FORMAT = ".2~g"
"""Of scores, on every axis as in the tables: not 5e-4 here and 500 millionths there."""


def histogram(values: np.ndarray, axis: str) -> go.Figure:
    """Draw the number of rows by score, in two colours left and right of 0; counts on a logarithmic scale, since most rows are near 0."""
    edges = np.histogram_bin_edges(values, bins=60)
    return _drawn(edges, [np.histogram(values[part], edges)[0] for part in (values < 0, values >= 0)], axis)


def binned(edges: np.ndarray, counts: np.ndarray, axis: str) -> go.Figure:
    """Draw counts (B,) between edges (B + 1,) as `histogram` does; a bin that holds 0 counts to the side on which its middle lies."""
    low = (edges[:-1] + edges[1:]) / 2 < 0
    return _drawn(edges, [np.where(low, counts, 0), np.where(low, 0, counts)], axis)


def _drawn(edges: np.ndarray, sides: list[np.ndarray], axis: str) -> go.Figure:
    figure, middle = go.Figure(), (edges[:-1] + edges[1:]) / 2
    looks = ((LOWERS, "▼ removal lowers the metric"), (RAISES, "▲ removal raises the metric"))
    for counts, (tint, name) in zip(sides, looks, strict=True):
        figure.add_trace(go.Bar(x=middle[counts > 0], y=counts[counts > 0], width=np.diff(edges)[counts > 0], marker_color=tint, name=name))
    figure.update_yaxes(type="log")
    figure.update_layout(barmode="overlay", bargap=0)
    figure.update_xaxes(tickformat=FORMAT)
    return framed(figure, 260, escape(axis), "rows (log scale)", legend=True)
