"""A metric as rows are removed: the predicted curve with its band, and really retrained models on the same picture."""

from __future__ import annotations

import altair as alt
import pandas as pd

from influence.charts.colours import GREY, GROUPS


def curve(band: pd.DataFrame, k: int, points: pd.DataFrame | None = None, title: str = "") -> alt.LayerChart | alt.FacetChart:
    """Draw one metric's level by number of rows removed.

    `band`: columns k, level, low, high. `points`: columns k, truth ("same" or "fresh"), level and, for fresh, low and high over seeds.
    """
    x = alt.X("k:Q", title="training rows removed")
    base = alt.Chart(band).encode(x=x)
    level = alt.Y("level:Q", title=None)
    layers: list[alt.Chart] = [
        base.mark_area(opacity=0.22, color=GROUPS[0]).encode(y=alt.Y("low:Q", title=None, scale=alt.Scale(zero=False)), y2="high:Q"),
        base.mark_line(color=GROUPS[0], strokeWidth=2.5).encode(y=level, tooltip=["k:Q", "level:Q", "low:Q", "high:Q"]),
        alt.Chart(pd.DataFrame({"k": [k]})).mark_rule(color=GREY, strokeDash=[5, 4]).encode(x=x),
    ]
    if points is not None and len(points):
        layers += _points(points, x)
    return alt.layer(*layers).properties(height=300, description=title, title=alt.Title(title, anchor="start", fontSize=13, fontWeight=600))


def _points(points: pd.DataFrame, x: alt.X) -> list[alt.Chart]:
    same, fresh = points[points["truth"] == "same"], points[points["truth"] == "fresh"]
    tips = ["truth:N", "k:Q", "level:Q"]
    level, low = (alt.Y(f"{name}:Q", title=None) for name in ("level", "low"))
    return [
        alt.Chart(same).mark_point(color=GROUPS[1], filled=True, size=140, shape="circle", opacity=1).encode(x=x, y=level, tooltip=tips),
        alt.Chart(fresh).mark_rule(color=GROUPS[2], strokeWidth=2).encode(x=x, y=low, y2="high:Q"),
        alt.Chart(fresh).mark_point(color=GROUPS[2], filled=True, size=140, shape="diamond", opacity=1).encode(x=x, y=level, tooltip=tips),
    ]
