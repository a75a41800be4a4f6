"""How many rows lie where on the map, where points hide each other."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from influence.charts.frame import framed

CELLS = 100


def density(xy: np.ndarray, x: str, y: str) -> go.Figure:
    """Draw the number of rows (N, 2) in each cell of the plane, on a logarithmic scale; empty cells stay clear."""
    counts, columns, rows = np.histogram2d(xy[:, 0], xy[:, 1], bins=CELLS)
    with np.errstate(divide="ignore"):
        shade = np.where(counts > 0, np.log10(np.maximum(counts, 1)), np.nan).T
    figure = go.Figure(
        go.Heatmap(
            x=(columns[:-1] + columns[1:]) / 2, y=(rows[:-1] + rows[1:]) / 2, z=shade, customdata=counts.T, colorscale="Cividis",
            hovertemplate="%{customdata:,} rows near %{x:.3g}, %{y:.3g}<extra></extra>", hoverongaps=False,
            colorbar={"title": "rows", "thickness": 12, "tickvals": [*range(8)], "ticktext": [f"{10**k:,}" for k in range(8)]},
        )
    )  # fmt: skip
    return framed(figure, 420, x, y)
