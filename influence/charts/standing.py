"""Where one model stands among others, measure by measure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from influence.charts.colours import GREY, ROLES
from influence.charts.frame import framed

FURTHEST = 8.0
"""In spreads of the oracles; what lies further is drawn here, with an arrow."""


def standing(measures: Sequence[dict[str, Any]]) -> go.Figure:
    """Draw a line per measure: the oracles as dots, their band, the original hollow and the model judged, all in the oracles' own spread.

    Each measure has `label`, `value`, `original` (or None), `oracles`, `null_low`, `null_high`.
    """
    figure, names = go.Figure(), [escape(each["label"]) for each in measures]
    for name, each in zip(names, measures, strict=True):
        scale = _Scale(each["oracles"])
        band = [scale(each["null_low"]), scale(each["null_high"])]
        figure.add_trace(go.Scatter(x=band, y=[name, name], mode="lines", line={"color": GREY, "width": 14}, opacity=0.3, hoverinfo="skip"))
        told = [f"{value:.3g}" for value in each["oracles"]]
        dots = {"color": GREY, "size": 5, "opacity": 0.7}
        figure.add_trace(_marks([scale(v) for v in each["oracles"]], name, dots, [f"oracle: {t}" for t in told]))
        if each["original"] is not None:
            figure.add_trace(_diamond(scale(each["original"]), name, "original", each["original"], ROLES["original"], "-open"))
        figure.add_trace(_diamond(scale(each["value"]), name, "this model", each["value"], ROLES["unlearned"]))
    figure.update_yaxes(autorange="reversed", categoryorder="array", categoryarray=names)
    figure.update_xaxes(range=[-FURTHEST - 0.5, FURTHEST + 0.5], fixedrange=True)
    return framed(figure, 60 + 44 * len(names), "distance from the oracles' middle, in their own spread")


def _diamond(at: float, name: str, whose: str, value: float, colour: str, kind: str = "") -> go.Scatter:
    """Return one model's mark, a size larger if hollow, so that both are seen where they meet; an arrow if it lies further out."""
    shape = "diamond" if abs(at) < FURTHEST else "triangle-right" if at > 0 else "triangle-left"
    look = {"color": colour, "size": 17 if kind else 13, "symbol": shape + kind, "line": {"width": 2 if kind else 0}}
    return _marks([at], name, look, [f"{whose}: {value:.3g}"])


def _marks(x: list[float], name: str, marker: dict[str, Any], told: list[str]) -> go.Scatter:
    return go.Scatter(x=x, y=[name] * len(x), mode="markers", marker=marker, text=told, hovertemplate="%{text}<extra></extra>")


class _Scale:
    """From a measure's unit to the oracles' spread: their median is 0, their standard deviation 1."""

    def __init__(self, oracles: Sequence[float]) -> None:
        values = np.asarray(oracles, dtype=float)
        self.middle, self.spread = float(np.median(values)), float(values.std(ddof=1)) or 1.0

    def __call__(self, value: float) -> float:
        return float(np.clip((value - self.middle) / self.spread, -FURTHEST, FURTHEST))
