"""The fewest training rows that bring a question to a target at a bounded loss of accuracy: predicted, and checked by real retraining."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from influence.actions._budgeted import prepared, price, wanted
from influence.actions._calibration import band, over_seeds, reach
from influence.actions._measures import unit_of
from influence.actions._opened import Opened, asked, opened
from influence.actions._retrained import answers
from influence.actions.confirm import questions_of
from influence.actions.preview import limits, predicted, twin
from influence.errors import BadInput
from influence.evidence import words
from influence.finders._programme import frontier, furthest
from influence.finders.budget import Budget
from influence.registry import described, finders
from influence.store import Project
from influence.types import Report, Scores, as_places, ignore

POINTS = 24
FIRST_SEED = 2000


def budget(
    project: Project,
    query: str,
    target: float,
    max_accuracy_loss: float,
    run: str | None = None,
    query_set: Mapping[str, Any] | None = None,
    mode: str = "remove",
    part: float = 1.0,
    most: float = 0.1,
    seeds: int = 3,
    report: Report = ignore,
) -> dict[str, Any]:
    """Find the fewest rows without which (or with less weight of which) the question is predicted to reach `target`, as people read it.

    `target`: errors of a numeric target in its own unit. `max_accuracy_loss`: as a share, 0.003 for 0.3 points; of a numeric target the
    largest loss of R squared. `mode`: "remove" or "reweight", of which `part` is the largest part of one row's
    weight that is taken. `most`: the largest share of rows; far beyond the calibrating retrainings nothing should be predicted. `seeds`:
    with how many fresh seeds models are really retrained, with all rows and so (0: none), on evaluation and holdout rows.

    The result: `ids`, the row that does most first; `weights` of them, 0 where removed; `taken`, what is taken in all, and `least`, what
    any solution takes at least; `predicted`; `frontier`, the predicted question by rows for several losses; `retrained`.

    Raises:
        BadInput: the question does not fit; the target is met already or out of reach (the sentence says what can be reached); the model
            cannot be trained again.
    """
    began = time.perf_counter()
    if not (np.isfinite(max_accuracy_loss) and 0 <= max_accuracy_loss <= 1):
        raise BadInput(f"The largest loss of accuracy (or R²) is a share between 0 and 1, 0.003 for 0.3 points; got {max_accuracy_loss}.")
    it = opened(project, run)
    note = prepared(it, asked(query, query_set, it.run), report)
    scores, change, (slope, borne_out) = project.scores(note["scores"]), wanted(note, target), price(note)
    finder = finders.make(
        "budget",
        {"change": change, "label": note["question"], "beside": note["accuracy"], "allowed": max_accuracy_loss / slope, "most": most,
         "mode": mode, "part": part},
    )  # fmt: skip
    seen = Scores(np.where(it.seen[:, None], scores.values, 0.0), scores.ids, scores.labels, scores.method, scores.calibrated)
    found = finder.taken(seen)
    if found is None:
        raise BadInput(_out_of_reach(note, finder, seen, target, max_accuracy_loss))
    taken, least = found
    chosen = finder(seen, it.dataset.train)
    result = {
        "ids": list(chosen.ids),
        "weights": (1 - taken[as_places(chosen.ids, scores.ids)]).tolist(),
        "taken": float(taken.sum()),
        "least": least,
        "target": target,
        "max_accuracy_loss": max_accuracy_loss,
        "question": note["question"],
        "spared": {"label": note["accuracy"], "slope": slope, "borne_out": borne_out},
        "predicted": predicted(note, replace(scores, values=scores.values * taken[:, None]), chosen.ids),
        "frontier": curves(note, seen, finder, max_accuracy_loss, slope, float(taken.sum())),
        "retrained": _retrained(it, note, taken, seeds, report) if seeds else {},
        "mode": mode,
        "n": len(scores.ids),
        "n_evaluation": note["n_evaluation"],
        "retrainings": note["calibration"][note["question"]]["value"]["n"],
        "run": it.run.id,
        "reason": {**chosen.reason, "scores": note["scores"], "dataset": it.run.dataset},
    }
    project.record(
        "budget",
        inputs={"run": it.run.id, "dataset": it.run.dataset, "scores": note["scores"]},
        settings={"query": note["queries"][note["question"]], "target": target, "loss": max_accuracy_loss, "finder": described(finder)},
        outputs={},
        measures={"rows": len(chosen), "taken": result["taken"], "least": least},
        seconds=time.perf_counter() - began,
    )
    return {**result, "seconds": time.perf_counter() - began}


def level(note: Mapping[str, Any], sums: np.ndarray, label: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what people are predicted to read, with its 95 % band, where scores add up to `sums` (S, Q): three arrays (S,)."""
    place, fitted, before = note["labels"].index(label), note["calibration"][label], note["before"][label]
    expected = twin(label, before["value"], fitted["value"]["slope"] * sums[:, place])
    found = band(fitted["measured"], expected, reach(sums, np.array(note["units"])))
    least, most = limits(note, label)
    value, low, high = (np.clip(before["measured"] + change, least, most) for change in found)
    return value, low, high


