"""Conjugate gradients for several right-hand sides at once, with a preconditioner (Hestenes and Stiefel, doi:10.6028/jres.049.044)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from influence.types import Event, Report, ignore

Product = Callable[[torch.Tensor], torch.Tensor]
"""A symmetric positive definite matrix, applied to each row of (Q, P)."""


@dataclass(frozen=True)
class Solved:
    """Solutions (Q, P), the relative residual |A x - b| / |b| of each, (Q,), and how many products were taken."""

    x: torch.Tensor
    residual: torch.Tensor
    iterations: int


def cg(
    product: Product,
    b: torch.Tensor,
    precondition: Product | None = None,
    iterations: int = 20,
    tolerance: float = 1e-3,
    report: Report = ignore,
) -> Solved:
    """Solve A x = b for each row of b, (Q, P), until every relative residual is below `tolerance` or `iterations` are over.

    `precondition` applies an approximate inverse of A. Each event's metrics have the largest relative residual; a note says so where the
    tolerance was not reached. Of each solution the last iterate is returned at which x^T A x / 2 - b^T x fell, or the residual: the former
    falls with every product until rounding hides it, while the residual of a solve that ends early can be larger than at the start.
    """
    turn = precondition or (lambda r: r)
    scale = b.norm(dim=1).clamp(min=torch.finfo(b.dtype).tiny)
    x, r = torch.zeros_like(b), b.clone()
    best, least = x.clone(), torch.where(b.norm(dim=1) > 0, 1.0, 0.0).to(b.dtype)
    lowest = torch.zeros_like(least)
    z = turn(r)
    p, rz = z.clone(), (r * z).sum(1)
    done = 0
    while done < iterations and bool((least > tolerance).any()):
        ap = product(p)
        step = _ratio(rz, (p * ap).sum(1))
        x, r = x + step * p, r - step * ap
        z = turn(r)
        rz, before = (r * z).sum(1), rz
        p = z + _ratio(rz, before) * p
        done += 1
        energy, now = -(x * (b + r)).sum(1) / 2, r.norm(dim=1) / scale
        better = (energy < lowest) | (now < least)
        best[better], least, lowest = x[better], torch.where(better, now, least), torch.minimum(lowest, energy)
        finished = done == iterations or not bool((least > tolerance).any())
        report(
            Event(
                "cg",
                iterations if finished else done,
                iterations,
                _note(least, tolerance, finished),
                {"relative residual": float(least.max())},
            )
        )
    return Solved(best, least, done)


def _ratio(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Quotients, and 0 where b is not positive: that row is solved, or as far as its precision goes."""
    return torch.where(b > 0, a / b.clamp(min=torch.finfo(b.dtype).tiny), 0.0)[:, None]


def _note(residual: torch.Tensor, tolerance: float, finished: bool) -> str:
    missed = int((residual > tolerance).sum())
    if not finished or not missed:
        return ""
    return (
        f"{missed} of {len(residual)} solves did not reach the tolerance {tolerance:g}; the largest relative residual is "
        f"{float(residual.max()):.2g}. Allow more iterations or a larger damping."
    )
