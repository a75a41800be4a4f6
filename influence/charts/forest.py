"""Values with their intervals, one line each: groups of a rate, or models of a metric."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from influence.charts.colours import GREY
from influence.charts.frame import framed, kept_within
from influence.evidence.words import interval, number

ROOMY = 8
"""More lines than these stand closer together."""


def forest(
    table: pd.DataFrame, colours: dict[str, str], by: str = "group", colour: str = "", axis: str = "", line: float | None = None,
    within: tuple[float, float] | None = None,
) -> go.Figure:  # fmt: skip
    """Draw one point per row of `table` (columns `by`, value, low, high, n); a row without an interval has no mark, and its name is grey.

    `colour`: the column that `colours` has colours for (default: `by`), one trace and legend entry each. `line`: a value to compare with.
    `within`: the values that there can be; the axis goes no further.
    """
    figure = go.Figure()
    key = colour or by
    lines, parts = list(dict.fromkeys(table[by])), list(dict.fromkeys(table[key]))
    for name, rows in table.groupby(key, sort=False):
        aside = 0.0 if not colour else 0.22 * (parts.index(name) - (len(parts) - 1) / 2)
        figure.add_trace(_marks(rows, str(name), [lines.index(g) + aside for g in rows[by]], colours.get(str(name), GREY), by))
    if line is not None:
        figure.add_vline(x=line, line={"color": GREY, "width": 1.5, "dash": "dot"})
    figure.update_yaxes(
        tickvals=list(range(len(lines))), ticktext=_names(table, by, lines), range=[len(lines) - 0.4, -0.6], showgrid=False, zeroline=False
    )
    each = 70 if colour else 46 if len(lines) <= ROOMY else 30
    framed(figure, 100 + each * max(2, len(lines)), x=axis, legend=bool(colour))
    return kept_within(figure, "x", within) if within else figure


def _marks(rows: pd.DataFrame, name: str, places: list[float], tint: str, by: str) -> go.Scatter:
    known = rows["low"].notna() & rows["high"].notna()
    return go.Scatter(
        x=rows["value"].where(known),  # too few rows to say: no mark that could be read as a value
        y=places,
        mode="markers",
        name=escape(name),
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


def _names(table: pd.DataFrame, by: str, lines: list[Any]) -> list[str]:
    """Return what stands beside the lines: grey where there are too few rows to say."""
    counts = table.groupby(by)["n"].max()
    few = table.groupby(by)["low"].apply(lambda low: low.isna().all())
    said = {g: f"{escape(str(g))} (n = {int(counts[g]):,}{', too few to say' if few[g] else ''})" for g in lines}
    return [f'<span style="color:{GREY}">{said[g]}</span>' if few[g] else said[g] for g in lines]


def _told(row: Any) -> str:
    return f"{escape(str(row.line))}: {number(row.value)} (95 % {interval(row.low, row.high)}, n = {int(row.n):,})"
