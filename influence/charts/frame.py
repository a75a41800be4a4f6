"""What all Plotly figures share: no ground of their own, so that light and dark themes shine through."""

from __future__ import annotations

import math

import plotly.graph_objects as go


def framed(figure: go.Figure, height: int, x: str = "", y: str = "", legend: bool = False) -> go.Figure:
    """Return the figure with its titles, margins and grid."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 28 if legend else 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=legend,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        dragmode="pan",
    )
    grid = {"gridcolor": "rgba(138,144,153,0.25)", "zerolinecolor": "rgba(138,144,153,0.6)", "automargin": True}
    figure.update_xaxes(title=x, showgrid=True, **grid)
    figure.update_yaxes(title=y, **grid)
    return figure


def kept_within(figure: go.Figure, axis: str, ends: tuple[float, float]) -> go.Figure:
    """Return the figure with an axis ("x" or "y") that goes no further than the values there can be; marks at its ends are drawn whole."""
    values = [value for trace in figure.data for value in trace[axis] if value is not None and math.isfinite(value)]
    figure.update_layout({f"{axis}axis": {"minallowed": ends[0], "maxallowed": ends[1], **({} if values else {"range": list(ends)})}})
    figure.update_traces(cliponaxis=False)
    return figure
