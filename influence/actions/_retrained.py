"""Really retrained models, many side by side, and what questions say of each: the truth behind previews and fidelity."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from influence import grads
from influence.actions import _pace
from influence.actions._opened import Opened
from influence.errors import BadInput
from influence.loop import threads
from influence.repeatable import no_recipe
from influence.training import bound_at, train_many
from influence.types import Event, Question, Recipe, Report, ignore

SIDE_BY_SIDE = 16


def answers(
    it: Opened,
    left_out: np.ndarray,
    questions: Mapping[str, Question],
    seeds: Sequence[int] | None = None,
    report: Report = ignore,
    stage: str = "retrain",
) -> dict[str, dict[str, np.ndarray]]:
    """Retrain without each of R sets of rows and ask every question of every model.

    `left_out`: (R, N) bool. `seeds`: R seeds (truth *fresh*) or None (truth *same*). Returns {"value": (R, Q), "measured": (R, Q)} by name.

    Raises:
        BadInput: the model has no recipe, so that it cannot be trained again.
    """
    recipe = recipe_of(it)
    found: dict[str, dict[str, list[np.ndarray]]] = {name: {"value": [], "measured": []} for name in questions}
    done = 0
    for start in range(0, len(left_out), SIDE_BY_SIDE):
        part = slice(start, start + SIDE_BY_SIDE)
        own = None if seeds is None else list(seeds[part])
        weights = 1.0 - left_out[part].astype(np.float32)

        def inner(event: Event, done: int = done, size: int = len(weights)) -> None:
            report(Event(stage, int(done + size * event.done / event.total), len(left_out), note=f"{len(left_out)} real retrainings"))

        began = time.perf_counter()
        thetas = train_many(it.trained.model, it.dataset.train, recipe, weights, own, it.trained.removed, inner)
        _pace.noted(it.project, it.run, len(weights), time.perf_counter() - began)
        for theta in thetas:
            _ask(it, theta, questions, found)
        done += len(weights)
    report(Event(stage, len(left_out), len(left_out)))
    return {name: {kind: np.stack(values) for kind, values in kinds.items()} for name, kinds in found.items()}


def recipe_of(it: Opened) -> Recipe:
    """Return the recipe by which the model can be trained again.

    Raises:
        BadInput: there is none, or the weights are not its result.
    """
    reason = no_recipe(it.trained, "Retraining", "a method that needs no retraining")
    if reason or it.trained.recipe is None:
        raise BadInput(reason)
    return it.trained.recipe


def _ask(it: Opened, theta: torch.Tensor, questions: Mapping[str, Question], found: dict[str, dict[str, list[np.ndarray]]]) -> None:
    recipe = it.trained.recipe
    assert recipe is not None
    bound = bound_at(it.trained.model, recipe, theta)
    with threads(recipe.threads):
        for name, question in questions.items():
            logits = grads.outputs(bound, question.examples)
            found[name]["value"].append(question.value(logits).numpy())
            found[name]["measured"].append(question.measured(logits).numpy())


def now(it: Opened, questions: Mapping[str, Question]) -> dict[str, dict[str, np.ndarray]]:
    """Return what the questions say of the model as it is: {"value": (Q,), "measured": (Q,)} per name."""
    found: dict[str, Any] = {}
    for name, question in questions.items():
        with threads(it.trained.recipe.threads if it.trained.recipe else 1):
            logits = grads.outputs(it.bound, question.examples)
        found[name] = {"value": question.value(logits).numpy(), "measured": question.measured(logits).numpy()}
    return found


def random_sets(seen: np.ndarray, size: int, count: int, seed: int) -> np.ndarray:
    """Return `count` random sets of `size` of the rows that training saw (N,), (count, N) bool."""
    rng = np.random.default_rng(seed)
    sets = np.zeros((count, len(seen)), dtype=bool)
    for row in sets:
        row[rng.choice(np.flatnonzero(seen), size, replace=False)] = True
    return sets
