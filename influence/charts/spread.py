"""How scores are spread, and where the rows lie on a plane."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go

from influence.charts.colours import DIVERGING, HARMFUL, HELPFUL
from influence.charts.frame import framed

DRAWN = 20_000
FORMAT = ".2~g"
"""Of scores, on every axis as in the tables: not 5e-4 here and 500 millionths there."""
EXACT = 2_000
"""Inputs with more values than these are brought to the plane by a randomised decomposition (Halko, Martinsson and Tropp 2011)."""


def histogram(values: np.ndarray, axis: str) -> go.Figure:
    """Draw the number of rows by score, in two colours left and right of 0; counts on a logarithmic scale, since most rows are near 0."""
    edges = np.histogram_bin_edges(values, bins=60)
    figure = go.Figure()
    for part, tint, name in ((values < 0, HARMFUL, "▼ removal lowers the metric"), (values >= 0, HELPFUL, "▲ removal raises the metric")):
        counts, _ = np.histogram(values[part], edges)
        middle = (edges[:-1] + edges[1:]) / 2
        figure.add_trace(go.Bar(x=middle[counts > 0], y=counts[counts > 0], width=np.diff(edges)[counts > 0], marker_color=tint, name=name))
    figure.update_yaxes(type="log")
    figure.update_layout(barmode="overlay", bargap=0)
    figure.update_xaxes(tickformat=FORMAT)
    return framed(figure, 260, axis, "rows (log scale)", legend=True)


def sample(n: int, seed: int = 0) -> np.ndarray:
    """Return the positions that a map draws: all, or a seeded sample of 20,000, in order."""
    return np.arange(n) if n <= DRAWN else np.sort(np.random.default_rng(seed).choice(n, DRAWN, replace=False))


def plane(x: np.ndarray) -> np.ndarray:
    """Return the first two principal components of the rows' inputs, (N, ...) -> (N, 2); 0 where there is only one."""
    found = np.zeros((len(x), 2))
    wide = math.prod(np.shape(x)[1:])
    kept = min(2, wide, len(x) - 1)
    if kept > 0:
        found[:, :kept] = _components(np.asarray(x, dtype=np.float32).reshape(len(x), wide), kept)
    return found


def _components(flat: np.ndarray, kept: int) -> np.ndarray:
    """Return the first components of rows (N, D), (N, kept)."""
    if flat.shape[1] > EXACT:
        from sklearn.utils.extmath import randomized_svd  # a second to import, and most data are narrower

        flat = flat - flat.mean(0)
        _, _, axes = randomized_svd(flat, kept, n_iter=4, random_state=0)
        return flat @ axes.T
    flat = flat.astype(np.float64)
    flat -= flat.mean(0)
    if flat.shape[1] > len(flat):
        _, _, axes = np.linalg.svd(flat, full_matrices=False)
        return flat @ axes[:kept].T
    _, columns = np.linalg.eigh(flat.T @ flat)
    return flat @ columns[:, ::-1][:, :kept]


def map_of(xy: np.ndarray, values: np.ndarray, ids: np.ndarray, chosen: np.ndarray, title: str) -> go.Figure:
    """Draw rows at `xy` (M, 2) coloured by a score called `title` around 0; chosen ones (M,) bool stand out, the others stay visible."""
    limit = float(np.quantile(np.abs(values), 0.995)) or 1.0
    figure = go.Figure(
        go.Scattergl(
            x=xy[:, 0],
            y=xy[:, 1],
            mode="markers",
            marker={
                "size": np.where(chosen, 9, 5),
                "opacity": np.where(chosen, 1.0, 0.55),
                "color": values,
                "cmin": -limit,
                "cmax": limit,
                "colorscale": DIVERGING,
                "colorbar": {"title": title, "thickness": 12, "tickformat": FORMAT},
                "line": {"width": np.where(chosen, 1.5, 0), "color": "#000000"},
            },
            customdata=ids,
            hovertemplate="id %{customdata}: %{marker.color:.3g}<extra></extra>",
        )
    )
    framed(figure, 420, "first principal component", "second principal component")
    figure.update_layout(dragmode="lasso")
    return figure