def curves(note: Mapping[str, Any], scores: Scores, finder: Budget, loss: float, slope: float, taken: float) -> list[dict[str, Any]]:
    """Return points of the frontier: `allowed` loss of accuracy (None: any), `k` rows, and the question's `value`, `low` and `high`."""
    it, label = finder.programme(scores), note["question"]
    ks = np.unique(np.geomspace(1, max(2, min(it.most, 4 * taken)), POINTS).astype(int))
    allowances = [*sorted({0.0, loss / 2, loss, 2 * loss}), np.inf]
    sums, points = frontier(it.gain, it.cost, ks, np.array(allowances) / slope, it.part), []
    place, beside = note["labels"].index(label), note["labels"].index(note["accuracy"])
    for allowed, of in zip(allowances, sums, strict=True):
        both = np.zeros((len(ks), len(note["labels"])))
        both[:, place], both[:, beside] = np.sign(finder.change) * of[:, 0], -of[:, 1]
        values = zip(ks, of, *level(note, both, label), level(note, both, note["accuracy"])[0], strict=True)
        points += [
            {"allowed": None if np.isinf(allowed) else allowed, "k": int(k), "value": float(v), "low": float(a), "high": float(b),
             "accuracy": float(accuracy)}
            for k, own, v, a, b, accuracy in values if np.isfinite(own).all()
        ]  # fmt: skip
    return points


def _out_of_reach(note: Mapping[str, Any], finder: Budget, scores: Scores, target: float, loss: float) -> str:
    """Say what can be reached at this loss of accuracy, and at which loss the target can."""
    it, label = finder.programme(scores), note["question"]
    near = furthest(it.gain, it.cost, it.allowed, it.most, it.part)
    nearest = level(note, (near if near is not None else np.zeros(len(it.gain)))[None] @ scores.values, label)[0][0]
    dear = furthest(-it.cost, -it.gain, -it.wanted, it.most, it.part)
    needed = None if dear is None else float(it.cost @ dear) * price(note)[0]
    spared = note["measured_labels"][note["accuracy"]].replace("Accuracy", "accuracy")
    at_all = f"at no loss of {spared} is it within reach" if needed is None else f"it needs {spared} to fall by {words.number(needed)}"
    return (
        f"{note['measured_labels'][label]} {target:g} is out of reach with at most {it.most:,.0f} rows and {spared} falling by {loss:g}: "
        f"the nearest predicted is {words.number(float(nearest))}, and {at_all}."
    )


def _retrained(it: Opened, note: dict[str, Any], taken: np.ndarray, seeds: int, report: Report) -> dict[str, Any]:
    """Retrain with fresh seeds, with all weights and without what is taken; return by role and label what was measured, as `changed`."""
    questions, own = questions_of(it, note), [FIRST_SEED + s for s in range(seeds)]
    sets = np.concatenate([np.tile(row, (seeds, 1)) for row in (np.zeros(len(taken)), taken)])
    found = answers(it, sets, questions, own * 2, report, stage="retrain, fresh seeds")
    units = [unit_of(it.dataset, note["queries"][label]["name"]).measured for label in note["labels"]]
    return {
        role: {
            label: changed(kinds["measured"][:seeds, i] * units[i], kinds["measured"][seeds:, i] * units[i])
            for i, label in enumerate(note["labels"])
        }
        for role, kinds in found.items()
    }


def changed(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Return the means over seeds (S,) before and after, and the mean change with its 95 % interval (Student's t; None of one seed)."""
    return {"before": float(before.mean()), "after": float(after.mean()), **over_seeds(after - before)}
