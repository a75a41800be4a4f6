"""Exact Newton steps for a linear head: what removing rows does to the last layer, its inputs held fixed.

With inputs a_i (a 1 for the bias among them), residuals r_i = dl_i/d(output) and second derivatives H_i by the outputs, the head's Hessian
is H = 1/n sum_i H_i x a_i a_i^T + ridge. Without a set S of rows, one Newton step moves the head by

    (n H - sum_S H_i x a_i a_i^T)^-1 sum_S r_i a_i^T

which for one row needs no new solve: with S_i = J_i (n H)^-1 J_i^T, the row's leverage, the step changes F by u_i^T (I - H_i S_i)^-1 r_i
where u_i = J_i (n H)^-1 grad F. The influence function is the same without the leverage (Pregibon, doi:10.1214/aos/1176345513, for
logistic regression; rescaled influence functions, arXiv:2506.06656; Newton steps for sets, arXiv:2512.12572).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import nn

from influence.curvature.ggn import Objective
from influence.curvature.outputs import curved
from influence.errors import BadInput
from influence.grads.chosen import owners
from influence.grads.parts import Factors
from influence.grads.query import slices
from influence.grads.rows import Rows, planned
from influence.grads.uses import Plan, uses
from influence.loop import Bound

LARGEST = 8192
"""Most parameters of a head whose Hessian is formed."""
ROWS = 512


class Seen(NamedTuple):
    """What the last layer sees of a block of rows, in float64.

    Inputs (B, I), a 1 for the bias among them; residuals (B, C); second derivatives by the outputs (B, C, C).
    """

    a: torch.Tensor
    residual: torch.Tensor
    second: torch.Tensor


@dataclass(frozen=True)
class Head:
    """The last layer and the rows that trained it, read a block at a time; `ridge` stands for decay and damping together."""

    of: Objective
    ridge: float
    how: Plan

    def blocks(self) -> Iterator[Seen]:
        """Read all rows, a block at a time.

        Raises:
            BadInput: the last layer's outputs are not the model's.
        """
        for cut in slices(self.of.rows.target, ROWS):
            yield _seen(self.of, self.how, self.of.rows.cut(cut))

    @property
    def outputs(self) -> int:
        """C, how many outputs the head has."""
        return len(self.of.bound.params[self.of.places[0]])

    @cached_property
    def root(self) -> torch.Tensor:
        """Cholesky factor of n H, (C I, C I), parameters ordered by output, then input.

        Raises:
            BadInput: the Hessian is singular.
        """
        total = torch.zeros((), dtype=torch.float64)
        for seen in self.blocks():
            total = _curvature(seen) + total.to(seen.a.device)
        return _root(total + self.of.n * self.ridge * torch.eye(len(total), dtype=total.dtype, device=total.device))

    def removals(self, v: torch.Tensor) -> torch.Tensor:
        """Return the predicted change of each value if a row is removed, (N, Q), for gradients (Q, P); exact but for higher order."""
        moved = torch.cholesky_solve(self.gathered(v).T, self.root).T.view(len(v), self.outputs, -1)
        return torch.cat([self._removals(seen, moved) for seen in self.blocks()])

    def _removals(self, seen: Seen, moved: torch.Tensor) -> torch.Tensor:
        u = torch.einsum("ni,qci->nqc", seen.a, moved)
        eye = torch.eye(self.outputs, dtype=u.dtype, device=u.device)
        lasting = torch.linalg.solve(eye - seen.second @ self._leverages(seen.a), seen.residual[..., None])
        return (u @ lasting)[..., 0]

    def _leverages(self, a: torch.Tensor) -> torch.Tensor:
        """J_i (n H)^-1 J_i^T of the rows of a block, (B, C, C)."""
        c, found = self.outputs, a.new_zeros(len(a), self.outputs, self.outputs)
        for k in range(c):
            for j in range(k, c):
                found[:, k, j] = found[:, j, k] = ((a @ self._inverse[k, :, j]) * a).sum(1)
        return found

    @cached_property
    def _inverse(self) -> torch.Tensor:
        c = self.outputs
        return torch.cholesky_inverse(self.root).view(c, len(self.root) // c, c, -1)

    def gathered(self, v: torch.Tensor) -> torch.Tensor:
        """Return the head's part of directions (Q, P), (Q, C I)."""
        views = self.of.bound.views(v)
        parts = [views[k].reshape(len(v), self.outputs, -1) for k in self.of.places]
        return torch.cat(parts, -1).flatten(1).double()


def _curvature(seen: Seen) -> torch.Tensor:
    """Return the sum of the rows' second derivatives by the head, (C I, C I)."""
    c, i = seen.second.shape[1], seen.a.shape[1]
    total = seen.a.new_zeros(c, i, c, i)
    for k in range(c):
        for j in range(k, c):
            total[k, :, j] = total[j, :, k] = seen.a.T @ (seen.second[:, k, j, None] * seen.a)
    return total.view(c * i, c * i)


def _root(matrix: torch.Tensor) -> torch.Tensor:
    root, failed = torch.linalg.cholesky_ex(matrix)
    if failed:
        raise BadInput("The head's Hessian is singular: these rows do not determine it. Set a damping, or train with weight decay.")
    return root


def closed(bound: Bound, outputs: int) -> str:
    """Say why the model has no linear head that can be solved exactly, or ""."""
    name, layer = owners(bound.module)[-1]
    size = sum(p.numel() for p in layer.parameters(recurse=False))
    if type(layer) is not nn.Linear or layer.out_features != outputs:
        return (
            f"Newton's step needs a model whose last layer is linear; here it is {name or type(layer).__name__}. Choose influence_function."
        )
    if size > LARGEST:
        return f"The last layer has {size} parameters, and its exact Hessian at most {LARGEST}. Choose influence_function."
    return ""


def head(of: Objective, ridge: float) -> Head:
    """Return the last layer of a model, as the rows see it; `ridge` stands for decay and damping together."""
    return Head(of, ridge, planned(of.bound, of.rows, of.places))


def _seen(of: Objective, how: Plan, rows: Rows) -> Seen:
    x, losses = rows.on(of.bound)
    with torch.no_grad():
        out = of.bound.module(x)
    with torch.enable_grad():
        leaf = out.detach().clone().requires_grad_()
        (residual,) = torch.autograd.grad(losses(leaf).sum(), leaf)
    eye = torch.eye(out.shape[1], dtype=out.dtype, device=out.device)[:, None].expand(-1, len(out), -1)
    second = curved(rows.loss, out, rows.target.to(out.device), eye).transpose(0, 1)
    seen = uses(of.bound.module, of.bound.params, how, x, losses)
    made = seen[-1].parts().get(of.places[0]) if seen else None
    if len(seen) != 1 or not isinstance(made, Factors) or made.a.shape[1:3] != (1, 1) or not torch.allclose(made.d[:, 0, 0], residual):
        raise BadInput("The last layer's outputs are not the model's. Choose influence_function.")
    a = made.a[:, 0, 0]
    a = torch.cat([a, torch.ones_like(a[:, :1])], 1) if len(of.places) > 1 else a
    return Seen(a.double(), residual.double(), second.double())
