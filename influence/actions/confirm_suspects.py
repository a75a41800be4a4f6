"""Retrain without the rows of patterns, and say what that really changes: the truth beside what a search for suspects predicts.

No PyTorch at import: pages ask `kept`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from influence.actions._scored import Described, place
from influence.actions.suspects import Remedy, other_class
from influence.conditions import met, read, rule
from influence.digest import digest
from influence.errors import BadInput
from influence.registry import described
from influence.store import Project
from influence.types import Event, Question, Report, ignore

if TYPE_CHECKING:
    import torch

    from influence.actions._opened import Opened

FRESH = 1000
"""Fresh seeds are counted from the run's own seed and this."""


def confirm_suspects(
    project: Project,
    query: str,
    patterns: Sequence[str],
    run: str | None = None,
    query_set: Mapping[str, Any] | None = None,
    remedy: Remedy = "remove",
    seeds: int = 0,
    again: bool = False,
    report: Report = ignore,
) -> dict[str, Any]:
    """Retrain without the rows of each pattern (or with them relabelled), and without as many random rows, and ask the question again.

    `patterns`: conditions as JSON, as `suspects` tells them. Truth *same*: this training without these rows, on evaluation and holdout
    rows. `seeds`: so many trainings with fresh seeds beside, each compared with the whole data at that seed: truth *fresh*, with mean and
    95 % interval over seeds.

    `confirmed`: for each pattern rule, n, `same` and `random` (role: value before, change), `fresh` (role: change, low, high, n).

    Raises:
        BadInput: a pattern cannot be read or holds no rows or all, or the model cannot be trained again.
    """
    from influence.actions._opened import asked, opened
    from influence.actions._retrained import recipe_of

    began = time.perf_counter()
    it = opened(project, run)
    wanted = asked(query, query_set, it.run)
    recipe_of(it)
    question = it.question([wanted])
    masks = [_rows(it, pattern) for pattern in patterns]
    names = [key(project, it.run.id, described(question.queries[0]), pattern, remedy) for pattern in patterns]
    missing = [k for k, name in enumerate(names) if again or not _enough(project.noted(name), seeds)]
    if missing:
        found = _confirmed(it, question, np.stack([masks[k] for k in missing]), remedy, seeds, report)
        with project.transaction():
            for k, entry in zip(missing, found, strict=True):
                project.note(names[k], {"rule": rule(read(patterns[k])), "n": int(masks[k].sum()), "remedy": remedy, **entry})
            project.record(
                "confirm_suspects",
                inputs={"run": it.run.id, "dataset": it.run.dataset, "question": question.digest},
                settings={"patterns": [patterns[k] for k in missing], "remedy": remedy, "seeds": seeds},
                outputs={},
                measures={},
                seconds=time.perf_counter() - began,
            )
    return {"confirmed": [project.noted(name) for name in names], "run": it.run.id, "seconds": time.perf_counter() - began}


def key(project: Project, run: str, query: Described, pattern: str, remedy: str) -> str:
    """Return the name of the note of one pattern, question and remedy."""
    return f"confirmed/{place(project, run, query)}/{remedy}/{digest(pattern)[:24]}"


def kept(project: Project, run: str, query: Described, pattern: str, remedy: str = "remove") -> dict[str, Any] | None:
    """Return what retraining found for a pattern, or None."""
    return project.noted(key(project, run, query, pattern, remedy))


def _enough(note: Mapping[str, Any] | None, seeds: int) -> bool:
    return note is not None and all(entry["n"] >= seeds for entry in note["fresh"].values()) and (bool(note["fresh"]) or not seeds)


def _rows(it: Opened, pattern: str) -> np.ndarray:
    """Return the rows of a pattern that training saw, (N,) bool.

    Raises:
        BadInput: the pattern cannot be read, or holds none of them or all.
    """
    conditions, train = read(pattern), it.dataset.train
    columns = train.columns
    if it.dataset.target not in columns and train.classes:
        columns = columns.assign(**{it.dataset.target: np.array(train.classes, dtype=object)[train.y]})
    inside = met(conditions, columns) & it.seen
    if not 0 < inside.sum() < it.seen.sum():
        many = "no training row" if not inside.any() else "all training rows"
        raise BadInput(f"The pattern “{rule(conditions)}” holds {many}. Choose one that divides them.")
    return inside


