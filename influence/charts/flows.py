"""How rows flow from what one model predicts to what another does: a band per pair of classes, as wide as it has rows (Sankey)."""

from __future__ import annotations

from html import escape

import pandas as pd
import plotly.graph_objects as go

from influence.charts.colours import GREY
from influence.charts.frame import framed

SAME = "rgba(138,144,153,0.30)"
PAD = 12
"""Pixels between classes."""
LONG, LETTER = 9, 7
"""Letters of a name that are written, and pixels of one."""
MARGINS = {"t": 30, "b": 16}


def flows(table: pd.DataFrame, before: str, after: str, tint: str, rest: str = "") -> go.Figure:
    """Draw the rows of `table` (columns before, after, rows): grey where the prediction stayed, `tint` where it changed.

    `before`, `after`: the names of the two models. `rest`: what stands for a class where small flows are drawn as one; it comes last.
    """
    classes = [sorted(set(table[side]), key=lambda name: (name == rest, name)) for side in ("before", "after")]
    height = 90 + 34 * max(2, *map(len, classes))
    inner = height - MARGINS["t"] - MARGINS["b"]
    middle = {(side, n): y for side, own in enumerate(classes) for n, y in _middles(table, side, own, PAD / inner, max(map(len, classes)))}
    place = {(side, name): at for at, (side, name) in enumerate((s, c) for s, own in enumerate(classes) for c in own)}
    moved = ((table["before"] != table["after"]) | (table["before"] == rest)).to_numpy()
    told = [f"{escape(str(r.before))} → {escape(str(r.after))}: {int(r.rows):,} rows" for r in table.itertuples()]
    figure = go.Figure(
        go.Sankey(
            arrangement="fixed",
            node={
                "label": [escape(str(name)) for _, name in place],
                "color": GREY,
                "x": [0.001 + 0.998 * side for side, _ in place],
                "y": [middle[at] for at in place],
                "pad": PAD, "thickness": 14, "hovertemplate": "%{label}: %{value:,} rows<extra></extra>",
            },
            link={
                "source": [place[0, name] for name in table["before"]],
                "target": [place[1, name] for name in table["after"]],
                "value": table["rows"].to_list(),
                "color": [_pale(tint) if m else SAME for m in moved],
                "customdata": told, "hovertemplate": "%{customdata}<extra></extra>",
            },
            textfont={"color": "rgba(0,0,0,0)", "shadow": "none"},  # names stand beside the bands: no colour is read on all of them
        )
    )  # fmt: skip
    framed(figure, height)
    beside = [max(map(len, map(_name, own)), default=0) * LETTER + 14 for own in classes]
    figure.update_layout(margin={**MARGINS, "l": beside[0], "r": beside[1]})
    for side, (x, inward, model) in enumerate(((0.0, "left", before), (1.0, "right", after))):
        outward = ("right", "left")[side]
        figure.add_annotation(x=x, y=1.0, yshift=18, xref="paper", yref="paper", xanchor=inward, text=escape(model), showarrow=False)
        for name in classes[side]:
            figure.add_annotation(
                x=x, y=1 - middle[side, name], xref="paper", yref="paper", xanchor=outward, xshift=(-6, 6)[side], yanchor="middle",
                text=escape(_name(name)), hovertext=escape(str(name)), showarrow=False, font={"size": 13},
            )  # fmt: skip
    return figure


def _name(name: object) -> str:
    """Return what is written beside a class, the whole name being told where the pointer is."""
    text = str(name)
    return text if len(text) <= LONG else f"{text[: LONG - 1]}…"


def _middles(table: pd.DataFrame, side: int, classes: list[str], gap: float, most: int) -> list[tuple[str, float]]:
    """Return where each class of a side has its middle, from 0 (top) to 1; sides have one scale, that of the one with `most` classes."""
    sizes = table.groupby(("before", "after")[side])["rows"].sum()
    unit, at, found = (1 - (most - 1) * gap) / max(1, int(table["rows"].sum())), 0.0, []
    for name in classes:
        size = float(sizes[name]) * unit
        found.append((name, min(0.999, max(0.001, at + size / 2))))
        at += size + gap
    return found


def _pale(tint: str) -> str:
    red, green, blue = (int(tint[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.65)"
