"""How the losses of several sets of rows are spread, one over the other, and what an attack that looks at losses finds."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np
import plotly.graph_objects as go

from influence.charts.colours import GREY
from influence.charts.frame import framed

FEW, BINS = 8, 30
"""Bins at least and at most."""
POINTS = 400
"""Points of a curve that are drawn: it has no more steps to see."""


def edges_of(values: np.ndarray, rows: int = BINS**2) -> np.ndarray:
    """Return the edges of bins that hold all of these losses, alike on a logarithmic scale; losses of nearly 0 are in the first.

    `rows`: how many the smallest part has; with few rows bins are fewer, or all that is seen is chance.
    """
    known = values[values > 0]
    if not len(known):
        return np.array([0.1, 1.0])
    low, high = np.quantile(known, 0.005), known.max()
    return (
        np.logspace(np.log10(max(low, high * 1e-6)), np.log10(high) + 1e-9, int(np.clip(2 * np.sqrt(rows), FEW, BINS)) + 1)
        if low < high
        else np.array([high / 2, high * 2])
    )


def losses(
    parts: Mapping[str, np.ndarray], colours: Mapping[str, str], edges: np.ndarray, axis: str, top: float | None = None
) -> go.Figure:
    """Draw the share of each part's rows per bin of loss, as steps; `top`: the largest share, so that several figures have one scale."""
    figure = go.Figure()
    for name, values in parts.items():
        tint = colours.get(name, GREY)
        figure.add_trace(
            go.Scatter(
                x=edges, y=[*shares(values, edges), 0.0], mode="lines", name=f"{escape(name)} (n = {len(values):,})",
                line={"color": tint, "width": 2, "shape": "hv"}, fill="tozeroy", fillcolor=_clear(tint),
                hovertemplate="loss from %{x:.2g}: %{y:.1%}<extra></extra>",
            )
        )  # fmt: skip
    framed(figure, 260, escape(axis), "share of rows", legend=True)
    figure.update_xaxes(type="log", dtick=1, exponentformat="power")
    figure.update_yaxes(tickformat=".0%", range=[0, 1.05 * top] if top else None)
    return figure


def shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the share of rows in each bin, (B,), which add up to 1."""
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / max(1, len(values))


def roc(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], colours: Mapping[str, str]) -> go.Figure:
    """Draw the ROC curve of an attack that takes rows of low loss for members, by model; `curves`: losses of members and of others."""
    figure = go.Figure(go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "dash": "dot"}, name="a guess", hoverinfo="skip"))
    for name, (members, others) in curves.items():
        at, found, wrong = points(members, others)
        figure.add_trace(
            go.Scatter(
                x=wrong, y=found, mode="lines", name=escape(name), customdata=at, line={"color": colours.get(name, GREY), "width": 2},
                hovertemplate="loss up to %{customdata:.3g}: finds %{y:.1%}, wrongly %{x:.1%}<extra></extra>",
            )
        )  # fmt: skip
    framed(figure, 380, "holdout rows taken for forgotten ones", "forgotten rows found", legend=True)
    figure.update_xaxes(tickformat=".0%", range=[-0.01, 1.01])
    figure.update_yaxes(tickformat=".0%", range=[-0.01, 1.01])
    return figure


def points(members: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return thresholds of loss, and the shares of members and of others at or below each, from (0, 0) to (1, 1)."""
    at = np.unique(np.concatenate([members, others]))
    if len(at) > POINTS:
        at = at[np.linspace(0, len(at) - 1, POINTS).astype(int)]
    ways = [np.searchsorted(np.sort(part), at, side="right") / len(part) for part in (members, others)]
    return np.concatenate([[0.0], at]), np.concatenate([[0.0], ways[0]]), np.concatenate([[0.0], ways[1]])


def _clear(tint: str) -> str:
    red, green, blue = (int(tint[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.12)"
