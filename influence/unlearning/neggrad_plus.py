"""NegGrad+ (Kurmanji, Triantafillou, Hayes, Triantafillou: Towards Unbounded Machine Unlearning, arXiv:2302.09880), with two brakes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch

from influence.keyed import order
from influence.loop import Batches, Loop
from influence.optim import step_sizes
from influence.registry import option, unlearning
from influence.types import as_places
from influence.unlearning._descent import Descent, Request, joined, resumed
from influence.unlearning._guard import Guarded, Look, guarded
from influence.unlearning._neighbours import expected_losses
from influence.unlearning._unseen import took_part


@unlearning
@dataclass(frozen=True)
class NegGradPlus(Guarded, Descent):
    """Descends on the retained rows and climbs on the removed ones: alpha · loss(retained) - (1 - alpha) · loss(removed) in every step.

    Climbing has no end of its own and soon ruins a model, so it pauses where either brake holds, and plain fine-tuning goes on: when the
    removed rows of the batch have the loss that their nearest retained neighbours let one expect of rows never seen; and when the loss of
    the retained rows has given back more than `tolerance` of what training gained. If it still has at the end, the last weights at which
    it had not are taken. Only training rows are looked at. Approximate.
    """

    alpha: float = option(0.9, "Weight of the retained rows; the removed ones have the rest", min=0.5, max=1.0)
    tolerance: float = option(
        0.02,
        "Share of what training gained on the retained rows at whose loss climbing pauses",
        min=0.0,
        max=1.0,
        advanced=True,
    )

    reservation: ClassVar[str] = (
        "It brings rows that mattered near to retraining on average, not one by one: on digits KLOM is 7 to 10 where retraining has 2."
    )
    cost: ClassVar[str] = "About half a training: a fifth for the retained rows, as much for the removed ones, and the brakes."

    def laid_out(self, asked: Request) -> tuple[Loop, Look]:
        """Return the loop over pairs, and the brakes."""
        loop = _pairs(asked, self.alpha)

        def brake(braked: bool) -> None:
            loop.braked = braked

        return loop, guarded(loop, self.guarding(loop.bound, asked.recipe, asked.retained), brake)

    def told(self, loop: Loop) -> str:
        """Return in how many steps it climbed."""
        assert isinstance(loop, Pairs)
        return took_part(loop.climbed, len(loop.split), "It climbed")


@dataclass
class Pairs(Loop):
    """A loop whose batches are retained rows followed by removed rows, the latter with a minus sign and no part in running statistics.

    `split`: how many of each batch are retained. `target`: the loss at which each example's climb ends. `braked`: the retained rows suffer.
    `climbed`: steps in which it climbed.
    """

    alpha: float = 1.0
    split: list[int] = field(default_factory=list)
    target: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    braked: bool = False
    climbed: int = 0

    def remembered(self, t: int) -> torch.Tensor:
        """Return which rows of the batch are retained: of the removed ones the model keeps no trace in its running statistics."""
        return torch.arange(len(self.batches.places[t]), device=self.bound.device) < self.split[t]

    def losses(self, t: int) -> torch.Tensor:
        """Return the batch's losses, weighted so that their mean is the objective, (|B_t|,)."""
        each, at = super().losses(t), self.split[t]
        kept, gone = each[:at], each[at:]
        climbs = not self.braked and bool(gone.detach().mean() < self.target[self.batches.places[t][at:]].mean())
        self.climbed += climbs
        down, up = self.alpha / len(kept), (1 - self.alpha) / len(gone) * climbs
        return torch.cat([kept * down, gone * -up]) * len(each)


def _pairs(asked: Request, alpha: float) -> Pairs:
    """Lay out the steps: each pass over the retained rows, beside the removed rows over and over, all in keyed order."""
    trained, train, retained, forget, recipe = asked
    loop = resumed(Pairs, trained, train, recipe)
    kept, gone = (torch.from_numpy(as_places(rows.ids, train.ids)) for rows in (retained, forget))
    cuts = [part for epoch in range(recipe.epochs) for part in kept[order(recipe.seed, epoch, retained.ids)].split(recipe.batch_size)]
    parts = joined(loop, cuts)
    sizes = [min(len(part), len(gone)) for part in parts]
    rounds = -(-sum(sizes) // len(gone))
    stream = torch.cat([gone[order(recipe.seed, turn, forget.ids)] for turn in range(rounds)])[: sum(sizes)].split(sizes)
    loop.batches = Batches([torch.cat(pair) for pair in zip(parts, stream, strict=True)], None, step_sizes(recipe, len(parts)))
    loop.alpha, loop.split = alpha, [len(part) for part in parts]
    by_kind = expected_losses(loop.bound, recipe, retained, forget)
    loop.target = by_kind[torch.from_numpy(np.array(train.y))] if train.classes else by_kind.expand(len(train))
    return loop