def _confirmed(it: Opened, question: Question, masks: np.ndarray, remedy: Remedy, seeds: int, report: Report) -> list[dict[str, Any]]:
    from influence.actions._retrained import now

    asked = {"evaluation": question, "holdout": Question(question.queries, it.dataset.holdout)}
    sets = np.concatenate([masks, _random(it, masks)]) if remedy == "remove" else masks
    changed = _values(it, sets, asked, remedy, None, report)
    before = {role: float(told["measured"][0]) for role, told in now(it, asked).items()}
    fresh: dict[str, np.ndarray] = {}
    if seeds:
        whole = np.concatenate([np.zeros_like(masks[:1]), masks])
        start = FRESH + (it.trained.recipe.seed if it.trained.recipe else 0)
        many = [_values(it, whole, asked, remedy, start + s, report) for s in range(seeds)]
        fresh = {role: np.stack([values[role][1:] - values[role][0] for values in many]) for role in asked}  # (seeds, R)
    found = []
    for k in range(len(masks)):
        same = {role: {"before": before[role], "change": float(changed[role][k]) - before[role]} for role in asked}
        entry: dict[str, Any] = {"same": same, "random": {}, "fresh": {role: _over_seeds(values[:, k]) for role, values in fresh.items()}}
        if remedy == "remove":
            entry["random"] = {role: {"change": float(changed[role][len(masks) + k]) - before[role]} for role in asked}
        found.append(entry)
    return found


def _random(it: Opened, masks: np.ndarray) -> np.ndarray:
    """Return for each mask as many random rows that training saw."""
    from influence.actions._retrained import random_sets

    return np.concatenate([random_sets(it.seen, int(mask.sum()), 1, seed=k) for k, mask in enumerate(masks)])


def _values(
    it: Opened, sets: np.ndarray, asked: Mapping[str, Question], remedy: Remedy, seed: int | None, report: Report
) -> dict[str, np.ndarray]:
    """Return what people read of each question for models retrained without (or with other labels in) each of R sets, (R,) by role."""
    from influence.actions._retrained import answers

    if remedy == "remove":
        seeds = None if seed is None else [seed] * len(sets)
        told = answers(it, sets, asked, seeds, report, stage="retrain" if seed is None else "retrain, fresh seeds")
        return {role: told[role]["measured"][:, 0] for role in asked}
    return _relabelled(it, sets, asked, seed, report)


def _relabelled(it: Opened, sets: np.ndarray, asked: Mapping[str, Question], seed: int | None, report: Report) -> dict[str, np.ndarray]:
    from influence import grads, training
    from influence.actions._retrained import recipe_of
    from influence.loop import threads

    train, other, recipe = it.dataset.train, other_class(it), recipe_of(it)
    recipe = recipe if seed is None else replace(recipe, seed=seed)
    found: dict[str, list[float]] = {role: [] for role in asked}
    for k, mask in enumerate(sets):
        report(Event("retrain", k, len(sets), f"{len(sets)} real retrainings"))
        rows = replace(train, y=np.where(mask, other.y, train.y))
        bound = training.load(training.train(it.trained.model, rows, recipe, removed=it.trained.removed))
        with threads(recipe.threads):
            for role, question in asked.items():
                logits: torch.Tensor = grads.outputs(bound, question.examples)
                found[role].append(float(question.measured(logits)[0]))
    return {role: np.array(values) for role, values in found.items()}


def _over_seeds(changes: np.ndarray) -> dict[str, Any]:
    """Return mean, 95 % interval (Student's t; none for one seed) and number of fresh seeds."""
    from scipy import stats

    n, mean = len(changes), float(changes.mean())
    half = float(stats.t.ppf(0.975, n - 1) * changes.std(ddof=1) / n**0.5) if n > 1 else None
    return {"change": mean, "low": None if half is None else mean - half, "high": None if half is None else mean + half, "n": n}
