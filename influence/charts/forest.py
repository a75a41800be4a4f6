"""Values with their intervals, one line each: groups of a rate, or models of a metric."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from influence.charts.colours import GREY
from influence.charts.frame import framed
from influence.evidence.words import interval, number


def forest(table: pd.DataFrame, colours: dict[str, str], by: str = "group", colour: str = "", axis: str = "") -> go.Figure:
    """Draw one point per row of `table` (columns `by`, value, low, high, n); a row without an interval has no mark.

    `colour`: the column that `colours` has colours for (default: `by`), one trace and legend entry each.
    """
    figure = go.Figure()
    key = colour or by
    lines, parts = list(dict.fromkeys(table[by])), list(dict.fromkeys(table[key]))
    counts = table.groupby(by)["n"].max()
    few = table.groupby(by)["low"].apply(lambda low: low.isna().all())
    for name, rows in table.groupby(key, sort=False):
        known = rows["low"].notna() & rows["high"].notna()
        aside = 0.0 if not colour else 0.22 * (parts.index(name) - (len(parts) - 1) / 2)
        tint = colours.get(str(name), GREY)
        figure.add_trace(
            go.Scatter(
                x=rows["value"].where(known),  # too few rows to say: no mark that could be read as a value
                y=[lines.index(g) + aside for g in rows[by]],
                mode="markers",
                name=escape(str(name)),
                marker={"size": 11, "color": tint},
                error_x={
                    "type": "data",
                    "array": (rows["high"] - rows["value"]).fillna(0),
                    "arrayminus": (rows["value"] - rows["low"]).fillna(0),
                    "color": tint,
                    "thickness": 2,
                },
                customdata=[_told(r) for r in rows.rename(columns={by: "line"}).itertuples()],
                hovertemplate="%{customdata}<extra></extra>",
            )
        )
    figure.update_yaxes(
        tickvals=list(range(len(lines))),
        ticktext=[f"{escape(str(g))} (n = {int(counts[g]):,}{', too few to say' if few[g] else ''})" for g in lines],
        range=[len(lines) - 0.4, -0.6],
        showgrid=False,
        zeroline=False,
    )
    return framed(figure, 100 + (70 if colour else 46) * max(2, len(lines)), x=axis, legend=bool(colour))


def _told(row: Any) -> str:
    return f"{escape(str(row.line))}: {number(row.value)} (95 % {interval(row.low, row.high)}, n = {int(row.n):,})"
