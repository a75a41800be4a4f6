"""Training in which each weight takes its own share of every step; a weight whose share is 0 stays as it is, to the bit.

A gradient of zero does not hold a weight: weight decay and momentum go on moving it. So gradients are masked before they are clipped, and
after the step the weights are put back. A share between is one of the step, not of the gradient: the rules of Adam do not see how large
gradients are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch

from influence.curvature import Objective, gradient
from influence.grads import Rows
from influence.loop import Bound, Loop, tensors
from influence.optim import Optimizer, Slots
from influence.types import Examples, Recipe
from influence.unlearning._descent import Request, resumed
from influence.unlearning._response import by_id

M = TypeVar("M", bound="Masked")


class Shared(Optimizer):
    """An update rule of whose steps each number takes a share, (P,): 0 nothing, 1 all."""

    def __init__(self, rule: Optimizer, share: torch.Tensor) -> None:
        super().__init__(rule.recipe)
        self.rule, self.share = rule, share

    def step(self, theta: torch.Tensor, slots: Slots, g: torch.Tensor, lr: float, t: int) -> None:
        """Take step t in place."""
        before = theta.clone()
        self.rule.step(theta, slots, g * (self.share > 0), lr, t)
        theta.copy_(torch.where(self.share > 0, before.lerp(theta, self.share), before))

    def _step(self, theta: torch.Tensor, slots: Slots, g: torch.Tensor, lr: float, t: int) -> None:
        raise NotImplementedError

    def _back(self, at: Slots, state: Slots, g: torch.Tensor, lr: float, t: int) -> torch.Tensor:
        raise NotImplementedError


@dataclass
class Masked(Loop):
    """A loop that may begin at other weights, `begin` (P,): they are put in place at the first step, after what is seen before it."""

    begin: torch.Tensor | None = None

    def gradient(self, t: int) -> torch.Tensor:
        """Return the gradient of batch t's loss, (P,)."""
        if t == 0 and self.begin is not None:
            self.bound.flat.copy_(self.begin)
        return super().gradient(t)


def masked(kind: type[M], asked: Request, examples: Examples, share: torch.Tensor) -> M:
    """Return a loop over `examples` from the model's weights, of whose steps each weight takes its share, (P,)."""
    loop = resumed(kind, asked.trained, examples, asked.recipe)
    loop.rule = Shared(loop.rule, share.to(loop.bound.flat))
    return loop


def slope(bound: Bound, recipe: Recipe, examples: Examples) -> torch.Tensor:
    """Return the gradient of the rows' mean loss in evaluation mode, (P,): the same in whatever order the rows stand."""
    rows = by_id(examples)
    x, y = tensors(rows, bound.dtype)
    return gradient(Objective(bound, Rows(x, y, recipe.loss), rows.ids, len(rows), 0.0, "all"))


def first(order: torch.Tensor, share: float) -> torch.Tensor:
    """Return which numbers are among the first `share` of an order of all of them, (P,) bool."""
    out = torch.zeros(len(order), dtype=torch.bool, device=order.device)
    out[order[: round(share * len(order))]] = True
    return out
