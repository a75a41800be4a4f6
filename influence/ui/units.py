"""In which unit a question's figures and scores are shown: errors and predictions of a numeric target in the target's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from influence.actions._measures import SQUARED, unit_of
from influence.store import Run
from influence.types import Scores
from influence.ui import state


class Shown(NamedTuple):
    """What scores are multiplied by to be shown, and the name of their unit as the data has it, "" where they have none of their own."""

    factor: float = 1.0
    name: str = ""


def of_scores(run: Run, result: Mapping[str, Any], scores: Scores) -> Shown:
    """Return the unit of a question's scores; ranks have none."""
    data, query = state.dataset(run), result.get("query", {}).get("name", "")
    if not scores.calibrated or data.train.classes or not (query in SQUARED or query == "prediction"):
        return Shown()
    return Shown(unit_of(data, query).value, f"{data.target} squared" if query in SQUARED else str(data.target))


def value(run: Run, result: Mapping[str, Any]) -> dict[str, float]:
    """Return a question's value now, smooth and as people read it: `value` and `measured`."""
    unit, now = unit_of(state.dataset(run), result["query"]["name"]), result["value"]
    return {"value": now["value"] * unit.value + unit.start, "measured": now["measured"] * unit.measured + unit.start}
