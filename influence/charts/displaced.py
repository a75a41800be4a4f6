"""Where rows lie in one model's last hidden layer and in another's, on one plane, with a line from the first place to the second."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from influence.charts.colours import GREY, ROLES
from influence.charts.frame import framed


def displaced(table: pd.DataFrame, shown: np.ndarray, role: str, name: str) -> go.Figure:
    """Draw rows (columns id, part, x_original, y_original, x_<role>, y_<role>, moved_<role>); lines only for those at the mask `shown`.

    All others lie behind, grey, where the original has them. One canvas is drawn on the graphics card, whatever the number of rows.
    """
    behind, front = table[~shown], table[shown]
    figure = go.Figure(_dots(behind, "original", GREY, "Other rows, original", 4, 0.45, behind[f"moved_{role}"]))
    gap = np.full(len(front), np.nan)
    ways = [np.column_stack([front[f"{axis}_original"], front[f"{axis}_{role}"], gap]).ravel() for axis in "xy"]
    line = {"color": "rgba(138,144,153,0.6)", "width": 1}
    figure.add_trace(go.Scattergl(x=ways[0], y=ways[1], mode="lines", line=line, hoverinfo="skip", showlegend=False))
    figure.add_trace(_dots(front, "original", ROLES["original"], "Original", 7, 0.9, front[f"moved_{role}"]))
    figure.add_trace(_dots(front, role, ROLES.get(role, GREY), name, 7, 0.9, front[f"moved_{role}"]))
    framed(figure, 460, "first component", "second component", legend=True)
    figure.update_yaxes(scaleanchor="x", scaleratio=1)
    return figure


def _dots(rows: pd.DataFrame, of: str, tint: str, name: str, size: int, opacity: float, moved: pd.Series) -> go.Scattergl:
    told = [f"{escape(str(i))}, {p}: moved {m:.2f}" for i, p, m in zip(rows["id"], rows["part"], moved, strict=True)]
    return go.Scattergl(
        x=rows[f"x_{of}"], y=rows[f"y_{of}"], mode="markers", name=escape(name), marker={"size": size, "color": tint, "opacity": opacity},
        customdata=told, hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip
