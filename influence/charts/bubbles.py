"""How many rows one model puts into a class and another into a class: a circle per pair, its area as large as it has rows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from influence.charts.colours import GREY
from influence.charts.frame import framed

LINE = 40
"""Pixels of a class on each axis; the largest circle fills most of it."""


def bubbles(table: pd.DataFrame, classes: Sequence[str], names: tuple[str, str], tint: str) -> go.Figure:
    """Draw the rows of `table` (columns before, after, rows): `names[0]` across, `names[1]` down; what stayed on the diagonal, grey."""
    most = max(1, int(table["rows"].max())) if len(table) else 1
    figure = go.Figure()
    for stayed, colour in ((True, GREY), (False, tint)):
        own = table[(table["before"] == table["after"]) == stayed]
        figure.add_trace(
            go.Scatter(
                x=[classes.index(name) for name in own["before"]],
                y=[classes.index(name) for name in own["after"]],
                mode="markers",
                marker={"size": np.maximum(4, 0.85 * LINE * np.sqrt(own["rows"] / most)), "color": colour, "opacity": 0.85},
                customdata=[f"{escape(str(r.before))} → {escape(str(r.after))}: {int(r.rows):,} rows" for r in own.itertuples()],
                hovertemplate="%{customdata}<extra></extra>",
            )
        )
    framed(figure, 90 + LINE * len(classes), escape(names[0]), escape(names[1]))
    ticks = {"tickvals": list(range(len(classes))), "ticktext": [escape(str(name)) for name in classes], "zeroline": False}
    figure.update_xaxes(range=[-0.6, len(classes) - 0.4], side="top", **ticks)
    figure.update_yaxes(range=[len(classes) - 0.4, -0.6], **ticks)
    figure.update_layout(margin={"t": 60})
    return figure
