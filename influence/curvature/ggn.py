"""Products with the Gauss-Newton matrix and the Hessian of the training loss, without forming them.

The Gauss-Newton matrix G = 1/n sum_i J_i^T H_i J_i, with J_i the Jacobian of row i's outputs and H_i the second derivative of its loss by
them, is positive semi-definite whatever the model, and equals the Hessian where the outputs are linear in the parameters (Schraudolph,
doi:10.1162/08997660260028683; Martens, arXiv:1412.1193). One forward-mode and one reverse-mode pass give a product; where an operation
has no forward mode, J v is the derivative of u -> <J^T u, v>.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.func import functional_call, jvp

from influence.curvature.outputs import curved
from influence.grads.chosen import chosen, mask
from influence.grads.query import slices
from influence.grads.rows import Rows
from influence.grads.uses import only
from influence.grads.whole import plain_operations
from influence.loop import Bound

ROWS = 512
"""Rows in memory at a time."""
WIDE = 8192
"""Rows times directions that are in memory at a time."""
TOGETHER = 32
"""Directions multiplied at a time."""
KEPT = 2**30
"""Bytes that a graph may take that is kept for many products."""
FEW = 4
"""Rows by which it is foretold how large a graph is."""

Push = Callable[[Any, torch.Tensor], torch.Tensor]
"""Rows and directions (Q, P) to tangents of the outputs, (Q, B, C)."""


@dataclass(frozen=True)
class Objective:
    """What training minimised: (sum of the rows' losses) / n + decay / 2 |theta|².

    `rows`: those that training saw. `n`: the number of places in training, those of removed rows included. `layers`: whose parameters are
    asked about (`grads.chosen`); the others are constants.
    """

    bound: Bound
    rows: Rows
    ids: np.ndarray
    n: int
    decay: float = 0.0
    layers: str = "all"

    @cached_property
    def places(self) -> list[int]:
        """The places of the parameters that are asked about."""
        return chosen(self.bound, self.layers)

    @cached_property
    def mask(self) -> torch.Tensor:
        """Which entries of a flat vector are asked about, (P,) bool."""
        return mask(self.bound, self.layers)

    @property
    def params(self) -> list[torch.nn.Parameter]:
        """The parameters that are asked about."""
        return [self.bound.params[k] for k in self.places]


def gradient(of: Objective) -> torch.Tensor:
    """Return the gradient of the rows' part of the objective (without decay), (P,)."""
    of.bound.module.eval()
    total = torch.zeros_like(of.bound.flat)
    for cut in slices(of.rows.target, WIDE):
        x, losses = of.rows.cut(cut).on(of.bound)
        with only(of.bound.params, of.places), torch.enable_grad():
            loss = losses(of.bound.module(x)).sum() / of.n
            total += _joined(of, torch.autograd.grad(loss, of.params, allow_unused=True))
    return total


def ggn(of: Objective, v: torch.Tensor) -> torch.Tensor:
    """Return (G + decay) v for directions (Q, P)."""
    push = pushed(of.bound, of.places)

    def product(rows: Rows, w: torch.Tensor) -> torch.Tensor:
        x, _ = rows.on(of.bound)
        tangents = push(x, w)
        with only(of.bound.params, of.places), torch.enable_grad():
            out = of.bound.module(x)
            back = curved(rows.loss, out.detach(), rows.target.to(out.device), tangents) / of.n
            return _pulled(of, [out], [back])

    return _product(of, v, product)


def _product(of: Objective, v: torch.Tensor, product: Callable[[Rows, torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Sum a product over all rows, some directions at a time."""
    of.bound.module.eval()
    v = v * of.mask
    total = of.decay * v
    for some in slices(v, TOGETHER):
        for cut in slices(of.rows.target, max(1, min(ROWS, WIDE // len(v[some])))):
            total[some] += product(of.rows.cut(cut), v[some])
    return total


def kept(of: Objective) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return products (G + decay) v for (Q, P) at the weights of now, which go once forward for all of them; the weights must stay.

    A product differentiates the kept graph twice: a third to a sixth of the time of `ggn` for small models. Where the graph would be large,
    or cannot be differentiated twice, it is `ggn`.
    """
    try:
        if _graph_bytes(of) * len(of.rows) > KEPT:
            return lambda v: ggn(of, v)
        graph = _Graph(of, of.rows)
        graph(torch.zeros_like(of.bound.flat))
    except RuntimeError:  # an operation without a second derivative
        return lambda v: ggn(of, v)
    return lambda v: of.decay * v * of.mask + torch.stack([graph(w) for w in v * of.mask])


class _Graph:
    """Rows' outputs, and their pull J^T u as a function of u, as graphs that can be differentiated again and again."""

    def __init__(self, of: Objective, rows: Rows) -> None:
        self.of, self.rows = of, rows
        of.bound.module.eval()
        with plain_operations(of.bound.module), only(of.bound.params, of.places), torch.enable_grad():
            self.out = of.bound.module(rows.on(of.bound)[0])
            self.u = torch.zeros_like(self.out, requires_grad=True)
            self.pull = torch.autograd.grad(self.out, of.params, self.u, create_graph=True, allow_unused=True)

    def __call__(self, v: torch.Tensor) -> torch.Tensor:
        """Return G v of one direction, (P,)."""
        views = self.of.bound.views(v)
        reached = [(g, views[k]) for k, g in zip(self.of.places, self.pull, strict=True) if g is not None]
        (tangent,) = torch.autograd.grad([g for g, _ in reached], self.u, [along for _, along in reached], retain_graph=True)
        back = curved(self.rows.loss, self.out.detach(), self.rows.target.to(self.out.device), tangent[None])[0] / self.of.n
        return _joined(self.of, torch.autograd.grad(self.out, self.of.params, back, retain_graph=True, allow_unused=True))


def _graph_bytes(of: Objective) -> float:
    """Return how many bytes a row takes in such a graph."""
    sizes = []

    def pack(t: torch.Tensor) -> torch.Tensor:
        sizes.append(t.numel() * t.element_size())
        return t

    few = of.rows.cut(slice(0, FEW))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        _Graph(of, few)
    return sum(sizes) / len(few)


def _pulled(of: Objective, outs: Sequence[torch.Tensor], by: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return sum of J^T u for u (Q, ...) of every output, (Q, P)."""
    try:
        found = torch.autograd.grad(outs, of.params, by, retain_graph=True, allow_unused=True, is_grads_batched=True)
        return _joined(of, found, len(by[0]))
    except RuntimeError:  # an operation that cannot be batched over directions
        one = [torch.autograd.grad(outs, of.params, [b[q] for b in by], retain_graph=True, allow_unused=True) for q in range(len(by[0]))]
        return torch.stack([_joined(of, grads) for grads in one])


def _joined(of: Objective, found: Sequence[torch.Tensor | None], q: int | None = None) -> torch.Tensor:
    """Put gradients by the chosen parameters at their places, zeros elsewhere, (P,) or (Q, P)."""
    total = torch.zeros(*(() if q is None else (q,)), len(of.bound.flat), dtype=of.bound.flat.dtype, device=of.bound.device)
    views = of.bound.views(total)
    for k, g in zip(of.places, found, strict=True):
        if g is not None:
            views[k].copy_(g.detach())
    return total


def pushed(bound: Bound, places: Sequence[int]) -> Push:
    """Return J v by forward mode, or by differentiating a gradient from the first time that fails."""
    ways = [_forward, _backward]

    def push(x: Any, v: torch.Tensor) -> torch.Tensor:
        with plain_operations(bound.module):
            if len(ways) > 1:
                try:
                    return ways[0](bound, places, x, v)
                except (NotImplementedError, RuntimeError):  # functorch has no one error for "no forward mode"
                    del ways[0]
            return ways[0](bound, places, x, v)

    return push


def _forward(bound: Bound, places: Sequence[int], x: Any, v: torch.Tensor) -> torch.Tensor:
    params = {bound.names[k]: bound.params[k].detach() for k in places}
    along = {bound.names[k]: bound.views(v)[k] for k in places}

    def at(p: dict[str, torch.Tensor]) -> torch.Tensor:
        return functional_call(bound.module, p, (x,))

    with torch.no_grad():
        return torch.vmap(lambda w: jvp(at, (params,), (w,))[1])(along)


def _backward(bound: Bound, places: Sequence[int], x: Any, v: torch.Tensor) -> torch.Tensor:
    with only(bound.params, places), torch.enable_grad():
        out = bound.module(x)
        u = torch.zeros_like(out, requires_grad=True)
        grads = torch.autograd.grad(out, [bound.params[k] for k in places], u, create_graph=True, allow_unused=True)
        rows = []
        for w in v:
            along = [bound.views(w)[k] for k in places]
            total = torch.stack([(g * a).sum() for g, a in zip(grads, along, strict=True) if g is not None]).sum()
            rows.append(torch.autograd.grad(total, u, retain_graph=True)[0])
        return torch.stack(rows)
