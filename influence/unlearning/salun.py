"""Saliency unlearning (SalUn): wrong labels for the removed rows, learnt by the weights alone that matter most to them.

Fan, Liu, Zhang, Wong, Wei and Liu, SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency, arXiv:2310.12508, section 4,
equations 3 (the mask), 4 (weights outside it stay) and 5 (random labels beside the retained rows). When they are forgotten
is not said there.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch

from influence.keyed import uniform
from influence.loop import Loop
from influence.registry import option, unlearning
from influence.training import load
from influence.types import Examples
from influence.unlearning._descent import Descent, Request, passes
from influence.unlearning._guard import Guarded, Look, guarded
from influence.unlearning._masked import Masked, first, masked, slope
from influence.unlearning._response import by_id
from influence.unlearning._unseen import like_unseen, took_part


@unlearning
@dataclass(frozen=True)
class SalUn(Guarded, Descent):
    """Gives the removed rows random other labels and goes on training on them beside the retained rows.

    Only the weights move on which the loss of the removed rows depends most; the others stay as they are. A row with a numeric target gets
    the target of a random retained row. The removed rows take no part while they have, with their own labels, the loss that their nearest
    retained neighbours let one expect of rows never seen. Weights at which the retained rows suffer are not kept. Approximate.
    """

    share: float = option(0.5, "Share of the weights that move", min=0.0, max=1.0)

    reservation: ClassVar[str] = (
        "Of rows that mattered it leaves 47 to 88 % of the way to retraining undone on digits, and teaches wrong labels in their place."
    )
    cost: ClassVar[str] = "About a third of a training: a fifth for the passes, and the step size and the looks."

    def steps(self, asked: Request) -> int:
        """Return how many steps the passes over all rows take."""
        return passes(len(asked.retained) + len(asked.forget), asked.recipe)

    def laid_out(self, asked: Request) -> tuple[Loop, Look]:
        """Return training on the rows with their new labels, masked."""
        saliency = slope(load(asked.trained), asked.recipe, asked.forget).abs()
        moving = first(saliency.argsort(descending=True, stable=True), self.share)
        rows = asked.train.take(asked.train.mask(np.concatenate([asked.retained.ids, asked.forget.ids])))
        loop = masked(Relabelled, asked, relabelled(asked, rows), moving)
        loop.gone = torch.from_numpy(rows.mask(asked.forget.ids))
        unseen, kept = like_unseen(loop.bound, asked), guarded(loop, self.guarding(loop.bound, asked.recipe, asked.retained))

        def look(last: bool) -> None:
            loop.paused = unseen() >= 0
            kept(last)

        return loop, look

    def told(self, loop: Loop) -> str:
        """Return in how many steps the removed rows took part."""
        assert isinstance(loop, Relabelled)
        return took_part(loop.taught, len(loop.batches), "It taught other labels")


@dataclass
class Relabelled(Masked):
    """A loop over rows of which some are to be forgotten (`gone`, (N,)), with no part in running statistics; while `paused` in nothing.

    `taught`: steps in which they took part.
    """

    gone: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    paused: bool = False
    taught: int = 0

    def remembered(self, t: int) -> torch.Tensor:
        """Return which rows of the batch stay: of those that go the model keeps no trace in its running statistics."""
        return ~self.gone[self.batches.places[t]].to(self.bound.device)

    def losses(self, t: int) -> torch.Tensor:
        """Return the losses of the batch's examples, 0 for those that take no part, (|B_t|,)."""
        each = super().losses(t)
        self.taught += not self.paused and bool(self.gone[self.batches.places[t]].any())
        return each * ~self.gone[self.batches.places[t]].to(each.device) if self.paused else each


def relabelled(asked: Request, rows: Examples) -> Examples:
    """Return the rows, those to be removed with another label each that retained rows have, drawn by id and seed."""
    _, train, retained, forget, recipe = asked
    y, drawn = rows.y.copy(), uniform(recipe.seed, "other label", forget.ids)
    if train.classes:
        kinds = np.unique(retained.y)  # a class that goes whole, or went earlier, is not to be taught
        own, stays = np.searchsorted(kinds, forget.y), np.isin(forget.y, kinds)
        y[rows.mask(forget.ids)] = kinds[(own + stays + (drawn * (len(kinds) - stays)).astype(np.int64)) % len(kinds)]
    else:
        y[rows.mask(forget.ids)] = by_id(retained).y[(drawn * len(retained)).astype(np.int64)]
    return replace(rows, y=y)
