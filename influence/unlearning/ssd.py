"""Selective synaptic dampening (SSD): weights that matter far more to the removed rows than to all rows are made smaller.

Foster, Schoepf and Brintrup, Fast Machine Unlearning Without Retraining Through Selective Synaptic Dampening, arXiv:2308.07707, the
proposed method: the importance of a weight is its mean squared gradient, here of single rows, which no batch changes; and two rules, which
weights are dampened (importance to the removed rows above alpha times that to all) and by how much (min(lambda times the ratio, 1)).
Without labels: the same, Loss-Free Machine Unlearning, arXiv:2402.19308, with the mean size of the gradient of the outputs' squared length.
A threshold by the share of weights that pass it: Schoepf, Foster and Brintrup, arXiv:2402.10098.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from influence import grads
from influence.grads.query import slices
from influence.loop import Bound, tensors
from influence.registry import option, unlearning
from influence.types import Examples
from influence.unlearning._descent import Request
from influence.unlearning._guard import losses
from influence.unlearning._stride import Holds, Stride
from influence.workspace import Workspace

SHARES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
"""Shares of the weights for which alpha is tried, that of the largest effect first."""
NUMBERS = 2**24
"""Numbers that the gradients of single rows may take at once."""


@unlearning
@dataclass(frozen=True)
class SSD(Stride):
    """Makes weights smaller that matter far more to the removed rows than to all rows; no training.

    Weights that matter more than `alpha` times as much are multiplied by `keep` times the ratio of what they matter to all rows and to the
    removed ones, at most 1. The change is made in parts, up to where the retained rows suffer or the removed ones fare better than before.
    Meant for removed rows that make up a kind of their own. Approximate.
    """

    alpha: float = option(0.0, "From how many times as much on a weight is made smaller; 0: the least that does no harm", min=0.0, max=1e6)
    keep: float = option(1.0, "How much is left of such weights, times the ratio", min=0.0, max=1e6)
    labels: Literal["used", "not needed"] = option("not needed", "Whether weights matter to the loss, or to the outputs whatever the label")
    tolerance: float = option(
        0.02, "Share of what training gained on the retained rows that may be given back", min=0.0, max=1.0, advanced=True
    )

    reservation: ClassVar[str] = "On mislabelled rows spread over all classes it does little more than nothing."
    cost: ClassVar[str] = "About as long as a few passes of training over all rows."
    needs: ClassVar[str] = "All rows that the model was trained on."

    instead: ClassVar[str] = "Choose finetune or neggrad_plus."

    def fares(self, bound: Bound, asked: Request) -> Callable[[], str]:
        """Return what says whether the removed rows are known better than before."""
        least = losses(bound, asked.recipe, asked.forget).mean()
        return lambda: "" if losses(bound, asked.recipe, asked.forget).mean() >= least else "made the removed rows better known"

    def goal(self, asked: Request, bound: Bound, holds: Holds, workspace: Workspace) -> torch.Tensor:
        """Return the weights made smaller as alpha says, or as the first alpha says with which the rows allow it, (P,).

        Raises:
            BadInput: rows have no gradients of their own.
        """
        start, kind = bound.flat.clone(), asked.recipe.loss if self.labels == "used" else ""
        gone, kept = importance(bound, asked.forget, kind), importance(bound, asked.retained, kind)
        n, m = len(asked.forget), len(asked.retained)
        every = (gone * n + kept * m) / (n + m)
        goal = start
        for alpha in [self.alpha] if self.alpha else thresholds(every, gone):
            goal = start * dampened(every, gone, alpha, self.keep).to(start)
            if holds(goal):
                break
        return goal


def thresholds(every: torch.Tensor, gone: torch.Tensor) -> list[float]:
    """Return the values of alpha that these shares of the weights pass, at least 1."""
    ratio = torch.where(every > 0, gone / every, 0.0).sort(descending=True).values
    return [max(1.0, float(ratio[min(len(ratio) - 1, math.ceil(share * len(ratio)))])) for share in SHARES]


def dampened(every: torch.Tensor, gone: torch.Tensor, alpha: float, keep: float) -> torch.Tensor:
    """Return the factors of weights with these importances to all rows and to those removed, (P,): 1 for those that stay as they are."""
    return torch.where(gone > alpha * every, (keep * every / gone).clamp(max=1.0), 1.0)


def importance(bound: Bound, examples: Examples, loss: str) -> torch.Tensor:
    """Return how much each weight matters to the rows, (P,) float64: the mean squared gradient of single rows' losses.

    loss "": the mean size of the gradient of single rows' squared length of the outputs.
    """
    x, y = tensors(examples, bound.dtype)
    y = y if loss else 2 * grads.logits(bound, x)
    total = torch.zeros(len(bound.flat), dtype=torch.float64, device=bound.flat.device)
    for cut in slices(y, max(1, NUMBERS // len(bound.flat))):
        each = grads.row_gradients(bound, x, y, loss or "linear", cut).double()
        total += each.square().sum(0) if loss else each.abs().sum(0)
    return total / len(examples)
