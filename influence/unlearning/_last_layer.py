"""A model's last Linear layer by itself: features that stay, the objective of the layer over them, and how it settles without rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from influence.curvature import Objective, gradient
from influence.curvature.cg import Product
from influence.curvature.damping import decay, from_recipe
from influence.curvature.outputs import curved
from influence.grads import Rows
from influence.grads.chosen import owners
from influence.grads.hidden import hidden
from influence.grads.query import part, slices
from influence.loop import Bound, tensors
from influence.settled import trained_on, training_loss
from influence.training import load
from influence.types import Event, Examples, Recipe, Report, Trained, ignore
from influence.unlearning._response import Without
from influence.workspace import Workspace

VERSION = 1
UNKNOWN = 0.01
"""Damping where no recipe tells the time of training: as that of trainings by SGD of some hundred steps."""
LARGE = 2000
"""Weights up to which the curvature is written down and solved; beyond, products with it are taken."""
PRODUCTS = 30
"""Products that a turn may take."""
DONE, DONE_LARGE = 1e-6, 1e-2
"""Share of the removed rows' gradient at which no more turns are taken; the bound says what that leaves."""
FEW = 3
"""The same where the curvature is solved exactly: more than one only makes up for rounding."""
BATCH = 1024
"""Rows of which features are made at a time."""


@dataclass(frozen=True)
class Head:
    """Outputs that are linear in features, (B, D) -> (B, C); a bias is the weight of a feature that is 1."""

    inputs: tuple[int, ...]
    outputs: int

    def __call__(self) -> nn.Module:
        """Build it."""
        return nn.Linear(self.inputs[0], self.outputs, bias=False)


@dataclass(frozen=True)
class LastLayer:
    """What the last layer minimised over the features of the rows that training saw; the bound layer is as the model's.

    `moment`: the features' second moment (D, D), which preconditions products. A small layer is in float64, a large one as the model.
    """

    of: Objective
    moment: torch.Tensor

    @classmethod
    def at(cls, trained: Trained, train: Examples, workspace: Workspace, report: Report = ignore) -> LastLayer:
        """Read it off a model and its training rows; what takes a pass over them is kept for the next request.

        Raises:
            BadInput: something follows the last layer, or it is used more than once.
        """
        rows, model = trained_on(train, trained), load(trained)
        key = {"trained": trained.digest, "rows": rows.digest, "version": VERSION}
        folder = workspace.kept("features", key, lambda folder: _keep(_features(model, rows, report), folder))
        x, moment = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("x", "moment"))
        bound = Bound(Head((x.shape[1],), train.outputs), dtype="float64" if train.outputs * x.shape[1] <= LARGE else model.dtype)
        bound.flat.copy_(weights(model).flatten())
        n = len(np.union1d(train.ids, trained.removed)) if trained.removed else len(train)
        known = Rows(x.to(bound.flat), tensors(rows, model.dtype)[1], training_loss(trained, train))
        of = Objective(bound, known, rows.ids, n, ridge(trained.recipe, n))
        return cls(of, moment.to(bound.flat))

    def without(self, forget: Examples) -> Without:
        """Return what is to be minimised without these rows: convex, and as strongly as its decay says at least."""
        gone = torch.from_numpy(np.isin(self.of.ids, forget.ids))
        stays, goes = (replace(self.of, rows=self.of.rows.cut(mask), ids=self.of.ids[mask.numpy()]) for mask in (~gone, gone))
        return Without(stays, gradient(goes))

    def moved(self, goal: Without, turns: int) -> torch.Tensor:
        """Return the step (P,) from the model's weights to where the goal is least, by so many Newton steps at most."""
        flat = goal.of.bound.flat
        step = torch.zeros_like(flat)
        enough = (DONE if len(flat) <= LARGE else DONE_LARGE) * float(goal.gradient().norm())
        for _ in range(turns):
            flat.copy_(goal.start + step)
            if float(goal.gradient().norm()) <= enough:
                break
            step += goal.turn(step, *self._solver(goal.of))
        flat.copy_(goal.start)
        return step

    def far(self, goal: Without, at: torch.Tensor) -> float:
        """Return how far weights `at` (P,) can be from where the goal is least, at most."""
        goal.of.bound.flat.copy_(at)
        left = float(goal.gradient().norm())
        goal.of.bound.flat.copy_(goal.start)
        return left / goal.of.decay

    def _solver(self, of: Objective) -> tuple[Product, int, Product]:
        """Return an inverse of the curvature at the present weights, how many products it may take, and products with the curvature.

        Up to a size the inverse is exact; else as if classes were alike and had nothing to do with each other or with features.
        """
        second = _second(of)
        if len(of.bound.flat) <= LARGE:
            full = hessian(of, second)
            root = torch.linalg.cholesky(full)
            return lambda r: torch.cholesky_solve(r.T, root).T, FEW, lambda v: v @ full
        sharpness = float(second.diagonal().mean()) * len(of.rows)
        x, (c, d) = of.rows.x, of.bound.params[0].shape
        root = torch.linalg.cholesky(sharpness * self.moment + of.decay * torch.eye(d).to(x))

        def product(v: torch.Tensor) -> torch.Tensor:
            out = torch.einsum("abn,qbn->qan", second, v.view(-1, c, d) @ x.T)
            return (out @ x).flatten(1) + of.decay * v

        return lambda r: torch.cholesky_solve(r.view(-1, d).T, root).T.reshape(-1, c * d), PRODUCTS, product


