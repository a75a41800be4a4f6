"""A metric as rows are removed: the predicted curve with its band, and really retrained models on the same picture.

Written as Vega-Lite itself: a slider redraws it at every move, and building it with Altair takes longer than all else together.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from influence.charts.colours import GREY, GROUPS

ROWS = {"field": "k", "type": "quantitative", "title": "training rows removed"}


def curve(band: pd.DataFrame, k: int, points: pd.DataFrame | None = None, title: str = "") -> dict[str, Any]:
    """Return the Vega-Lite picture of one metric's level by number of rows removed.

    `band`: columns k, level, low, high. `points`: columns k, truth ("same" or "fresh"), level and, for fresh, low and high over seeds.
    """
    predicted = _data(band)
    layers = [
        {**predicted, **_drawn("area", "low", to="high", opacity=0.22, color=GROUPS[0])},
        {**predicted, **_drawn("line", "level", tips=("k", "level", "low", "high"), color=GROUPS[0], strokeWidth=2.5)},
        {"data": {"values": [{"k": k}]}, "mark": {"type": "rule", "color": GREY, "strokeDash": [5, 4]}, "encoding": {"x": ROWS}},
    ]
    if points is not None and len(points):
        layers += _points(points)
    return {"height": 300, "title": {"text": title, "anchor": "start", "fontSize": 13, "fontWeight": 600}, "layer": layers}


def _points(points: pd.DataFrame) -> list[dict[str, Any]]:
    same, fresh = (_data(points[points["truth"] == truth]) for truth in ("same", "fresh"))
    dot: dict[str, Any] = {"tips": ("truth", "k", "level"), "filled": True, "size": 140, "opacity": 1}
    return [
        {**same, **_drawn("point", "level", color=GROUPS[1], shape="circle", **dot)},
        {**fresh, **_drawn("rule", "low", to="high", color=GROUPS[2], strokeWidth=2)},
        {**fresh, **_drawn("point", "level", color=GROUPS[2], shape="diamond", **dot)},
    ]


def _data(table: pd.DataFrame) -> dict[str, Any]:
    return {"data": {"values": table.astype(object).where(table.notna(), None).to_dict("records")}}


def _drawn(mark: str, y: str, to: str = "", tips: tuple[str, ...] = (), **look: Any) -> dict[str, Any]:
    encoding: dict[str, Any] = {"x": ROWS, "y": {"field": y, "type": "quantitative", "title": None, "scale": {"zero": False}}}
    if to:
        encoding["y2"] = {"field": to}
    if tips:
        encoding["tooltip"] = [{"field": name, "type": "nominal" if name == "truth" else "quantitative"} for name in tips]
    return {"mark": {"type": mark, **look}, "encoding": encoding}
