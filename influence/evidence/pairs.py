"""The gap between the two groups that name it, which can change its sign, beside the largest between any two, which can't."""

from __future__ import annotations

import math

from influence.evidence import words
from influence.evidence.investigation import Measure


def named(value: float, before: float, change: float) -> tuple[float, str]:
    """Return the gap between the two groups that name it, with its sign: where that of `before` went by its `change`.

    And what the measured `value`, which is the largest between any two, is called beside it: "" if it is the same.
    """
    now = before + change
    if math.isclose(now, value, rel_tol=1e-5, abs_tol=1e-9):
        return value, ""
    return now, "in size" if math.isclose(now, -value, rel_tol=1e-5, abs_tol=1e-9) else "the largest of all"


def of_pair(measure: Measure, role: str) -> tuple[float | None, str]:
    """Return a model's value, and of a gap, or of the worst group, that of the groups in its name, as `named` has it."""
    found, old, moved = measure.found[role], measure.found.get("original"), measure.changes.get(role)
    if not measure.pair or measure.group or old is None or moved is None:
        return found.value, ""
    if not (words.known(found.value) and words.known(old.value) and words.known(moved.value)):
        return found.value, ""
    return named(found.value, old.value, moved.value)