def ridge(recipe: Recipe | None, n: int) -> float:
    """Return weight decay and the damping that stands for the time of training: how strongly a last layer's goal is convex."""
    time = from_recipe(recipe, n) if recipe is not None else None
    return decay(recipe) + (UNKNOWN if time is None else time)


def hessian(of: Objective, second: torch.Tensor) -> torch.Tensor:
    """Return the second derivative of a last layer's objective, (P, P), from those of losses by outputs: sum_i H_i x h_i h_i^T + decay."""
    x, (c, d) = of.rows.x, of.bound.params[0].shape
    total = of.decay * torch.eye(c * d).to(x).view(c, d, c, d)
    for a in range(c):
        for b in range(a + 1):
            block = x.T @ (second[a, b, :, None] * x)
            total[a, :, b] += block
            if a != b:
                total[b, :, a] += block
    return total.view(c * d, c * d)


def placed(model: Bound, step: torch.Tensor) -> torch.Tensor:
    """Return the model's weights (P,) with a step added to the last layer's."""
    layer = _last(model)
    flat, by = model.flat.clone(), step.view(len(layer.weight), -1)
    own = {id(layer.weight): by[:, : layer.in_features], id(layer.bias): by[:, -1]}
    for parameter, view in zip(model.params, model.views(flat), strict=True):
        if id(parameter) in own:
            view += own[id(parameter)].to(view)
    return flat


def weights(model: Bound) -> torch.Tensor:
    """Return the last layer's weights (C, D), a bias as their last column."""
    layer = _last(model)
    return torch.cat([layer.weight, *([] if layer.bias is None else [layer.bias[:, None]])], 1).detach()


def _last(model: Bound) -> nn.Linear:
    layer = owners(model.module)[-1][1]
    assert isinstance(layer, nn.Linear)
    return layer


def _features(model: Bound, rows: Examples, report: Report) -> torch.Tensor:
    """Return what the last layer is given of each row, (N, D), and a last 1 if it has a bias."""
    model.module.eval()
    x, _ = tensors(rows, model.dtype)
    found = []
    for cut in slices(x, BATCH):
        found.append(hidden(model, part(x, cut))[0].cpu())
        report(Event("features", min(cut.stop, len(rows)), len(rows)))
    h = torch.cat(found)
    biased = _last(model).bias is not None
    return torch.cat([h, torch.ones_like(h[:, :1])], 1) if biased else h


def _keep(x: torch.Tensor, folder: Path) -> None:
    """Write features and their second moment."""
    np.save(folder / "x.npy", x.numpy())
    np.save(folder / "moment.npy", (x.T @ x / len(x)).numpy())


def _second(of: Objective) -> torch.Tensor:
    """Return the second derivatives of the rows' losses by their outputs, over n, (C, C, N)."""
    z = of.bound.module(of.rows.x).detach()
    each = torch.eye(z.shape[1]).to(z)[:, None].expand(-1, *z.shape)
    return (curved(of.rows.loss, z, of.rows.target.to(z.device), each) / of.n).transpose(1, 2).contiguous()
