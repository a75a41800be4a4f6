"""How far a question can be brought with few rows: one curve for each loss of accuracy that is allowed, and the chosen budget."""

from __future__ import annotations

from typing import Any

import pandas as pd

from influence.charts.colours import GREY, GROUPS

ROWS = {"field": "k", "type": "quantitative", "title": "training rows removed", "scale": {"type": "log"}}
ANY = "any loss"


def frontier(points: pd.DataFrame, k: float, target: float, title: str = "", spared: str = "accuracy") -> dict[str, Any]:
    """Return the Vega-Lite picture. `points`: columns allowed (text, one curve each), k, value, low, high, accuracy.

    `spared`: what may fall by so much. `k` rows, a vertical line, are the budget that was found, `target`, a horizontal line, is where it
    leads.
    """
    names = list(dict.fromkeys(points["allowed"]))
    colour = {
        "field": "allowed",
        "type": "nominal",
        "title": f"{spared} may fall by",
        "scale": {"domain": names, "range": [*GROUPS[: len(names) - 1], GREY]},
        "legend": {"orient": "bottom"},
    }
    level = {"field": "value", "type": "quantitative", "title": None, "scale": {"zero": False}}
    tips = [{"field": name, "type": "nominal" if name == "allowed" else "quantitative"} for name in ("allowed", "k", "value", "accuracy")]
    curves = {
        "data": {"values": points.to_dict("records")},
        "mark": {"type": "line", "point": True, "strokeWidth": 2},
        "encoding": {"x": ROWS, "y": level, "color": colour, "tooltip": tips},
    }
    lines = [_line("x", ROWS, {"k": k}), _line("y", level, {"value": target})]
    return {"height": 300, "title": {"text": title, "anchor": "start", "fontSize": 13, "fontWeight": 600}, "layer": [*lines, curves]}


def _line(axis: str, along: dict[str, Any], value: dict[str, float]) -> dict[str, Any]:
    mark = {"type": "rule", "color": GREY, "strokeDash": [5, 4]}
    return {"data": {"values": [value]}, "mark": mark, "encoding": {axis: along}}
