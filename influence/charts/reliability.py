"""What was predicted beside what was observed, a line per group; on the diagonal predictions are as they should be."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from influence.charts.colours import GREY
from influence.charts.frame import framed, kept_within
from influence.evidence.words import interval, number


def reliability(
    table: pd.DataFrame, colours: dict[str, str], x: str = "", y: str = "", within: tuple[float, float] | None = None
) -> go.Figure:
    """Draw the bins of each group of `table` (columns group, predicted, value, low, high, n); bins without an interval are left out.

    `within`: the values that there can be; the axes go no further.
    """
    there = table.dropna(subset=["low", "high"])
    figure = go.Figure()
    if len(there):
        ends = [float(min(there["predicted"].min(), there["low"].min())), float(max(there["predicted"].max(), there["high"].max()))]
        dotted = {"color": GREY, "width": 1.5, "dash": "dot"}
        figure.add_trace(go.Scatter(x=ends, y=ends, mode="lines", line=dotted, name="as predicted", hoverinfo="skip"))
    for name, rows in there.groupby("group", sort=False):
        tint = colours.get(str(name), GREY)
        figure.add_trace(
            go.Scatter(
                x=rows["predicted"],
                y=rows["value"],
                mode="lines+markers",
                name=escape(str(name)),
                line={"color": tint, "width": 1.5},
                marker={"size": 9, "color": tint},
                error_y={
                    "type": "data",
                    "array": rows["high"] - rows["value"],
                    "arrayminus": rows["value"] - rows["low"],
                    "color": tint,
                    "thickness": 1.2,
                    "width": 3,
                },
                customdata=[_told(r) for r in rows.itertuples()],
                hovertemplate="%{customdata}<extra></extra>",
            )
        )
    framed(figure, 380, x=escape(x), y=escape(y), legend=True)
    return kept_within(kept_within(figure, "x", within), "y", within) if within else figure


def _told(row: Any) -> str:
    between = f"95 % {interval(row.low, row.high)}, n = {int(row.n):,}"
    return f"{escape(str(row.group))}: predicted {number(row.predicted)}, observed {number(row.value)} ({between})"
