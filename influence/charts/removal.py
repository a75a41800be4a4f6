"""A metric as rows are removed in several orders, each really retrained, beside what was predicted."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from influence.charts.colours import GREY, GROUPS
from influence.charts.frame import framed

LINES = {
    "influence": ("by influence", GROUPS[1], "circle"),
    "loss": ("by training loss", GROUPS[2], "square"),
    "random": ("at random", GREY, "x"),
}


def removal(points: pd.DataFrame, predicted: pd.DataFrame | None, title: str) -> go.Figure:
    """Draw one line per order from `points` (order, share, draw, value; of one role); random ones as mean and range over draws.

    `predicted`: columns share and value, or None.
    """
    figure = go.Figure()
    for order, (name, tint, symbol) in LINES.items():
        by = points[points["order"] == order].groupby("share")["value"].agg(["mean", "min", "max"])
        spread = {"type": "data", "array": by["max"] - by["mean"], "arrayminus": by["mean"] - by["min"], "color": tint}
        figure.add_trace(
            go.Scatter(
                x=by.index, y=by["mean"], mode="lines+markers", name=f"{name}, retrained", line_color=tint,
                marker={"symbol": symbol, "size": 9}, error_y=spread if order == "random" else None,
            )
        )  # fmt: skip
    if predicted is not None:
        line = {"color": GROUPS[1], "dash": "dot"}
        figure.add_trace(go.Scatter(x=predicted["share"], y=predicted["value"], mode="lines", name="by influence, predicted", line=line))
    figure.update_xaxes(tickformat=".1%")
    return framed(figure, 340, "share of the training rows removed", title, legend=True)
