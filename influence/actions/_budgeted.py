"""What a budget rests on: scores of a question and of accuracy, calibrated by real retrainings, and how to get from targets to scores.

A note has the form of a preview's (`prepare`), for these two questions alone. The calibrating sets are those that budgets consist of: the
rows that move the question most, the same at no cost of accuracy, those that cost accuracy most, and random ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from influence.actions._calibration import fit, reach, units
from influence.actions._opened import Opened
from influence.actions._retrained import answers, now, random_sets
from influence.actions._scored import short
from influence.actions.preview import in_units, is_gap, limits, twin
from influence.errors import BadInput
from influence.evidence import words
from influence.finders._programme import furthest
from influence.registry import attribution, described, queries
from influence.types import Query, Question, Report, Scores

SHARES = (0.001, 0.003, 0.008, 0.02, 0.05)
"""Shares of the rows that the calibrating sets have; four sets of each."""


def prepared(it: Opened, query: Query, report: Report) -> dict[str, Any]:
    """Return the note of a question, kept or made now: one walk back through training and twenty retrainings.

    Raises:
        BadInput: the question does not fit the data or is accuracy itself, or the model cannot be walked back or trained again.
    """
    question = it.question([query, queries.make("accuracy")])
    if question.queries[0].measured_label == question.queries[1].measured_label:
        raise BadInput(f"{question.queries[0].measured_label} is what a budget spares. Ask for another question, for example loss.")
    key = f"budget/{it.run.id}/{short(described(question.queries[0]))}"  # as the model turns it: the default class by its name
    found = it.project.noted(key)
    if found is None or not it.project.objects.find(found["scores"]):
        found = _made(it, question, report)
        with it.project.transaction():
            it.project.note(key, found)
    return in_units(found, it.dataset)


def _made(it: Opened, question: Question, report: Report) -> dict[str, Any]:
    method = attribution.make("metagradient")
    reason = method.unavailable(it.trained)
    if reason:
        raise BadInput(reason)
    scores = method(it.trained, it.dataset.train, question, report, it.workspace)
    before = now(it, {"evaluation": question})["evaluation"]
    labels, asked = [scores.labels[0], scores.labels[-1]], question.queries
    left_out = _sets(scores, asked[0].better, it.seen)
    real = answers(it, left_out, {"evaluation": question}, report=report, stage="calibrate")["evaluation"]
    predicted = left_out.astype(np.float64) @ scores.values
    unit = units(predicted)
    reached, fits = reach(predicted, unit), {}
    for i, label in enumerate(scores.labels):
        soft = fit(predicted[:, i], real["value"][:, i] - before["value"][i], reached)
        hard = twin(label, float(before["value"][i]), soft["slope"] * predicted[:, i])
        fits[label] = {"value": soft, "measured": fit(hard, real["measured"][:, i] - before["measured"][i], reached)}
    return {
        "run": it.run.id,
        "scores": it.project.put_scores(scores),
        "labels": list(scores.labels),
        "question": labels[0],
        "accuracy": labels[1],
        "better": {label: q.better for q in asked for label in q.labels},
        "queries": {label: described(q) for q in asked for label in q.labels},
        "measured_labels": {label: q.measured_label for q in asked for label in q.labels},
        "before": {label: {kind: float(before[kind][i]) for kind in before} for i, label in enumerate(scores.labels)},
        "n_evaluation": len(question.examples),
        "calibration": fits,
        "units": unit.tolist(),
    }


def _sets(scores: Scores, better: str, seen: np.ndarray) -> np.ndarray:
    """Return (R, N) bool, without repeats."""
    gain = np.where(seen, scores.column(0) * (1 if better == "higher" else -1), 0.0)
    cost, sets = np.where(seen, -scores.column(scores.labels[-1]), 0.0), []
    for place, share in enumerate(SHARES):
        k = min(max(2, round(share * int(seen.sum()))), int(seen.sum()) // 2)
        free = furthest(gain, cost, 0.0, k)
        sets += [np.isin(np.arange(len(seen)), np.argsort(-values, kind="stable")[:k]) & seen for values in (gain, cost)]
        sets += [np.zeros(len(seen), dtype=bool) if free is None else free > 0, random_sets(seen, k, 1, seed=2000 + place)[0]]
    return np.stack(list({row.tobytes(): row for row in sets if row.any()}.values()))


def slopes(note: Mapping[str, Any], label: str) -> float:
    """Return by how much what people read changes for a change of one in the scores' sums."""
    fitted = note["calibration"][label]
    return float(fitted["value"]["slope"] * fitted["measured"]["slope"])


def price(note: Mapping[str, Any]) -> tuple[float, bool]:
    """Return the slope from scores to accuracy, and whether the retrainings bear it out: whether its 95 % interval lies above 0.

    If it does not, the slope is 1: the smooth form is in accuracy's own unit.
    """
    fitted, slope = note["calibration"][note["accuracy"]]["measured"], slopes(note, note["accuracy"])
    borne_out = bool(slope > 0 and fitted["slope"] - fitted["t"] * fitted["slope_sd"] > 0)
    return (slope if borne_out else 1.0), borne_out


def wanted(note: Mapping[str, Any], target: float) -> float:
    """Return the change of the scores' sum that brings the question from what it measures now to `target`.

    Raises:
        BadInput: the target is no number, lies on the wrong side of what is measured now or where the metric never is, or predictions of
            this question were not borne out.
    """
    label = note["question"]
    before, better, read = note["before"][label], note["better"][label], note["measured_labels"][label]
    if not np.isfinite(target):
        raise BadInput(f"The target must be a number; got {target}. {read} is {words.number(before['measured'])} now.")
    least, most = limits(note, label)
    if not least <= target <= most:
        raise BadInput(f"{read} lies between {least:g} and {most:g}; got the target {target:g}. Give one in between.")
    change = target - before["measured"]
    if change == 0 or (better == "lower" and change > 0) or (better == "higher" and change < 0):
        wants = {"lower": "a lower target", "higher": "a higher target", "neither": "another target"}[better]
        raise BadInput(f"{read} is {words.number(before['measured'])} now: nothing need be removed for {target:g}. Give {wants}.")
    fitted = note["calibration"][label]
    if min(fitted["value"]["slope"], fitted["measured"]["slope"]) <= 0:
        n = fitted["value"]["n"]
        raise BadInput(f"{n} real retrainings do not bear out what is predicted for {read}: no budget rests on that. Ask another question.")
    if is_gap(label) and -change / fitted["measured"]["slope"] > before["value"]:
        lowest = before["measured"] - fitted["measured"]["slope"] * before["value"]
        raise BadInput(
            f"{read} is predicted through a smooth version, and is {words.number(lowest)} where that is 0: {target:g} cannot be "
            "predicted. Give a higher target."
        )
    return float(change / slopes(note, label))
