"""Predicted against realised change: a point on the diagonal came true."""

from __future__ import annotations

from html import escape

import pandas as pd
import plotly.graph_objects as go

from influence.charts.colours import GREY, ROLES
from influence.charts.frame import framed


def agreement(table: pd.DataFrame) -> go.Figure:
    """Draw one point per metric and model (columns role, label, predicted_change, predicted_low, predicted_high, value)."""
    known = table.dropna(subset=["predicted_change"])
    figure = go.Figure()
    ends = pd.concat([known["predicted_change"], known["value"]]).agg(["min", "max"]).to_list() if len(known) else [0.0, 0.0]
    figure.add_trace(go.Scatter(x=ends, y=ends, mode="lines", line={"color": GREY, "dash": "dot"}, name="as predicted", hoverinfo="skip"))
    for role, rows in known.groupby("role", sort=False):
        figure.add_trace(
            go.Scatter(
                x=rows["predicted_change"],
                y=rows["value"],
                mode="markers",
                name=str(role),
                marker={"size": 11, "color": ROLES.get(str(role), GREY)},
                error_x={
                    "type": "data",
                    "array": rows["predicted_high"] - rows["predicted_change"],
                    "arrayminus": rows["predicted_change"] - rows["predicted_low"],
                    "thickness": 1.2,
                },
                customdata=[escape(str(label)) for label in rows["label"]],
                hovertemplate="%{customdata}: predicted %{x:.4f}, realised %{y:.4f}<extra></extra>",
            )
        )
    return framed(figure, 380, "predicted change (95 % band)", "realised change", legend=True)
