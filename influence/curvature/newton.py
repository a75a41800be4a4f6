"""Exact Newton steps for a linear head: what removing rows does to the last layer, its inputs held fixed.

With inputs a_i (a 1 for the bias among them), residuals r_i = dl_i/d(output) and second derivatives H_i by the outputs, the head's Hessian
is H = 1/n sum_i H_i x a_i a_i^T + ridge. Without a set S of rows, one Newton step moves the head by

    (n H - sum_S H_i x a_i a_i^T)^-1 sum_S r_i a_i^T

which for one row needs no new solve: with S_i = J_i (n H)^-1 J_i^T, the row's leverage, the step changes F by u_i^T (I - H_i S_i)^-1 r_i
where u_i = J_i (n H)^-1 grad F. The influence function is the same without the leverage (Pregibon, doi:10.1214/aos/1176345513, for
logistic regression; rescaled influence functions, arXiv:2506.06656; Newton steps for sets, arXiv:2512.12572).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from influence.curvature.ggn import Objective
from influence.curvature.outputs import curved
from influence.errors import BadInput
from influence.grads.chosen import owners
from influence.grads.parts import Factors
from influence.grads.query import slices
from influence.grads.rows import Rows, planned
from influence.grads.uses import uses
from influence.loop import Bound

LARGEST = 8192
"""Most parameters of a head whose Hessian is formed."""
ROWS = 512


@dataclass(frozen=True)
class Head:
    """The last layer seen by all rows, in float64: inputs (N, I), residuals (N, C), second derivatives (N, C, C); I counts the bias."""

    of: Objective
    ridge: float
    a: torch.Tensor
    residual: torch.Tensor
    second: torch.Tensor

    @cached_property
    def root(self) -> torch.Tensor:
        """Cholesky factor of n H, (C I, C I), parameters ordered by output, then input.

        Raises:
            BadInput: the Hessian is singular.
        """
        c, i = self.residual.shape[1], self.a.shape[1]
        whole = self.of.n * self.ridge * torch.eye(c * i, dtype=self.a.dtype, device=self.a.device)
        return _root(whole + self._summed())

    def _summed(self) -> torch.Tensor:
        """Return the sum of all rows' second derivatives by the head, (C I, C I)."""
        a, second = self.a, self.second
        c, i = second.shape[1], a.shape[1]
        total = a.new_zeros(c, i, c, i)
        for k in range(c):
            for j in range(k, c):
                total[k, :, j] = total[j, :, k] = a.T @ (second[:, k, j, None] * a)
        return total.view(c * i, c * i)

    def removals(self, v: torch.Tensor) -> torch.Tensor:
        """Return the predicted change of each value if a row is removed, (N, Q), for gradients (Q, P); exact but for higher order."""
        c = self.residual.shape[1]
        moved = torch.cholesky_solve(self.gathered(v).T, self.root).T.view(len(v), c, -1)
        u = torch.einsum("ni,qci->nqc", self.a, moved)
        eye = torch.eye(c, dtype=self.a.dtype, device=self.a.device)
        lasting = torch.linalg.solve(eye - self.second @ self.leverages, self.residual[..., None])
        return (u @ lasting)[..., 0]

    @cached_property
    def leverages(self) -> torch.Tensor:
        """J_i (n H)^-1 J_i^T of every row, (N, C, C)."""
        c, i = self.residual.shape[1], self.a.shape[1]
        inverse = torch.cholesky_inverse(self.root).view(c, i, c, i)
        found = self.a.new_zeros(len(self.a), c, c)
        for k in range(c):
            for j in range(k, c):
                found[:, k, j] = found[:, j, k] = ((self.a @ inverse[k, :, j]) * self.a).sum(1)
        return found

    def gathered(self, v: torch.Tensor) -> torch.Tensor:
        """Return the head's part of directions (Q, P), (Q, C I)."""
        views = self.of.bound.views(v)
        parts = [views[k].reshape(len(v), self.residual.shape[1], -1) for k in self.of.places]
        return torch.cat(parts, -1).flatten(1).to(self.a.dtype)

    def spread(self, w: torch.Tensor) -> torch.Tensor:
        """Put head directions (Q, C I) at their places, zeros elsewhere, (Q, P)."""
        flat = self.of.bound.flat
        total = torch.zeros(len(w), len(flat), dtype=flat.dtype, device=flat.device)
        views, m = self.of.bound.views(total), w.view(len(w), self.residual.shape[1], -1).to(flat.dtype)
        start = 0
        for k in self.of.places:
            width = self.of.bound.params[k][0].numel()
            views[k].copy_(m[..., start : start + width].reshape(views[k].shape))
            start += width
        return total


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
    """Read what the last layer sees of every row; `ridge` stands for decay and damping together.

    Raises:
        BadInput: the last layer's outputs are not the model's.
    """
    how = planned(of.bound, of.rows, of.places)
    found = [_seen(of, how, of.rows.cut(cut)) for cut in slices(of.rows.target, ROWS)]
    return Head(of, ridge, *(torch.cat(each) for each in zip(*found, strict=True)))


def _seen(of: Objective, how: object, rows: Rows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, losses = rows.on(of.bound)
    with torch.no_grad():
        out = of.bound.module(x)
    with torch.enable_grad():
        leaf = out.detach().clone().requires_grad_()
        (residual,) = torch.autograd.grad(losses(leaf).sum(), leaf)
    eye = torch.eye(out.shape[1], dtype=out.dtype, device=out.device)[:, None].expand(-1, len(out), -1)
    second = curved(rows.loss, out, rows.target.to(out.device), eye).transpose(0, 1)
    seen = uses(of.bound.module, of.bound.params, how, x, losses)  # type: ignore[arg-type]
    made = seen[-1].parts().get(of.places[0]) if seen else None
    if len(seen) != 1 or not isinstance(made, Factors) or made.a.shape[1:3] != (1, 1) or not torch.allclose(made.d[:, 0, 0], residual):
        raise BadInput("The last layer's outputs are not the model's. Choose influence_function.")
    a = made.a[:, 0, 0]
    a = torch.cat([a, torch.ones_like(a[:, :1])], 1) if len(of.places) > 1 else a
    return a.double(), residual.double(), second.double()
