"""What predictions of a model trained anew bear out of a metric, in a word: one way in commands and on the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from influence.evidence.sentences import NO_CHANGE

WIDE = 0.5
"""A 90 % interval wider than this share of the metric itself (a gap: than the gap) says too little."""
LEVEL = 0.1
"""In about this share of tables any line says lower or higher by chance."""
UNCERTAIN = "too uncertain to say"
ALLOWS = (
    f"Lower and higher allow for the number of lines (Holm's procedure, p ≤ {LEVEL:g}): with no rows removed, about one table in ten would "
    "say either."
)
NEEDS = "What is too uncertain to say needs fewer rows, or real retraining without them."


def uncertain(row: Mapping[str, Any]) -> bool:
    """Whether the interval is so wide that the prediction says nothing."""
    return bool(row["high"] - row["low"] > WIDE * max(abs(row["now"]), abs(row["value"])))


def change(row: Mapping[str, Any]) -> str:
    """Say in a word what the prediction bears out of a metric, all lines of the table allowed for: lower, higher, as now, or nothing."""
    if uncertain(row):
        return UNCERTAIN
    if row["p"] > LEVEL or row["value"] == row["now"]:
        return NO_CHANGE
    return "lower" if row["value"] < row["now"] else "higher"
