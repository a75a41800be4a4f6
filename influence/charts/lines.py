"""A figure along a column, a line per group with its intervals."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from influence.charts.colours import GREY
from influence.charts.frame import framed, kept_within
from influence.evidence.words import interval, number

ASIDE = 0.12
"""How far the points of one group stand beside those of the next, so that their intervals can be told apart."""


def lines(
    table: pd.DataFrame, colours: dict[str, str], along: Sequence[str], x: str = "", y: str = "", joined: bool = True,
    within: tuple[float, float] | None = None,
) -> go.Figure:  # fmt: skip
    """Draw a line per group of `table` (columns group, along, value, low, high, n) through the parts of `along`, in their order.

    A part with too few rows has no point, and the line is broken there. `joined`: parts follow one another; names do not, and have no line.
    `within`: the values that there can be; the axis goes no further.
    """
    figure, names = go.Figure(), list(dict.fromkeys(table["group"]))
    for place, name in enumerate(names):
        rows = table[table["group"] == name].set_index("along").reindex(list(along))
        known = rows["low"].notna() & rows["high"].notna()
        tint = colours.get(str(name), GREY)
        figure.add_trace(
            go.Scatter(
                x=[at + ASIDE * (place - (len(names) - 1) / 2) for at in range(len(along))],
                y=rows["value"].where(known),
                mode="lines+markers" if joined else "markers",
                name=escape(str(name)),
                line={"color": tint, "width": 2},
                marker={"size": 8, "color": tint},
                error_y={
                    "type": "data",
                    "array": (rows["high"] - rows["value"]).where(known, 0.0),
                    "arrayminus": (rows["value"] - rows["low"]).where(known, 0.0),
                    "color": tint,
                    "thickness": 1.2,
                    "width": 3,
                },
                customdata=[_told(name, r) for r in rows.reset_index().itertuples()],
                hovertemplate="%{customdata}<extra></extra>",
            )
        )
    figure.update_xaxes(tickvals=list(range(len(along))), ticktext=[escape(str(part)) for part in along])
    framed(figure, 340, x=escape(x), y=escape(y), legend=True)
    return kept_within(figure, "y", within) if within else figure


def _told(name: Any, row: Any) -> str:
    n = 0 if pd.isna(row.n) else int(row.n)
    return f"{escape(str(name))}, {escape(str(row.along))}: {number(row.value)} (95 % {interval(row.low, row.high)}, n = {n:,})"
