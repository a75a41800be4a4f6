"""NegGrad+ (Kurmanji, Triantafillou, Hayes, Triantafillou: Towards Unbounded Machine Unlearning, arXiv:2302.09880), with two brakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch

from influence.keyed import order
from influence.loop import Batches, Bound, Loop, threads
from influence.optim import step_sizes
from influence.registry import option, unlearning
from influence.types import Examples, Recipe, Report, Selection, Trained, as_places, ignore
from influence.unlearning._descent import Guard, approximate, descend, resumed, shortened, step_size
from influence.unlearning._neighbours import expected_losses
from influence.unlearning._rows import parted


@unlearning
@dataclass(frozen=True)
class NegGradPlus:
    """Descends on the retained rows and climbs on the removed ones: alpha · loss(retained) - (1 - alpha) · loss(removed) in every step.

    Climbing has no end of its own and soon ruins a model, so it pauses where either brake holds, and plain fine-tuning goes on: when the
    removed rows of the batch have the loss that their nearest retained neighbours let one expect of rows never seen; and when the loss of
    the retained rows has given back more than `tolerance` of what training gained. If it still has at the end, the last weights at which
    it had not are taken. Only training rows are looked at. Approximate.
    """

    alpha: float = option(0.9, "Weight of the retained rows; the removed ones have the rest", min=0.5, max=1.0)
    epochs: int = option(0, "Passes over the retained rows; 0: a fifth of the training's", min=0, max=1000)
    lr: float = option(0.0, "Step size at the start; 0: searched for on the retained rows", min=0.0, max=10.0)
    tolerance: float = option(
        0.02,
        "Share of what training gained on the retained rows at whose loss climbing pauses",
        min=0.0,
        max=1.0,
        advanced=True,
    )
    batch_size: int = option(0, "Retained rows per step; 0: the training's", min=0, max=65536, advanced=True)
    seed: int = option(0, "Order of the rows", min=0, max=2**31 - 1, advanced=True)

    cost: ClassVar[str] = "About half a training: a fifth for the retained rows, as much for the removed ones, and the brakes."
    needs: ClassVar[str] = "The retained and the removed rows; without a recipe the usual loss and step size are taken."

    def unavailable(self, trained: Trained) -> str:
        """Return nothing: every model can be trained further."""
        return ""

    def __call__(
        self,
        trained: Trained,
        train: Examples,
        selection: Selection,
        monitor: Callable[[Bound], dict[str, float]] | None = None,
        report: Report = ignore,
    ) -> Trained:
        """Return the unlearned model, claim L1.

        Raises:
            BadInput: the selection cannot be removed, or the weights do not stay finite.
        """
        retained, forget = parted(trained, train, selection)
        recipe = shortened(trained, train, self.epochs, self.batch_size, self.seed)
        with threads(recipe.threads):
            recipe = replace(recipe, lr=self.lr or step_size(trained, retained, recipe, "neggrad_plus", report))
            loop = _pairs(trained, train, retained, forget, recipe, self.alpha)
            descend(loop, "neggrad_plus", monitor, report, _brake(loop, Guard(loop.bound, recipe, retained, self.tolerance)))
        return approximate(trained, selection, loop)


@dataclass
class Pairs(Loop):
    """A loop whose batches are retained rows followed by removed rows, the latter with a minus sign.

    `split`: how many of each batch are retained. `target`: the loss at which each example's climb ends. `braked`: the retained rows suffer.
    """

    alpha: float = 1.0
    split: list[int] = field(default_factory=list)
    target: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    braked: bool = False

    def losses(self, t: int) -> torch.Tensor:
        """Return the batch's losses, weighted so that their mean is the objective, (|B_t|,)."""
        each, at = super().losses(t), self.split[t]
        kept, gone = each[:at], each[at:]
        climbs = not self.braked and bool(gone.detach().mean() < self.target[self.batches.places[t][at:]].mean())
        down, up = self.alpha / len(kept), (1 - self.alpha) / len(gone) * climbs
        return torch.cat([kept * down, gone * -up]) * len(each)


def _brake(loop: Pairs, guard: Guard) -> Callable[[bool], None]:
    """Return what is done at every look: brake or release, and at the end go back to the last weights that the guard let pass."""
    safe = loop.bound.state()

    def look(last: bool) -> None:
        nonlocal safe
        loop.braked = not guard.holds(loop.bound)
        if not loop.braked:
            safe = loop.bound.state()
        elif last:
            loop.bound.load(safe)

    return look


def _pairs(trained: Trained, train: Examples, retained: Examples, forget: Examples, recipe: Recipe, alpha: float) -> Pairs:
    """Lay out the steps: each pass over the retained rows, beside the removed rows over and over, all in keyed order."""
    loop = resumed(Pairs, trained, train, recipe)
    kept, gone = (torch.from_numpy(as_places(rows.ids, train.ids)) for rows in (retained, forget))
    parts = [part for epoch in range(recipe.epochs) for part in kept[order(recipe.seed, epoch, retained.ids)].split(recipe.batch_size)]
    sizes = [min(len(part), len(gone)) for part in parts]
    rounds = -(-sum(sizes) // len(gone))
    stream = torch.cat([gone[order(recipe.seed, turn, forget.ids)] for turn in range(rounds)])[: sum(sizes)].split(sizes)
    loop.batches = Batches([torch.cat(pair) for pair in zip(parts, stream, strict=True)], None, step_sizes(recipe, len(parts)))
    loop.alpha, loop.split = alpha, [len(part) for part in parts]
    by_kind = expected_losses(loop.bound, recipe, retained, forget)
    loop.target = by_kind[torch.from_numpy(np.array(train.y))] if train.classes else by_kind.expand(len(train))
    return loop
