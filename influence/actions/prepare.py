"""Prepare previews of a run: one walk with the standard queries, and a few real retrainings that calibrate it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from influence.actions._calibration import fit_ways, reach, units
from influence.actions._opened import Opened, opened, ranking
from influence.actions._retrained import answers, now, random_sets
from influence.actions._standard import standard
from influence.actions.preview import hard, key, scorer
from influence.errors import BadInput
from influence.groups import columns_of, other_than
from influence.registry import described
from influence.store import Project
from influence.types import Examples, Query, Question, Report, Scores, ignore

SHARES = (0.002, 0.015, 0.1)
"""Of the rows, at both ends of rankings; bands end at the last."""
UNCALIBRATED: dict[str, Any] = {"calibration": {}, "pairs": {}, "units": [], "most": 0, "retrainings": 0}
MAIN = ("Equal-opportunity gap", "Demographic-parity gap", "Group loss gap", "Mean loss", "Mean margin")


def prepare(project: Project, run: str | None = None, group: str = "", positive: str = "", report: Report = ignore) -> dict[str, Any]:
    """Score every training row for all standard queries, retrain about twenty times, and keep what previews need.

    A model without a recipe gets TracIn scores, which rank only, and no calibration. `positive`: the class of which rates and gaps speak;
    "": the one that is favourable in the run's data. Each has a note of its own.

    Raises:
        BadInput: the group column does not exist or holds one group only, or there is no such class.
    """
    began = time.perf_counter()
    it = opened(project, run)
    positive = other_than(it.dataset.evaluation, positive)
    question = it.askable(_standard(it, group, positive))
    method = scorer(it.trained)
    if reason := method.unavailable(it.trained):
        raise BadInput(reason)
    scores = method(it.trained, it.dataset.train, question, report, it.workspace)
    before = now(it, {"evaluation": question})["evaluation"]
    better = {label: query.better for query in question.queries for label in query.labels}
    calibrated = _calibrated(it, question, scores, better, before, report) if scores.calibrated else UNCALIBRATED
    note = {
        "run": it.run.id,
        "group": group,
        "positive": positive,
        "scores": project.put_scores(scores),
        "calibrated": scores.calibrated,
        "labels": list(scores.labels),
        "better": better,
        "queries": {label: described(query) for query in question.queries for label in query.labels},
        "measured_labels": {label: query.measured_label for query in question.queries for label in query.labels},
        "before": {label: {kind: float(before[kind][i]) for kind in before} for i, label in enumerate(scores.labels)},
        "n_evaluation": len(question.examples),
        **calibrated,
        "seconds": time.perf_counter() - began,
    }
    with project.transaction():
        project.note(key(it.run.id, group, positive), note)
        project.record(
            "prepare",
            inputs={"run": it.run.id, "question": question.digest},
            settings={
                "group": group,
                "positive": positive,
                "method": described(method),
                "queries": list(note["queries"].values()),
                "shares": list(SHARES),
            },
            outputs={"scores": note["scores"]},
            measures={},
            seconds=note["seconds"],
        )
    return note


def _standard(it: Opened, group: str, positive: str) -> tuple[Query, ...]:
    if group:
        columns_of(it.dataset.evaluation, group)  # or that is what is wrong with it
    return standard(it.dataset.evaluation, group, positive)


def _calibrated(
    it: Opened, question: Question, scores: Scores, better: Mapping[str, str], before: dict[str, np.ndarray], report: Report
) -> dict[str, Any]:
    """Fit realised on predicted changes over the rows that the main questions rank first and last, and over random rows.

    Also return the units, the most rows of a set, the number of sets, and as `pairs` of each gap between two fixed groups the fit of what
    people read of these two, with its sign.
    """
    left_out = _sets(scores, better, it.seen)
    predicted = left_out.astype(np.float64) @ scores.values
    unit = units(predicted)
    rows = left_out.sum(1)
    reached = reach(predicted, unit, rows / rows.max())
    signed = Question(tuple(Signed(query) for query in question.queries if hasattr(query, "paired")), question.examples)  # type: ignore[misc]
    asked = {"evaluation": question, **({"signed": signed} if signed.queries else {})}
    found = answers(it, left_out, asked, report=report, stage="calibrate")
    real, fits = found["evaluation"], {}
    for i, label in enumerate(scores.labels):
        scored = predicted[:, i]
        soft = fit_ways(scored, scored, real["value"][:, i] - before["value"][i], reached)
        expected = hard(label, float(before["value"][i]), soft, scored)
        fits[label] = {"value": soft, "measured": fit_ways(scored, expected, real["measured"][:, i] - before["measured"][i], reached)}
    at, pairs = now(it, {"signed": signed})["signed"]["value"] if signed.queries else (), {}
    for k, label in enumerate(signed.labels):
        change = found["signed"]["value"][:, k] - at[k]
        scored = predicted[:, scores.labels.index(label)]
        pairs[label] = {"before": float(at[k]), "fit": fit_ways(scored, scored, change, reached)}
    return {"calibration": fits, "units": unit.tolist(), "pairs": pairs, "most": int(rows.max()), "retrainings": len(left_out)}


class Signed:
    """A gap as people read it between the two groups that its query has fixed, with its sign, as a question of its own."""

    def __init__(self, query: Any) -> None:
        self.query, self.labels = query, query.labels

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """The signed gap, (1,)."""
        found: torch.Tensor = self.query.paired(logits, examples)
        return found

    measured = value


def _sets(scores: Scores, better: Mapping[str, str], seen: np.ndarray) -> np.ndarray:
    """Return (R, N) bool. Per share of the rows: k at each end of up to three main questions' rankings, gaps first, and k random rows."""
    n = int(seen.sum())
    asked = [label for label in scores.labels if better[label] != "neither"]
    asked = sorted(asked, key=lambda label: MAIN.index(label.split(" by ")[0]) if label.split(" by ")[0] in MAIN else len(MAIN))[:3]
    sets = []
    for place, share in enumerate(SHARES):
        k = min(max(2, round(share * n)), n // 2)
        for label, end in itertools.product(asked, ("lower", "higher")):
            row, order = np.zeros(len(seen), dtype=bool), ranking(scores, label, end)
            row[order[seen[order]][:k]] = True
            sets.append(row)
        sets.append(random_sets(seen, k, 1, seed=1000 + place)[0])
    return np.stack(list({row.tobytes(): row for row in sets}.values()))  # small data make equal sets: each counts once
