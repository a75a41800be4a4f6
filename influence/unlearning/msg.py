"""Masked small gradients (MSG): weights that do not tell the retained rows from the removed ones are drawn anew.

The method in second place of the unlearning challenge of NeurIPS 2023, as Triantafillou et al. (Are We Making Progress in Unlearning?
arXiv:2406.09073) and Cadet et al. (Deep Unlearn, arXiv:2410.01276) tell it for convolutions; here for linear layers as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from influence.errors import BadInput
from influence.loop import Bound, Loop, begun
from influence.registry import option, unlearning
from influence.training import load
from influence.types import Trained
from influence.unlearning._descent import Descent, Request
from influence.unlearning._guard import Guarded, Look, guarded, sample
from influence.unlearning._masked import Masked, first, masked, slope

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@unlearning
@dataclass(frozen=True)
class MSG(Guarded, Descent):
    """Draws weights anew that matter alike to retained and removed rows, and goes on training on the retained rows.

    Of the weights of linear layers and convolutions those are drawn anew on which the loss of retained rows less that of removed rows
    depends least. The others take a part of each step. Weights at which the retained rows suffer are not kept. Approximate.
    """

    share: float = option(0.3, "Share of the weights that are drawn anew", min=0.0, max=1.0)
    slow: float = option(0.1, "Part of each step that the other weights take", min=0.0, max=1.0)

    reservation: ClassVar[str] = "A small model loses more by it than it forgets: fine-tuning came nearer to retraining."
    cost: ClassVar[str] = "About a third of a training: a fifth for the passes, and the step size and the looks."

    def unavailable(self, trained: Trained) -> str:
        """Return why the model's layers are not known, or nothing."""
        brought = getattr(trained.model, "brought", False)
        return (
            "Of a model that came as a graph it is not known which layers are linear. Choose finetune or neggrad_plus." if brought else ""
        )

    def laid_out(self, asked: Request) -> tuple[Loop, Look]:
        """Return training on the retained rows from weights of which some are drawn anew.

        Raises:
            BadInput: the model's layers are not known, or none is linear or a convolution.
        """
        if reason := self.unavailable(asked.trained):
            raise BadInput(reason)
        bound, recipe = load(asked.trained), asked.recipe
        beside = sample(asked.retained, len(asked.forget), recipe.seed, "beside")
        drawn = smallest(bound, slope(bound, recipe, beside) - slope(bound, recipe, asked.forget), self.share)
        loop = masked(Masked, asked, asked.retained, torch.where(drawn, 1.0, torch.full_like(bound.flat, self.slow)))
        loop.begin = torch.where(drawn, begun(asked.trained.model, recipe).flat, loop.bound.flat)
        return loop, guarded(loop, self.guarding(loop.bound, recipe, asked.retained))


def smallest(bound: Bound, g: torch.Tensor, share: float) -> torch.Tensor:
    """Return which weights of linear layers and convolutions have the smallest numbers in g (P,): this share of them, (P,) bool.

    Raises:
        BadInput: the model has none.
    """
    own = {id(layer.weight) for layer in bound.module.modules() if isinstance(layer, KINDS)}
    at = torch.cat([torch.full((p.numel(),), id(p) in own, device=g.device) for p in bound.params]).nonzero()[:, 0]
    if not len(at):
        raise BadInput("MSG draws weights of linear layers and convolutions anew; this model has none. Choose finetune or neggrad_plus.")
    out = torch.zeros(len(g), dtype=torch.bool, device=g.device)
    out[at] = first(g[at].abs().argsort(stable=True), share)
    return out
