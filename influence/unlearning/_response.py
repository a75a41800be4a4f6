"""How the weights would settle without a set of rows: the way that a training of the same length would take from where it ended.

Removing the rows F adds their gradient g = sum_F grad l_i / n to the slope. To first order a training of length tau has answered to it
along a direction of curvature h by (1 - e^(-h tau)) / h, between 1 / h at a minimum (Koh and Liang, arXiv:1703.04730) and tau where nothing
is curved: gradient flow for a time tau on what is to be minimised without the rows (`Without`). It is followed in a few implicit Euler
steps, each a damped Newton step with damping steps / tau; loss and curvature are read anew at each, so that the line is not stretched.
After k steps a direction has got 1 - (1 + h tau / k)^-k of its way, which tends to 1 - e^(-h tau). A training by Adam flows in a metric of
its own (`_metric`), which takes the place of the identity beside the curvature.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from influence.curvature import EKFAC, Objective, cg, damping, gradient, kept
from influence.curvature.cg import Product
from influence.errors import BadInput
from influence.grads import Rows
from influence.loop import tensors
from influence.optim import Adam, optimizer
from influence.settled import factors, objective
from influence.types import Examples, Report, Trained, ignore
from influence.unlearning._guard import sample
from influence.unlearning._metric import metric
from influence.workspace import Workspace

TOLERANCE = 1e-3
"""Relative residual at which a solve ends before its products are spent."""
HALVED = 6
"""How often a step may be halved."""


def by_id(examples: Examples) -> Examples:
    """Return the rows in the order of their ids; the same object if they stand so."""
    return examples.take(np.argsort(examples.ids, kind="stable")) if (examples.ids[1:] < examples.ids[:-1]).any() else examples


class Without:
    """What is to be minimised once rows with gradient g are gone, from weights at which training ended, be they a minimum or not.

        loss of the retained rows(theta) - <its gradient at the start + g, theta> + ridge / 2 |theta - start|²

    It has no slope at the start but that of the removed rows (the proximal Bregman objective of Bae et al., arXiv:2209.05364). The ridge is
    the objective's decay and, of AdamW, what shrinks the weights beside it: `shrinks` times the metric, a number or (P,).
    """

    def __init__(self, of: Objective, g: torch.Tensor, shrinks: float | torch.Tensor = 0.0) -> None:
        self.of, self.start, self.shrinks = of, of.bound.flat.clone(), shrinks
        self.pull = gradient(of) + g

    def gradient(self) -> torch.Tensor:
        """Return its gradient at the present weights, (P,)."""
        return gradient(self.of) - self.pull + (self.of.decay + self.shrinks) * (self.of.bound.flat - self.start)

    def value(self) -> float:
        """Return it at the present weights."""
        moved = self.of.bound.flat - self.start
        x, losses = self.of.rows.on(self.of.bound)
        with torch.no_grad():
            loss = float(losses(self.of.bound.module(x)).double().sum()) / self.of.n
        return loss - float(self.pull @ moved) + float(((self.of.decay + self.shrinks) * moved) @ moved) / 2

    def turn(
        self, moved: torch.Tensor, precondition: Product, products: int, curvature: Product | None = None, near: float | torch.Tensor = 0.0
    ) -> torch.Tensor:
        """Return Newton's step from the start plus `moved`, or half of it, a quarter, …, the first that leads down; else zeros.

        `curvature`: products with it at these weights, where there is a quicker way to them. `near`: damping, of all directions or of each
        number (P,), by which the step is kept short: half of it times the step's square is minimised, too.
        """
        flat = self.of.bound.flat
        flat.copy_(self.start + moved)
        before = self.value()
        before += torch.finfo(flat.dtype).eps * abs(before)  # the fall of a small step is less than rounding
        step = self.newton(precondition, products, curvature, near)
        for _ in range(HALVED):
            flat.copy_(self.start + moved + step)
            if self.value() + float((near * step) @ step) / 2 < before:
                break
            step = step / 2
        else:
            step = torch.zeros_like(step)
        flat.copy_(self.start)
        return step

    def newton(
        self, precondition: Product, products: int, curvature: Product | None = None, near: float | torch.Tensor = 0.0
    ) -> torch.Tensor:
        """Return Newton's step from the present weights, whatever it leads to, (P,)."""
        product, near = curvature or kept(self.of), near + self.shrinks
        return cg(lambda p: product(p) + near * p, -self.gradient()[None], precondition, products, TOLERANCE).x[0]


