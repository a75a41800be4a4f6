"""Effects with their intervals, one bar each, and beside each what a retraining really changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from textwrap import wrap

import plotly.graph_objects as go

from influence.charts.colours import GREY, LOWERS, RAISES, ROLES
from influence.charts.frame import framed
from influence.evidence.words import interval, number

LONGEST = 48
"""Characters of a line of a name, of two; longer ones are cut, the whole stands in the tooltip."""
EVALUATION, HOLDOUT, RANDOM = "retrained, evaluation rows", "retrained, holdout rows", "retrained without random rows, holdout"
MARKS = {EVALUATION: ("diamond", ROLES["retrained"]), HOLDOUT: ("diamond-open", ROLES["retrained"]), RANDOM: ("x", GREY)}


def bars(
    names: Sequence[str],
    effects: Sequence[tuple[float, float, float]],
    realised: Mapping[str, Sequence[float | None]],
    axis: str,
    falls: bool = False,
) -> go.Figure:
    """Draw a bar per name from the effects (value, low, high), the first on top, and a mark for each realised change that is known.

    `realised`: by the names in `MARKS`, one value per bar, None where nothing was retrained. `falls`: effects say how far something falls.
    """
    places = list(range(len(names)))
    figure = go.Figure()
    for tint, name, down in ((LOWERS, "▼ predicted to lower it", True), (RAISES, "▲ predicted to raise it", False)):
        here = [k for k in places if (effects[k][0] < 0) is (down is not falls)]
        if here:
            figure.add_trace(_bars(names, effects, here, tint, name))
    for name, values in realised.items():
        there = [k for k in places if values[k] is not None]
        if there:
            symbol, tint = MARKS[name]
            marker = {"symbol": symbol, "size": 12, "color": tint, "line": {"width": 2, "color": tint}}
            figure.add_trace(go.Scatter(x=[values[k] for k in there], y=there, mode="markers", name=name, marker=marker))
    shown = ["<br>".join(escape(line) for line in wrap(n, LONGEST, max_lines=2, placeholder=" …")) for n in names]
    figure.update_yaxes(tickvals=places, ticktext=shown, range=[len(names) - 0.4, -0.6], showgrid=False)
    figure.update_layout(barmode="overlay")  # else each of two kinds leaves room for the other
    return framed(figure, 90 + 34 * max(2, len(names)), x=axis, legend=True)


def _bars(names: Sequence[str], effects: Sequence[tuple[float, float, float]], here: Sequence[int], tint: str, name: str) -> go.Bar:
    value, low, high = ([effects[k][part] for k in here] for part in range(3))
    return go.Bar(
        x=value,
        y=here,
        orientation="h",
        name=name,
        marker_color=tint,
        error_x={
            "type": "data",
            "array": [h - v for v, h in zip(value, high, strict=True)],
            "arrayminus": [v - at for v, at in zip(value, low, strict=True)],
            "color": GREY,
        },
        customdata=[f"{escape(names[k])}: {number(v)} ({interval(a, b)})" for k, v, a, b in zip(here, value, low, high, strict=True)],
        hovertemplate="%{customdata}<extra></extra>",
    )
