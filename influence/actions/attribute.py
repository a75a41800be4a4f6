"""Score every training row for one question."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from influence.actions._opened import Opened, asked, opened
from influence.baseline import plain_training
from influence.errors import BadInput
from influence.registry import attribution, described
from influence.store import Project
from influence.training import train
from influence.types import Event, Question, Report, ignore


def attribute(
    project: Project,
    query: str,
    method: str = "metagradient",
    run: str | None = None,
    query_set: Mapping[str, Any] | None = None,
    set: Mapping[str, Any] | None = None,
    baseline: bool = False,
    report: Report = ignore,
) -> dict[str, Any]:
    """Ask one query of the evaluation rows and score all training rows; the scores stay in the project.

    `baseline`: also time the method warm and a plain `torch.optim` loop (median of three) in this process, for the ratio of the two.

    Raises:
        BadInput: the question does not fit the data, or the method is not open to this model (the sentence says how to make it so).
    """
    began = time.perf_counter()
    it = opened(project, run)
    scorer = attribution.make(method, set)
    reason = scorer.unavailable(it.trained)
    if reason:
        raise BadInput(reason)
    question = it.question([asked(query, query_set)])
    if baseline:
        _warm(it, scorer, question)
    stages: list[str] = []

    def heard(event: Event) -> None:
        stages.append(event.stage)
        report(event)

    started = time.perf_counter()
    scores = scorer(it.trained, it.dataset.train, question, heard)
    walked = time.perf_counter() - started
    digest = project.put_scores(scores)
    result = {
        "scores": digest,
        "labels": list(scores.labels),
        "calibrated": scores.calibrated,
        "better": question.queries[0].better,
        "value": _value(it, question),
        "replayed": "replay" in stages,
        "walk_seconds": walked,
        "n": len(scores.ids),
        "run": it.run.id,
    }
    seconds = time.perf_counter() - began
    with project.transaction():
        project.record(
            "attribute",
            inputs={"run": it.run.id, "dataset": it.run.dataset, "question": question.digest},
            settings={"query": described(question.queries[0]), "method": described(scorer)},
            outputs={"scores": digest},
            measures={"replayed": result["replayed"]},
            seconds=seconds,
        )
    plain = [plain_training(it.trained, it.dataset.train) for _ in range(3)] if baseline and it.trained.recipe else []
    return {**result, "seconds": seconds, "train_seconds": float(np.median(plain)) if plain else None}


def _value(it: Opened, question: Question) -> dict[str, float]:
    logits = it.outputs("evaluation")
    return {"value": float(question.value(logits)[0]), "measured": float(question.measured(logits)[0])}


def _warm(it: Opened, scorer: Any, question: Question) -> None:
    """Run a few steps of everything first, so that the first call's set-up is not taken for the method's cost."""
    if it.trained.recipe is None:
        return
    few = it.dataset.train.take(np.arange(min(len(it.dataset.train), 2 * it.trained.recipe.batch_size)))
    small = train(it.trained.model, few, replace(it.trained.recipe, epochs=1), record=64)
    scorer(small, few, question)
