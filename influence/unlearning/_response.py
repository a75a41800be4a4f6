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
from influence.curvature.cg import Product
from influence.errors import BadInput
from influence.grads import Rows
from influence.loop import tensors
from influence.settled import factors, objective
from influence.types import Examples, Report, Trained, ignore
from influence.unlearning._guard import sample
from influence.workspace import Workspace

TOLERANCE = 1e-3
"""Relative residual at which a solve ends before its products are spent."""
ENOUGH = 0.05
"""A turn that moves the weights by less than this share of the whole way is the last."""
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

    def turn(self, moved: torch.Tensor, precondition: Product, products: int, curvature: Product | None = None) -> torch.Tensor:
        """Return Newton's step from the start plus `moved`, or half of it, a quarter, …, the first that leads down; else zeros.

        `curvature`: products with it at these weights, where there is a quicker way to them.
        """
        flat = self.of.bound.flat
        flat.copy_(self.start + moved)
        before = self.value()
        step = cg(curvature or (lambda p: ggn(self.of, p)), -self.gradient()[None], precondition, products, TOLERANCE).x[0]
        for _ in range(HALVED):
            flat.copy_(self.start + moved + step)
            if self.value() < before:
                break
            step = step / 2
        else:
            step = torch.zeros_like(step)
        flat.copy_(self.start)
        return step


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

    def step(self, forget: Examples, retained: Examples, products: int = 0, rows: int = 0, turns: int = 1, seed: int = 0) -> torch.Tensor:
        """Return the step (P,) that removes the rows, or corrects them; with no products by the factors alone, as far as first order goes.

        A row to forget that is among the retained ones, too, is there with its new label: what pulls is the difference of the two.

        Else by Newton's method on what is to be minimised without the rows (`Without`): at every turn loss and curvature are read anew
        where the last one led, from so many others of the retained rows, so that the weights do not fit a sample; products with the
        curvature, preconditioned by the factors, solve it.

        Raises:
            BadInput: it is not finite.
        """
        g, back = gradient(self.rows(forget)), np.isin(retained.ids, forget.ids)
        if back.any():
            g = g - gradient(self.rows(retained.take(back)))
        moved = torch.zeros_like(g)
        for turn in range(turns if products else 0):
            seen = sample(retained, rows, seed, f"curvature {turn}")
            n = max(1, round(self.of.n * len(seen) / len(retained)))
            goal = Without(replace(self.rows(seen), n=n, decay=self.of.decay + self.ridge), g)
            further = goal.turn(moved, lambda r: self.curvature.solve(r, self.ridge), products)
            moved += further
            if float(further.norm()) <= ENOUGH * float(moved.norm()):
                break
        if not moved.any():  # no products, or rows that move the loss by less than its precision
            moved = self.curvature.solve(g[None], self.ridge)[0]
        if not (g.isfinite().all() and moved.isfinite().all()):
            raise BadInput("The step is not finite: the model's outputs on these rows are not, or its curvature is not. Choose retrain.")
        return moved * self.shortfall(g[None])

    def shortfall(self, g: torch.Tensor) -> float:
        """Return by how much the damped answer to g (1, P) falls short of the one that the time of training gives, at least 1."""
        tau = _time(self.ridge, self.of.decay)
        full = self.curvature.apply(g, lambda block: _answered(block, self.of.decay, tau))
        damped = float((g * self.curvature.solve(g, self.ridge)).sum())
        return max(1.0, float((g * full).sum()) / damped) if damped > 0 else 1.0


def _time(ridge: float, decay: float) -> float:
    """Return the time of training for which the damping stands: that of `damping.from_recipe`, solved for it."""
    return float(np.log1p(decay / ridge) / decay) if decay > 0 else 1 / ridge


def _answered(block: Block, decay: float, tau: float) -> torch.Tensor:
    h = (block.values + decay).clamp(min=1e-12)
    return -torch.expm1(-h * tau) / h
