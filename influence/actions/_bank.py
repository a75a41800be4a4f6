"""Banks of really retrained models: made once per run, and asked by every question and every method. No PyTorch at import.

A shelf holds models that were each trained without one of the random sets that `random_sets` draws by its seed: the first of them, as many
as were asked for so far, so that more can be added. Of each model is kept what is smaller: its weights, or its outputs on the evaluation
rows, of which all questions are asked. The note `retrained/<run>/<training seed>/<rows left out>/<seed of the sets>` names the objects; it
grows with every few models, so that a cancelled bank keeps what it has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence.actions import _pace
from influence.store import Project
from influence.types import Event, Question, Report

if TYPE_CHECKING:
    import torch

    from influence.actions._opened import Opened


@dataclass(frozen=True)
class Shelf:
    """Models trained without `size` rows each; `start`: their training seed, None for the run's own."""

    size: int
    sets: int = 0
    start: int | None = None

    def key(self, run: str) -> str:
        """Return the name of its note."""
        return f"retrained/{run}/{'same' if self.start is None else self.start}/{self.size}/{self.sets}"


def held(project: Project, run: str, shelf: Shelf) -> dict[str, Any]:
    """Return what a shelf holds: `kept` ("weights" or "outputs"), `parts` (digest of an array and its number of models), `n`, `bytes`."""
    found = project.noted(shelf.key(run)) or {"kept": "", "parts": []}
    whole = []
    for digest, n in found["parts"]:
        if project.objects.find(digest) is None:
            break
        whole.append([digest, n])
    size = sum(path.stat().st_size for digest, _ in whole if (path := project.objects.find(digest)))
    return {"kept": found["kept"], "parts": whole, "n": sum(n for _, n in whole), "bytes": size}


def grow(it: Opened, shelf: Shelf, count: int, report: Report, done: int = 0, total: int = 0) -> dict[str, Any]:
    """See that a shelf holds `count` models or more, and return what it holds; progress goes from `done` of `total`.

    Raises:
        BadInput: the model cannot be trained again, or a retraining diverged.
    """
    from influence.actions._retrained import random_sets

    first = held(it.project, it.run.id, shelf)["n"]
    left_out = random_sets(it.seen, shelf.size, count, shelf.sets)

    def heard(models: float) -> None:
        report(Event("retrain", int(done + models - first), total, f"{total} real retrainings"))

    while (there := held(it.project, it.run.id, shelf))["n"] < count:
        # A model's place on the shelf says which set it does without: two processes that added to it at the same time would mix them up.
        with it.workspace.alone("retrained", shelf.key(it.run.id)):
            _train(it, shelf, left_out, heard)
    return there


def _train(it: Opened, shelf: Shelf, left_out: np.ndarray, heard: Callable[[float], None]) -> None:
    """Train the models of the next sets, as many as go side by side, and add them; none if another process has done so meanwhile."""
    from influence.actions._retrained import recipe_of
    from influence.training import together, train_many

    at, recipe = held(it.project, it.run.id, shelf)["n"], recipe_of(it)
    part = left_out[at : at + together(len(it.bound.flat))]
    if not len(part):
        return

    def step(event: Event) -> None:
        heard(at + len(part) * event.done / max(1, event.total))

    seeds, began = None if shelf.start is None else [shelf.start] * len(part), time.perf_counter()
    thetas = train_many(it.trained.model, it.dataset.train, recipe, 1.0 - part.astype(np.float32), seeds, it.trained.removed, step)
    _add(it, shelf, thetas)
    _pace.noted(it.project, it.run, len(part), time.perf_counter() - began)


def _add(it: Opened, shelf: Shelf, thetas: torch.Tensor) -> None:
    there, n = held(it.project, it.run.id, shelf), len(thetas)
    kind = there["kept"] if there["parts"] else smaller(thetas.shape[1], len(it.dataset.evaluation) * it.dataset.train.outputs)
    array = thetas.numpy() if kind == "weights" else np.stack([_outputs(it, theta).numpy() for theta in thetas])
    parts = [*there["parts"], [it.project.put_array(array), n]]
    it.project.note(shelf.key(it.run.id), {"kept": kind, "parts": parts})


def smaller(weights: int, outputs: int) -> str:
    """Return which of the two is kept, from how many numbers they are per model."""
    return "weights" if weights <= outputs else "outputs"


def _outputs(it: Opened, theta: torch.Tensor) -> torch.Tensor:
    """Return a retrained model's outputs on the evaluation rows, (M, C)."""
    from influence import grads
    from influence.actions._retrained import recipe_of
    from influence.loop import threads
    from influence.training import bound_at

    recipe = recipe_of(it)
    with threads(recipe.threads):
        return grads.outputs(bound_at(it.trained.model, recipe, theta), it.dataset.evaluation)


def _models(it: Opened, there: dict[str, Any], count: int) -> Iterator[torch.Tensor]:
    """Yield the outputs (M, C) of the first `count` models of a shelf."""
    import torch

    rows = (row for digest, _ in there["parts"] for row in it.project.array(digest))
    for row, _ in zip(rows, range(count), strict=False):
        held_row = torch.from_numpy(np.array(row))
        yield _outputs(it, held_row) if there["kept"] == "weights" else held_row


def answers(it: Opened, there: dict[str, Any], count: int, question: Question) -> dict[str, np.ndarray]:
    """Return what the first `count` models of a shelf say: {"value": (count, Q), "measured": (count, Q)}."""
    found = [(question.value(logits).numpy(), question.measured(logits).numpy()) for logits in _models(it, there, count)]
    return {"value": np.stack([soft for soft, _ in found]), "measured": np.stack([hard for _, hard in found])}


def missing(project: Project, run: str, wanted: Sequence[tuple[Shelf, int]]) -> int:
    """Return how many models still have to be trained so that each shelf holds as many as wanted."""
    return sum(max(0, count - held(project, run, shelf)["n"]) for shelf, count in wanted)