@dataclass(frozen=True)
class Settled:
    """A model's objective at its final weights, and how long it was trained there (`tau`).

    `metric`: (P,) where it flowed in Adam's, None in that of the weights; `shrinks`: AdamW's decay beside it, of all numbers or of each.
    `curvature`: its factors, which precondition solves where there is no metric to do so.
    """

    of: Objective
    tau: float
    curvature: EKFAC | None = None
    metric: torch.Tensor | None = None
    shrinks: float | torch.Tensor = 0.0

    @classmethod
    def at(cls, trained: Trained, train: Examples, workspace: Workspace, report: Report = ignore) -> Settled:
        """Read it off a model and its training rows; what takes a pass over them is kept for the next request."""
        of, recipe = objective(trained, train), trained.recipe
        if recipe is not None and recipe.optimizer != "sgd":
            rule = optimizer(recipe, of.bound.params)
            shrinks = rule.shrink if isinstance(rule, Adam) else 0.0
            return cls(of, damping.time(recipe, of.n), None, metric(of, trained, train, recipe, workspace, report), shrinks)
        found = factors(of, trained, train, workspace, report)
        return cls(of, damping.time_of(damping.chosen(found, recipe), of.decay), found)

    def rows(self, examples: Examples) -> Objective:
        """Return the part of the objective that these rows have: n stays."""
        x, y = tensors(examples, self.of.bound.dtype)
        return replace(self.of, rows=Rows(x, y, self.of.rows.loss), ids=examples.ids)

    def step(self, forget: Examples, retained: Examples, products: int, rows: int, turns: int = 1, seed: int = 0) -> torch.Tensor:
        """Return the step (P,) that removes the rows, or corrects them.

        A row to forget that is among the retained ones, too, is there with its new label: what pulls is the difference of the two. It goes
        in so many implicit Euler steps, each on so many others of the retained rows, so that the weights do not fit a sample; products with
        the curvature solve them.

        Raises:
            BadInput: it is not finite.
        """
        g, back = gradient(self.rows(forget)), np.isin(retained.ids, forget.ids)
        if back.any():
            g = g - gradient(self.rows(retained.take(back)))
        moved, near, once = torch.zeros_like(g), self._near(turns), self._near(1)
        for turn in range(turns):
            goal = self._without(retained, g, rows, seed, turn)
            moved += goal.turn(moved, self._inverse(near), products, near=near)
        if not moved.any():  # rows that move the loss by less than its precision
            moved = goal.newton(self._inverse(once), products, near=once)
        if not (g.isfinite().all() and moved.isfinite().all()):
            raise BadInput("The step is not finite: the model's outputs on these rows are not, or its curvature is not. Choose retrain.")
        return moved

    def _without(self, retained: Examples, g: torch.Tensor, rows: int, seed: int, turn: int) -> Without:
        seen = sample(retained, rows, seed, f"curvature {turn}")
        return Without(replace(self.rows(seen), n=max(1, round(self.of.n * len(seen) / len(retained)))), g, self._pull())

    def _near(self, turns: int) -> float | torch.Tensor:
        """Return the damping of one of so many Euler steps."""
        return turns / self.tau if self.metric is None else self.metric * (turns / self.tau)

    def _pull(self) -> float | torch.Tensor:
        """Return how strongly AdamW's decay pulls each number back, in the unit of the slope."""
        return 0.0 if self.metric is None else self.metric * self.shrinks

    def _inverse(self, near: float | torch.Tensor) -> Product:
        """Return what stands for the inverse of the curvature with this damping: by its factors, or else by what stands beside it."""
        if self.curvature is not None and isinstance(near, float):
            curvature = self.curvature
            return lambda r: curvature.solve(r, near)
        beside = near + self._pull()
        return lambda r: r / beside
