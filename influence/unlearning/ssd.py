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
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from influence import grads
from influence.grads.query import slices
from influence.loop import Bound, tensors, threads
from influence.registry import option, unlearning
from influence.training import load
from influence.types import Event, Examples, Report, Selection, Trained, ignore
from influence.unlearning._descent import LOOKS, Guard, approximate, losses, usual
from influence.unlearning._response import by_id
from influence.unlearning._rows import parted
from influence.workspace import Workspace

SHARES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
"""Shares of the weights for which alpha is tried, that of the largest effect first."""
UNCHANGED = "The model is as it was: no weight can be made smaller for these rows without harm. Choose finetune or neggrad_plus."
NUMBERS = 2**24
"""Numbers that the gradients of single rows may take at once."""


@unlearning
@dataclass(frozen=True)
class SSD:
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
    seed: int = option(0, "Which of the retained rows are watched", min=0, max=2**31 - 1, advanced=True)

    reservation: ClassVar[str] = "On mislabelled rows spread over all classes it does little more than nothing."
    cost: ClassVar[str] = "About as long as a few passes of training over all rows."
    needs: ClassVar[str] = "All rows that the model was trained on."

    def unavailable(self, trained: Trained) -> str:
        """Return nothing: weights are all it needs."""
        return ""

    def __call__(
        self,
        trained: Trained,
        train: Examples,
        selection: Selection,
        monitor: Callable[[Bound], dict[str, float]] | None = None,
        report: Report = ignore,
        workspace: Workspace | None = None,
    ) -> Trained:
        """Return the model with some weights made smaller, claim L1.

        Raises:
            BadInput: the selection cannot be removed, or rows have no gradients of their own.
        """
        retained, forget = parted(trained, by_id(train), selection)  # sums have one order, whatever order the rows stand in
        recipe = replace(usual(trained, train), seed=self.seed)
        with threads(recipe.threads):
            bound = load(trained)
            guard, start = Guard(bound, recipe, retained, self.tolerance), bound.flat.clone()
            least = losses(bound, recipe, forget).mean()

            def holds(weights: torch.Tensor) -> bool:
                bound.flat.copy_(weights)
                return guard.holds(bound) and bool(losses(bound, recipe, forget).mean() >= least)

            goal = self._goal(bound, recipe.loss, retained, forget, holds)
            part = next((k for k in range(LOOKS, 0, -1) if holds(start.lerp(goal, k / LOOKS))), 0)
            for k in range(LOOKS + 1):
                bound.flat.copy_(start.lerp(goal, min(k, part) / LOOKS))
                note = UNCHANGED if k == LOOKS and bound.flat.equal(start) else ""
                report(Event("ssd", k, LOOKS, note, monitor(bound) if monitor else {}))
        return approximate(trained, selection, bound, 1, 0.0)

    def _goal(self, bound: Bound, loss: str, retained: Examples, forget: Examples, holds: Callable[[torch.Tensor], bool]) -> torch.Tensor:
        """Return the weights made smaller as alpha says, or as the first alpha says with which `holds`, (P,)."""
        start, kind = bound.flat.clone(), loss if self.labels == "used" else ""
        gone, kept = importance(bound, forget, kind), importance(bound, retained, kind)
        every = (gone * len(forget) + kept * len(retained)) / (len(forget) + len(retained))
        goal = start
        for alpha in [self.alpha] if self.alpha else thresholds(every, gone):
            goal = start * dampened(every, gone, alpha, self.keep).to(start)
            if holds(goal):
                break
        bound.flat.copy_(start)
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
