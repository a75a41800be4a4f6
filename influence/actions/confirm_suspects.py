"""Retrain without the rows of patterns, and say what that really changes: the truth beside what a search for suspects predicts.

No PyTorch at import: pages ask `kept`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from influence.actions._calibration import over_seeds
from influence.actions._measures import unit_of
from influence.actions._scored import Described, place
from influence.actions.clusters import with_groups
from influence.actions.suspects import Remedy, other_class
from influence.conditions import met, read_any, rule
from influence.digest import digest
from influence.errors import BadInput
from influence.registry import described
from influence.store import Project
from influence.types import Event, Question, Report, ignore

if TYPE_CHECKING:
    from influence.actions._opened import Opened

KINDS = ("value", "measured")
"""What is predicted, a smooth version where people read another; and what they read."""
Values: TypeAlias = Mapping[str, Mapping[str, np.ndarray]]
VERSION = 3
"""Of what is kept: older notes hold less and are not found again."""
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

    `patterns`: conditions as JSON, as `suspects` tells them, or a list of such: the rows of any of them, together.
    Truth *same*: this training without these rows, on evaluation and holdout
    rows. `seeds`: so many trainings with fresh seeds beside, each compared with the whole data at that seed: truth *fresh*, with mean and
    95 % interval over seeds.

    `confirmed`: for each pattern rule, n, `same` and `random` (by role and kind: before, change) and `fresh` (change, low, high, n seeds).
    Kind "value" is what scores predict, a smooth version of some questions; "measured" what people read, of a numeric target in its unit.
    Holdout rows that cannot answer the question, for a gap between groups of which they have too few, are left out.

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
                project.note(
                    names[k], {"rule": " or ".join(map(rule, read_any(patterns[k]))), "n": int(masks[k].sum()), "remedy": remedy, **entry}
                )
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
    return f"confirmed/{place(project, run, query)}/{remedy}/{digest(pattern)[:24]}/{VERSION}"


def kept(project: Project, run: str, query: Described, pattern: str, remedy: str = "remove") -> dict[str, Any] | None:
    """Return what retraining found for a pattern, or None."""
    return project.noted(key(project, run, query, pattern, remedy))


def every(project: Project, run: str, query: Described) -> list[dict[str, Any]]:
    """Return what retraining found for all patterns of a question."""
    found = project.notes(f"confirmed/{place(project, run, query)}/")
    return [note for name, note in found.items() if name.endswith(f"/{VERSION}")]


def _enough(note: Mapping[str, Any] | None, seeds: int) -> bool:
    return (
        note is not None
        and all(kind["n"] >= seeds for kinds in note["fresh"].values() for kind in kinds.values())
        and (bool(note["fresh"]) or not seeds)
    )


def _rows(it: Opened, pattern: str) -> np.ndarray:
    """Return the rows of a pattern that training saw, (N,) bool.

    Raises:
        BadInput: the pattern cannot be read, or holds none of them or all.
    """
    any_of = read_any(pattern)
    columns = with_groups(it.project, it.run.id, it.dataset.train).columns
    inside = np.logical_or.reduce([met(conditions, columns) for conditions in any_of]) & it.seen
    if not 0 < inside.sum() < it.seen.sum():
        many = "no training row" if not inside.any() else "all training rows"
        raise BadInput(f"The pattern “{' or '.join(map(rule, any_of))}” holds {many}. Choose one that divides them.")
    return inside


def _confirmed(it: Opened, question: Question, masks: np.ndarray, remedy: Remedy, seeds: int, report: Report) -> list[dict[str, Any]]:
    from influence.actions._retrained import now
    from influence.actions.confirm import by_role

    asked = by_role(it, question)
    sets = np.concatenate([masks, _random(it, masks)]) if remedy == "remove" else masks
    same = _values(it, sets, asked, remedy, None, report)
    told = _in_units(it, question, {role: {kind: kinds[kind][:1] for kind in KINDS} for role, kinds in now(it, asked).items()})
    before = {role: {kind: float(values[0]) for kind, values in kinds.items()} for role, kinds in told.items()}
    whole, start = np.concatenate([np.zeros_like(masks[:1]), masks]), FRESH + (it.trained.recipe.seed if it.trained.recipe else 0)
    fresh = [_values(it, whole, asked, remedy, start + s, report) for s in range(seeds)]

    def changed(at: int) -> dict[str, Any]:
        return {
            role: {kind: {"before": was, "change": float(same[role][kind][at]) - was} for kind, was in kinds.items()}
            for role, kinds in before.items()
        }

    def over(at: int) -> dict[str, Any]:
        of = {
            role: {kind: np.array([values[role][kind][at + 1] - values[role][kind][0] for values in fresh]) for kind in KINDS}
            for role in asked
        }
        return {role: {kind: over_seeds(changes) for kind, changes in kinds.items()} for role, kinds in of.items()} if fresh else {}

    n = len(masks)
    return [{"same": changed(k), "random": changed(n + k) if remedy == "remove" else {}, "fresh": over(k)} for k in range(n)]


def _random(it: Opened, masks: np.ndarray) -> np.ndarray:
    """Return for each mask as many random rows that training saw."""
    from influence.actions._retrained import random_sets

    return np.concatenate([random_sets(it.seen, int(mask.sum()), 1, seed=k) for k, mask in enumerate(masks)])


def _values(it: Opened, sets: np.ndarray, asked: Mapping[str, Question], remedy: Remedy, seed: int | None, report: Report) -> Values:
    """Return what models retrained without (or with other labels in) each of R sets answer: by role and kind, (R,)."""
    from influence.actions._retrained import answers

    question = asked["evaluation"]
    if remedy == "relabel":
        return _in_units(it, question, _relabelled(it, sets, asked, seed, report))
    seeds = None if seed is None else [seed] * len(sets)
    told = answers(it, sets, asked, seeds, report, stage="retrain" if seed is None else "retrain, fresh seeds")
    return _in_units(it, question, {role: {kind: told[role][kind][:, 0] for kind in KINDS} for role in asked})


def _in_units(it: Opened, question: Question, told: Values) -> Values:
    """Return what was answered in the target's own unit where that is a number."""
    unit = unit_of(it.dataset, str(described(question.queries[0])["name"]))
    return {role: {kind: values * getattr(unit, kind) + unit.start for kind, values in kinds.items()} for role, kinds in told.items()}


def _relabelled(it: Opened, sets: np.ndarray, asked: Mapping[str, Question], seed: int | None, report: Report) -> Values:
    from influence import grads, training
    from influence.actions._retrained import recipe_of
    from influence.loop import threads

    train, other, recipe = it.dataset.train, other_class(it), recipe_of(it)
    recipe = recipe if seed is None else replace(recipe, seed=seed)
    found: dict[str, dict[str, list[float]]] = {role: {kind: [] for kind in KINDS} for role in asked}
    for k, mask in enumerate(sets):
        report(Event("retrain", k, len(sets), f"{len(sets)} real retrainings"))
        rows = replace(train, y=np.where(mask, other.y, train.y))
        bound = training.load(training.train(it.trained.model, rows, recipe, removed=it.trained.removed))
        with threads(recipe.threads):
            for role, question in asked.items():
                logits = grads.outputs(bound, question.examples)
                found[role]["value"].append(float(question.value(logits)[0]))
                found[role]["measured"].append(float(question.measured(logits)[0]))
    return {role: {kind: np.array(values) for kind, values in kinds.items()} for role, kinds in found.items()}
