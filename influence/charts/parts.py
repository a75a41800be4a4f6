"""What each part of a row adds to the model's answer: a signed bar per part."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from influence.charts.colours import GROUPS
from influence.charts.frame import framed
from influence.evidence.words import signed

LONGEST = 34
"""Characters of a name; longer ones are cut, the whole stands in the tooltip."""
FOR, AGAINST = GROUPS[0], GROUPS[1]


def parts(names: Sequence[str], values: Sequence[float], axis: str, reach: float) -> go.Figure:
    """Draw a bar per part, the first on top: to the right what speaks for the answer. `reach`: how far the axis goes both ways."""
    places = list(range(len(names)))
    figure = go.Figure(
        go.Bar(
            x=list(values),
            y=places,
            orientation="h",
            marker_color=[FOR if value >= 0 else AGAINST for value in values],
            text=[signed(value) for value in values],
            textposition="outside",
            cliponaxis=False,
            customdata=[f"{escape(name)}: {signed(value)}" for name, value in zip(names, values, strict=True)],
            hovertemplate="%{customdata}<extra></extra>",
        )
    )
    cut = [escape(name if len(name) <= LONGEST else name[: LONGEST - 1] + "…") for name in names]
    figure.update_yaxes(tickvals=places, ticktext=cut, range=[len(names) - 0.4, -0.6], showgrid=False, zeroline=False)
    figure.update_xaxes(range=[-1.3 * reach, 1.3 * reach])
    return framed(figure, 60 + 26 * max(2, len(names)), x=axis)
