"""How models learn removed rows again: the loss by step, beside the oracles' band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from influence.charts.colours import GREY, ROLES
from influence.charts.frame import framed
from influence.evidence.words import number

BAND = "rgba(138,144,153,0.3)"


def relearned(found: Mapping[str, Any], rows: str = "removed rows") -> go.Figure:
    """Draw the loss by step of the original (if known), of the model judged, and of the oracles: their middle, and where 95 % of them lie.

    `found` has `judged`, `low`, `middle`, `high` and `original` (or None), a value per step from 0 on.
    `rows`: what those are called that are learnt again.
    """
    figure, steps = go.Figure(), list(range(len(found["judged"])))
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "x": steps}
    figure.add_trace(go.Scatter(y=found["high"], showlegend=False, **edge))
    figure.add_trace(go.Scatter(y=found["low"], fill="tonexty", fillcolor=BAND, name="oracles, 95 %", **edge))
    figure.add_trace(_line(steps, found["middle"], "oracles, middle", GREY, "dot"))
    if found["original"] is not None:
        figure.add_trace(_line(steps, found["original"], "original", ROLES["original"], "dash"))
    figure.add_trace(_line(steps, found["judged"], "this model", ROLES["unlearned"], "solid"))
    figure.update_yaxes(rangemode="tozero")
    return framed(figure, 320, x=f"steps on the {rows} alone", y=f"loss on {rows}", legend=True)


def _line(steps: Sequence[int], losses: Sequence[float], name: str, colour: str, dash: str) -> go.Scatter:
    told = [f"{name}, step {step}: {number(loss)}" for step, loss in zip(steps, losses, strict=True)]
    look = {"color": colour, "dash": dash, "width": 2}
    return go.Scatter(x=steps, y=losses, mode="lines", name=name, line=look, text=told, hovertemplate="%{text}<extra></extra>")
