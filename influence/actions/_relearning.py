"""How fast a model learns removed rows again (Chundawat, Tarun, Mandal and Kankanhalli, Zero-Shot Machine Unlearning, arXiv:2201.05629).

All models take the same few, small steps on the removed rows alone, by their recipe's optimiser, in the same order and with the same draws.
A model that never saw the rows learns them at a certain pace; one in whose weights something of them is left is ahead of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from influence import grads
from influence.actions import _oracles, _original
from influence.actions._verified import RELEARN
from influence.loop import Batches, Bound, Loop, threads
from influence.losses import per_example
from influence.types import Examples, Recipe

if TYPE_CHECKING:
    from influence.actions._opened import Opened
    from influence.types import Architecture

ALPHA = 0.1
"""A model has learnt the rows again when its loss is the original's, or above it by no more than this share."""
SHARE = 0.1
"""Of the recipe's step size: large steps wipe out what differs."""
HUGE = 1e30
"""Stands for a loss that is no number: such a model has learnt nothing again."""
ROWS = 512
"""Removed rows that are learnt again, the first of those on which models are compared."""


@dataclass
class Relearning(Loop):
    """A loop whose batch statistics stay: rows of one kind are no measure of what is usual."""

    def gradient(self, t: int) -> torch.Tensor:
        """Return the gradient of the batch's mean loss, (P,)."""
        for layer in self.norms:
            layer.training = False
        return super().gradient(t)


def curve(model: Architecture, recipe: Recipe, start: Bound, rows: Examples, steps: int) -> np.ndarray:
    """Return the mean loss of the rows before the first and after every step, (steps + 1,); `start` stays as it is."""
    rows = rows.take(np.arange(min(ROWS, len(rows))))
    size = min(recipe.batch_size, len(rows))
    passes = -(-steps // -(-len(rows) // size))
    way = replace(recipe, seed=0, lr=recipe.lr * SHARE, schedule="constant", warmup=0.0, batch_size=size, epochs=passes, course=None)
    with threads(recipe.threads):
        loop = Relearning.of(model, rows, way, None, ())
        loop.bound.put(start.vector())
        loop.batches = Batches(loop.batches.places[:steps], None, loop.batches.lr[:steps])
        told: list[float] = []

        def look(t: int) -> None:
            loop.bound.module.eval()
            told.append(float(per_example(recipe.loss, grads.outputs(loop.bound, rows), loop.y).mean()))
            loop.bound.module.train()

        loop.run(0, steps, look)
        look(steps)
    return np.nan_to_num(np.array(told), nan=HUGE, posinf=HUGE)


def needed(losses: np.ndarray, goal: float) -> float | None:
    """Return after how many steps a curve (steps + 1,) first is at the goal, between steps by a straight line; None if it never is."""
    there = np.flatnonzero(losses <= goal)
    if not len(there):
        return None
    at = int(there[0])
    return 0.0 if at == 0 else at - float((goal - losses[at]) / (losses[at - 1] - losses[at]))


@dataclass(frozen=True)
class Relearn:
    """Mean of a curve of learning the removed rows again, as `RELEARNT` has it."""

    side: ClassVar[str] = "low"
    label: ClassVar[str] = RELEARN
    unit: ClassVar[str] = ""


def told(it: Opened, curves: np.ndarray) -> dict[str, Any]:
    """Return the curves (1 + K, steps + 1) beside the original's, and the Anamnesis index: steps needed, judged over oracles.

    There is no index where oracles are at the original's loss before they learn (0 steps), or this model or most oracles never are (None).
    """
    was, rows = it.origin, _oracles.parts(it)["forget"]
    own = None
    if _original.same_target(it, was):
        train = was.dataset.train
        own = curve(was.trained.model, _oracles.recipe_of(it), was.bound, train.take(train.mask(rows.ids)), _oracles.STEPS)
    goal = None if own is None else (1 + ALPHA) * float(own[0])
    steps = [None if goal is None else needed(each, goal) for each in curves]
    typical = float(np.median([_oracles.STEPS if s is None else s for s in steps[1:]]))
    usual = typical if goal is not None and typical < _oracles.STEPS else None
    low, middle, high = np.quantile(curves[1:], [0.025, 0.5, 0.975], axis=0)
    return {
        "original": None if own is None else own.tolist(),
        **{name: line.tolist() for name, line in (("judged", curves[0]), ("low", low), ("middle", middle), ("high", high))},
        "goal": goal,
        "needed": {"judged": steps[0], "oracles": usual},
        "index": steps[0] / usual if usual and steps[0] is not None else None,
    }
