"""How the weights would settle without a set of rows: the step that removes them all at once, to first order in their weight.

Removing the rows F moves the minimum of the objective by (H + decay)^-1 sum_F grad l_i / n (Koh and Liang, arXiv:1703.04730), with H the
Gauss-Newton matrix. A training of length tau has answered to the data along a direction of curvature h by (1 - e^(-h tau)) / h; damping
makes Tikhonov's filter 1 / (h + damping) of it, which has the same ends and is too small between them, by up to a third. What is lacking is
read off the factors along the direction that is asked for, and made up by one number, `shortfall`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from influence.curvature import EKFAC, Objective, cg, damping, ggn, gradient
from influence.curvature.blocks import Block
from influence.curvature.ggn import pushed
from influence.errors import BadInput
from influence.grads import Rows
from influence.grads.query import slices
from influence.loop import tensors
from influence.settled import factors, objective
from influence.types import Examples, Report, Trained, ignore
from influence.workspace import Workspace

TOLERANCE = 1e-3
"""Relative residual at which a solve ends before its products are spent."""
ROWS = 512
HALVED = 6
"""How often a step may be halved."""


def by_id(examples: Examples) -> Examples:
    """Return the rows in the order of their ids; the same object if they stand so."""
    return examples.take(np.argsort(examples.ids, kind="stable")) if (examples.ids[1:] < examples.ids[:-1]).any() else examples


class Without:
    """What is to be minimised once rows with gradient g are gone, from weights at which training ended, be they a minimum or not.

        loss of the retained rows(theta) - <its gradient at the start + g, theta> + ridge / 2 |theta - start|²

    It has no slope at the start but that of the removed rows (the proximal Bregman objective of Bae et al., arXiv:2209.05364).
    """

    def __init__(self, of: Objective, g: torch.Tensor) -> None:
        self.of, self.start = of, of.bound.flat.clone()
        self.pull = gradient(of) + g

    def gradient(self) -> torch.Tensor:
        """Return its gradient at the present weights, (P,)."""
        return gradient(self.of) - self.pull + self.of.decay * (self.of.bound.flat - self.start)

    def value(self) -> float:
        """Return it at the present weights."""
        moved = self.of.bound.flat - self.start
        x, losses = self.of.rows.on(self.of.bound)
        with torch.no_grad():
            loss = float(losses(self.of.bound.module(x)).double().sum()) / self.of.n
        return loss - float(self.pull @ moved) + self.of.decay / 2 * float(moved @ moved)

    def along(self, step: torch.Tensor) -> None:
        """Go along a step, or half of it, a quarter, …, the first that leads down; nowhere if none does."""
        flat, before = self.of.bound.flat, self.value()
        at = flat.clone()
        for k in range(HALVED):
            flat.copy_(at + step / 2**k)
            if self.value() < before:
                return
        flat.copy_(at)

    def end(self) -> torch.Tensor:
        """Return how far the weights went, (P,), and put them back."""
        moved = self.of.bound.flat - self.start
        self.of.bound.flat.copy_(self.start)
        return moved


@dataclass(frozen=True)
class Settled:
    """A model's objective at its final weights, the factors of its curvature, and the damping that stands for the time of training."""

    of: Objective
    curvature: EKFAC
    ridge: float

    @classmethod
    def at(cls, trained: Trained, train: Examples, workspace: Workspace, report: Report = ignore) -> Settled:
        """Read it off a model and its training rows; the factors are kept for the next request."""
        of = objective(trained, train)
        found = factors(of, trained, train, workspace, report)
        return cls(of, found, damping.chosen(found, trained.recipe))

    def rows(self, examples: Examples) -> Objective:
        """Return the part of the objective that these rows have: n stays."""
        x, y = tensors(examples, self.of.bound.dtype)
        return replace(self.of, rows=Rows(x, y, self.of.rows.loss), ids=examples.ids)

    def step(self, forget: Examples, seen: Examples, left: int, products: int, turns: int) -> torch.Tensor:
        """Return the step (P,) that removes the rows; with no products by the factors alone, as far as first order goes.

        Else by Newton's method on what is to be minimised without the rows (`Without`), as the rows `seen` show it, a sample of the `left`
        that stay: at every turn loss and curvature are read anew where the last one led, and products with the curvature, preconditioned by
        the factors, solve it.

        Raises:
            BadInput: it is not finite.
        """
        g = gradient(self.rows(forget))
        moved = self._settling(g, seen, left, products, turns) if products else self.curvature.solve(g[None], self.ridge)[0]
        if not moved.isfinite().all():
            raise BadInput("The step is not finite: the model's outputs on these rows are not, or its curvature is not. Choose retrain.")
        return moved * self.shortfall(g[None])

    def _settling(self, g: torch.Tensor, seen: Examples, left: int, products: int, turns: int) -> torch.Tensor:
        n = max(1, round(self.of.n * len(seen) / left))
        goal = Without(replace(self.rows(seen), n=n, decay=self.of.decay + self.ridge), g)
        for _ in range(turns):
            left_over = -goal.gradient()[None]
            found = cg(lambda p: ggn(goal.of, p), left_over, lambda r: self.curvature.solve(r, self.ridge), products, TOLERANCE)
            goal.along(found.x[0])
        return goal.end()

    def shortfall(self, g: torch.Tensor) -> float:
        """Return by how much the damped answer to g (1, P) falls short of the one that the time of training gives, at least 1."""
        tau = _time(self.ridge, self.of.decay)
        full = self.curvature.apply(g, lambda block: _answered(block, self.of.decay, tau))
        damped = float((g * self.curvature.solve(g, self.ridge)).sum())
        return max(1.0, float((g * full).sum()) / damped) if damped > 0 else 1.0

    def moved(self, examples: Examples, step: torch.Tensor) -> torch.Tensor:
        """Return how a step moves the rows' outputs to first order, (M, C)."""
        self.of.bound.module.eval()
        push = pushed(self.of.bound, self.of.places)
        rows = self.rows(examples).rows
        parts = [push(rows.cut(cut).on(self.of.bound)[0], step[None])[0] for cut in slices(rows.target, ROWS)]
        return torch.cat(parts).detach()


def _time(ridge: float, decay: float) -> float:
    """Return the time of training for which the damping stands: that of `damping.from_recipe`, solved for it."""
    return float(np.log1p(decay / ridge) / decay) if decay > 0 else 1 / ridge


def _answered(block: Block, decay: float, tau: float) -> torch.Tensor:
    h = (block.values + decay).clamp(min=1e-12)
    return -torch.expm1(-h * tau) / h
