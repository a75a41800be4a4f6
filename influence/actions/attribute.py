"""Score every training row for one question. No PyTorch at import: pages ask `kept`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from influence.actions._scored import every, kept, scored
from influence.errors import BadInput
from influence.registry import attribution
from influence.store import Project
from influence.types import Event, Report, ignore

if TYPE_CHECKING:
    from influence.actions._opened import Opened
    from influence.types import Query

__all__ = ["attribute", "every", "kept"]

SHOWN = 10
"""First rows that a result tells."""
YARDSTICKS, AT_MOST = 3, 3.0
"""Plain trainings whose median is the yardstick, and the seconds for which each may run."""


def attribute(
    project: Project,
    query: str,
    method: str = "metagradient",
    run: str | None = None,
    query_set: Mapping[str, Any] | None = None,
    set: Mapping[str, Any] | None = None,
    baseline: bool = False,
    again: bool = False,
    report: Report = ignore,
) -> dict[str, Any]:
    """Ask one query of the evaluation rows and score all training rows; the scores stay in the project, and are found again.

    `first`: id and score of the first rows, those whose removal is predicted to move the question most in its better direction (down, if it
    has none). `computed`: when the scores were; `found`: whether they were kept. `again`: compute them in any case, from nothing kept.
    `baseline`: that too, and time the method warm and a plain `torch.optim` loop (median of three, of which a few seconds are run and the
    rest is told from its steps) in this process, for their ratio.

    Raises:
        BadInput: the question does not fit the data, or the method is not open to this model (the sentence says how to make it so).
    """
    from influence.actions._opened import asked, opened, ranking
    from influence.baseline import plain_training

    began = time.perf_counter()
    it = opened(project, run)
    wanted, scorer = asked(query, query_set, it.run), attribution.make(method, set)
    recipe = it.trained.recipe
    timed = baseline and recipe is not None and not recipe.sharded  # shards have no plain loop to be compared with
    if timed and not scorer.unavailable(it.trained):
        _warm(it, scorer, wanted)
    _, result = scored(it, wanted, scorer, report, again or baseline)
    seconds = time.perf_counter() - began
    plain = []
    for k in range(YARDSTICKS if timed else 0):
        report(Event("time", k, YARDSTICKS, note="Timing a plain training"))
        plain.append(plain_training(it.trained, it.dataset.train, AT_MOST))
    scores = project.scores(result["scores"])
    order = ranking(scores, 0, result["better"])[:SHOWN]
    first = [{"id": id, "score": score} for id, score in zip(scores.ids[order].tolist(), scores.column()[order].tolist(), strict=True)]
    return {**result, "first": first, "seconds": seconds, "train_seconds": float(np.median(plain)) if plain else None}


def _warm(it: Opened, scorer: Any, query: Query) -> None:
    """Run a few steps of everything first, so that the first call's set-up is not taken for the method's cost."""
    from influence.training import train

    if it.trained.recipe is None:
        return
    few = it.dataset.train.take(np.arange(min(len(it.dataset.train), 2 * it.trained.recipe.batch_size)))
    small = train(it.trained.model, few, replace(it.trained.recipe, epochs=1), record=64)
    with suppress(BadInput):  # so few rows can be too few for a method
        scorer(small, few, it.question([query]))
