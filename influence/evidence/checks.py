"""Checks of data and models, and the sizes of classes and groups, as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from influence.evidence import words

VERDICTS = {"good": "good", "doubtful": "LOOK", "none": "-"}


def lines(checks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each check, and below it what mends it."""
    doubtful = sum(check["verdict"] == "doubtful" for check in checks)
    told = [
        f"{words.count(doubtful, 'check')} to LOOK at among {len(checks)}:" if doubtful else f"{len(checks)} checks, none to worry about:"
    ]
    for check in checks:
        told.append(f"  {VERDICTS[check['verdict']]:4}  {check['check']}: {check['found']}")
        option = f" (--kind {check['leak']}=leak)" if check["leak"] else ""
        told += [f"        {check['mend'].rstrip('.')}{option}."] if check["mend"] else []
    return told


def sizes(columns: Sequence[str], data: Sequence[Sequence[Any]]) -> tuple[list[str], list[list[str]]]:
    """Return head and cells of a table of sizes (`influence/data/sizes.py`)."""
    head = [name if name.startswith("Share") else name.lower() for name in columns]
    return head, [[_cell(value) for value in row] for row in data]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return words.percent(value)
    return f"{value:,}" if isinstance(value, int) else str(value or "")
