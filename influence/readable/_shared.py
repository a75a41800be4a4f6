"""What the sentences of all commands share: who says them, tables, figures of a run, and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from influence.actions import _measures
from influence.evidence import words
from influence.store import Project, Run

FIRST = 10
Result = Mapping[str, Any]
Says = Callable[[Project, Result], list[str]]
TOLD: dict[str, Says] = {}
"""What says the result of an action, in lines, by the action's name."""


def says(told: Says) -> Says:
    """Let a function say the results of the action of its name; used as a decorator."""
    TOLD[told.__name__] = told
    return told


def table(align: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return aligned lines; `align`: "<" or ">" for each column."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  " + "  ".join(f"{c:{a}{w}}" for c, a, w in zip(row, align, widths, strict=True)).rstrip() for row in cells]


def own_unit(project: Project, result: Result, what: str = "Errors", smooth: bool = True) -> list[str]:
    """Return a line on the unit of the errors, or of `what`, of a numeric target, and of their smooth versions; none for classes."""
    said = _measures.own_unit(project.dataset(project.run(result["run"]).dataset), what=what, smooth=smooth)
    return [said] if said else []


def score(value: float) -> str:
    """Return a score with three figures: scores of one list can differ a thousandfold."""
    return f"{value:#.3g}".rstrip(".").replace("-", words.MINUS)


def holdout(run: Run) -> list[str]:
    """Return the table of a run's figures on the holdout rows."""
    figures = measured(run.body)
    rows = [(name, words.number(f["value"]), words.interval(f["low"], f["high"]), f"{f['n']:,}") for name, f in figures.items()]
    return table("<>>>", ("metric", "value", "95 %", "n"), rows)


def measured(body: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return a run's figures on the holdout rows by name: of all rows, then the gaps between groups."""
    found = body["metrics"]
    return {**found["intervals"], **{f"{m} by {column}": f for column, gaps in found["gaps"].items() for m, f in gaps.items()}}


def retrained(found: Mapping[str, Any], role: str) -> str:
    """Return what people read on a role's rows before and after retraining without a pattern or block; "-" where that was not done."""
    told = found.get("realised", {}).get("same", {}).get(role, {}).get("measured")
    return f"{words.number(told['before'])} → {words.number(told['before'] + told['change'])}" if told else "-"
