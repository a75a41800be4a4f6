"""Measure whether a training is smooth enough for the metagradient, once per run and settings. No PyTorch at import: pages look here."""

from __future__ import annotations

import time
from typing import Any

from influence.evidence import words
from influence.store import Project
from influence.store.catalogue import now
from influence.types import Report, ignore

SETS = 5
"""Random sets of rows by default: enough for an interval."""


def smoothness(
    project: Project,
    run: str | None = None,
    share: float = 0.01,
    sets: int = SETS,
    seed: int = 0,
    again: bool = False,
    report: Report = ignore,
) -> dict[str, Any]:
    """Train 2 `sets` + 1 times, without half and without all of the weight of `sets` random sets of a `share` of the rows.

    `value` (with `low`, `high`): how far training answers the second half of a removal as it answered the first; 1 is smooth, 0 is noise.
    `word`, `verdict`: what this says of the metagradient. `found`: whether the project kept it; `again`: measure in any case.

    Raises:
        BadInput: the model cannot be trained again, or fewer than two sets or no rows would be taken.
    """
    from influence.actions._opened import opened
    from influence.actions._retrained import recipe_of
    from influence.replay.smoothness import smoothness as measured

    began = time.perf_counter()
    it = opened(project, run)
    recipe_of(it)
    settings = {"share": share, "sets": sets, "seed": seed}
    note = next((n for n in kept(project, it.run.id) if all(n[key] == value for key, value in settings.items())), None)
    if note and not again:
        return {**note, "found": True}
    got = measured(it.trained, it.dataset.train, share, sets, seed, report)
    figures = {"value": got.value, "low": got.low, "high": got.high, "n": got.n, "values": list(got.values)}
    said = {"word": got.word, "verdict": got.verdict}
    seconds = time.perf_counter() - began
    result = {**figures, **said, **settings, "trainings": trainings(sets), "run": it.run.id, "seconds": seconds, "computed": now()}
    with project.transaction():
        project.note(f"smoothness/{it.run.id}/{share!r}/{sets}/{seed}", result)
        project.record(
            "smoothness",
            inputs={"run": it.run.id, "dataset": it.run.dataset},
            settings=settings,
            outputs={},
            measures={**figures, **said},
            seconds=seconds,
        )
    return {**result, "found": False}


def kept(project: Project, run: str) -> list[dict[str, Any]]:
    """Return what was measured of a run, newest first."""
    return sorted(project.notes(f"smoothness/{run}/").values(), key=lambda note: note["computed"], reverse=True)


def trainings(sets: int = SETS) -> int:
    """Return what a measurement costs, in trainings of the run."""
    return 2 * sets + 1


def in_words(result: dict[str, Any]) -> str:
    """Return a measurement in one line: its value and interval, and where and how often it was measured."""
    share = words.percent(result["share"], 0 if result["share"] >= 0.01 else 2)
    between = words.interval(result["low"], result["high"])
    return f"{words.number(result['value'])} ({between}) at {share}, {words.count(result['n'], 'set')} of rows"
