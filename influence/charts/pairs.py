"""What one model predicts of a number beside what another does: a point per row, on the diagonal where they agree."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from influence.charts.colours import GREY
from influence.charts.frame import framed
from influence.evidence.words import number


def pairs(rows: pd.DataFrame, before: str, after: str, names: tuple[str, str], tint: str) -> go.Figure:
    """Draw rows (columns id, target, and those named `before` and `after`) on two axes of one scale, on the graphics card."""
    x, y = (rows[name].to_numpy(dtype=float) for name in (before, after))
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    told = [
        f"{escape(str(i))}: {number(a)} → {number(b)}, true value {number(t)}"
        for i, a, b, t in zip(rows["id"], x, y, rows["target"], strict=True)
    ]
    figure = go.Figure(go.Scattergl(x=ends, y=ends, mode="lines", line={"color": GREY, "dash": "dot"}, hoverinfo="skip"))
    figure.add_trace(
        go.Scattergl(
            x=x, y=y, mode="markers", marker={"size": 6, "color": tint, "opacity": _opacity(len(rows))},
            customdata=told, hovertemplate="%{customdata}<extra></extra>",
        )
    )  # fmt: skip
    framed(figure, 380, escape(names[0]), escape(names[1]))
    figure.update_yaxes(scaleanchor="x", scaleratio=1)
    return figure


def _opacity(n: int) -> float:
    """Return how solid points are: of many, only places where several lie are."""
    return float(np.clip(20 / np.sqrt(max(n, 1)), 0.25, 0.8))
