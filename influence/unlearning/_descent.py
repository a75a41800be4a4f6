"""Training that goes on from a model's weights: what the approximate methods share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch

from influence import grads, training
from influence.errors import BadInput
from influence.keyed import keys
from influence.loop import Batches, Bound, Loop, tensors
from influence.losses import per_example
from influence.optim import step_sizes
from influence.types import Event, Examples, Recipe, Report, Selection, Trained
from influence.unlearning._rows import left

L = TypeVar("L", bound=Loop)

OFTEN = 256  # steps after which live curves move in any case: a fraction of a second on small models
LOOKS = 20  # times that the monitor is asked on the way
SEEN = 512  # retained rows on which the retained loss is watched: the same rows each time, so that a small rise shows
SHRINK, TRIES = 0.3, 6  # of the search for a step size
SLACK = 0.01  # rise of the retained loss that the search lets pass as noise


def shortened(trained: Trained, train: Examples, epochs: int, batch_size: int, seed: int) -> Recipe:
    """Return the model's recipe with another length and steps that fall to zero; 0: a fifth of its epochs, its own batch size.

    A model without a recipe gets the default one with the loss that fits the target.
    """
    base = trained.recipe or Recipe(loss="cross_entropy" if train.classes else "squared")
    length = epochs or max(1, round(base.epochs / 5))
    return replace(base, epochs=length, batch_size=batch_size or base.batch_size, seed=seed, schedule="linear", warmup=0.0)


def sample(examples: Examples, n: int, seed: int, purpose: str) -> Examples:
    """Return at most n rows, drawn by key, in the order they stand."""
    if len(examples) <= n:
        return examples
    return examples.take(np.sort(np.argsort(keys(seed, purpose, examples.ids), kind="stable")[:n]))


def losses(bound: Bound, recipe: Recipe, examples: Examples) -> torch.Tensor:
    """Return the loss of each example in evaluation mode, (N,)."""
    return per_example(recipe.loss, grads.outputs(bound, examples), tensors(examples, recipe.dtype)[1])


class Guard:
    """Says whether the retained rows still fare well, on a keyed sample of them; no other data is looked at.

    The loss may rise over its start by `slack` times what training gained over the best constant guess: a share, so that it means the same
    for every loss and for models that start near zero.
    """

    def __init__(self, bound: Bound, recipe: Recipe, retained: Examples, slack: float) -> None:
        self.recipe, self.rows = recipe, sample(retained, SEEN, recipe.seed, "guard")
        start, guess = self.loss(bound), constant_loss(recipe, self.rows)
        self.most = start + slack * max(guess - start, 0.0)

    def loss(self, bound: Bound) -> float:
        """Mean loss of the sample."""
        return float(losses(bound, self.recipe, self.rows).mean())

    def holds(self, bound: Bound) -> bool:
        """Whether the loss is finite and within its limit."""
        return self.loss(bound) <= self.most


def constant_loss(recipe: Recipe, examples: Examples) -> float:
    """Return the loss of saying the class frequencies, or the mean target, of every row."""
    y = tensors(examples, recipe.dtype)[1]
    if examples.classes:
        share = torch.bincount(y, minlength=len(examples.classes)) / len(y)
        return float(-(share * share.clamp(min=1e-12).log()).sum())
    return float(per_example(recipe.loss, y.mean().expand(len(y), 1), y).mean())


def step_size(trained: Trained, retained: Examples, recipe: Recipe, stage: str, report: Report) -> float:
    """Return the largest of the recipe's step size times 1, 0.3, 0.09, … that does not raise the retained loss.

    Each is tried on the first tenth of the steps, from the model's weights.
    """
    lr = recipe.lr
    for _ in range(TRIES):
        loop = resumed(Loop, trained, retained, replace(recipe, lr=lr))
        total, guard = len(loop.batches), Guard(loop.bound, recipe, retained, SLACK)
        steps = min(total, max(5, total // 10))
        loop.batches = Batches(loop.batches.places[:steps], None, step_sizes(loop.recipe, steps))
        loop.bound.module.train()
        loop.run(0, steps, lambda t, total=total: report(Event(stage, 0, total, note="Looking for a step size")))  # type: ignore[misc]
        if guard.holds(loop.bound):
            break
        lr *= SHRINK
    return lr


def resumed(kind: type[L], trained: Trained, examples: Examples, recipe: Recipe) -> L:
    """Return a loop over `examples` that starts at the model's weights, with empty optimiser memory."""
    loop = kind.of(trained.model, examples, recipe, None, ())
    assert isinstance(loop, kind)
    loop.bound.load(trained.final.load())
    return loop


def descend(
    loop: Loop,
    stage: str,
    monitor: Callable[[Bound], dict[str, float]] | None,
    report: Report,
    look: Callable[[bool], None] = lambda last: None,
) -> None:
    """Take all steps of the loop in place; `look(last)` comes before each evaluation step and, with True, at the end.

    Raises:
        BadInput: the weights do not stay finite.
    """
    steps, module = len(loop.batches), loop.bound.module
    shown = max(1, steps // LOOKS)
    often = min(shown, OFTEN)

    def before(t: int) -> None:
        if t % shown == 0:
            look(False)
        if t % shown == 0 or t % often == 0:
            report(Event(stage, t, steps, metrics=monitor(loop.bound) if monitor else {}))
            module.train()
        elif t % 8 == 0:
            report(Event(stage, t, steps))

    module.train()
    loop.run(0, steps, before)
    look(True)
    if not torch.isfinite(loop.bound.flat).all():
        raise BadInput(
            f"The weights are not finite after {steps} steps at step size {loop.recipe.lr:g}. Lower lr, or set it to 0 to search for it."
        )
    report(Event(stage, steps, steps, metrics=monitor(loop.bound) if monitor else {}))


def approximate(trained: Trained, selection: Selection, loop: Loop) -> Trained:
    """Return the loop's weights as an unlearned model, claim L1.

    Only the last state is kept: earlier checkpoints and the trajectory saw the removed rows. The recipe stays, for its loss, its number
    format and for training again without the rows.
    """
    mean_step = sum(loop.batches.lr) / len(loop.batches)
    final = training.checkpoint(loop.bound.state(), len(loop.batches), mean_step)
    return Trained(trained.model, (final,), trained.recipe, "L1", None, (*trained.removed, *left(trained, selection)))
