"""Sparse random projections of gradients: inner products are kept on average, and no matrix of P x k numbers is ever made.

Each of the P coordinates goes to s of the k places, one in each of s blocks of k / s, with a random sign and the weight 1 / sqrt(s): the
sparse Johnson-Lindenstrauss transform of Kane and Nelson (arXiv:1012.1577, block construction; s = 1 is the count sketch; random signs:
Achlioptas, JCSS 2003). For R of this kind E<Rg, Rh> = <g, h>, with a standard deviation of at most sqrt(2 / k) |g| |h|. Places and signs
are keyed by seed, parameter and coordinate, so a question asked tomorrow is projected as the rows were.

*Factored* (LoGra, arXiv:2405.13954): for a layer whose gradient is a sum of outer products of inputs a and deltas d, both are projected
first, a to k_in and d to k_out places, and only their small product is formed: P_in and P_out being independent, inner products are still
kept on average, but their deviation is sqrt(1 / k_in + 1 / k_out), much more than that of a flat projection to k_in k_out places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from influence.grads.chosen import chosen
from influence.grads.matrix import Feature, blocks
from influence.grads.rows import Rows, planned
from influence.keyed import keys
from influence.loop import Bound
from influence.types import Event, Report, ignore


@dataclass(frozen=True)
class Sparse:
    """A sparse projection of `size` coordinates to `dimension` places; `name` tells those of one seed apart."""

    size: int
    dimension: int
    seed: int = 0
    name: str = ""
    nonzeros: int = 4

    @cached_property
    def places(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each block: where its coordinates go, (size,) int64, and with which sign, (size,) int8."""
        s = min(self.nonzeros, self.dimension)
        edges = [self.dimension * b // s for b in range(s + 1)]
        found = []
        for b in range(s):
            words = keys(self.seed, f"projection {self.name} {b}", np.arange(self.size))
            width = edges[b + 1] - edges[b]
            at = edges[b] + ((words >> np.uint64(1)) % np.uint64(width)).astype(np.int64)
            found.append((torch.from_numpy(at), torch.from_numpy(1 - 2 * (words & np.uint64(1)).astype(np.int8))))
        return found

    def __call__(self, g: torch.Tensor) -> torch.Tensor:
        """Project vectors, (..., size) -> (..., dimension)."""
        flat = g.reshape(-1, self.size).T
        out = torch.zeros(self.dimension, flat.shape[1], dtype=g.dtype, device=g.device)
        for at, sign in self.places:
            out.index_add_(0, at.to(g.device), flat * sign.to(g.device, g.dtype)[:, None])
        return (out / math.sqrt(len(self.places))).T.reshape(*g.shape[:-1], self.dimension)


@dataclass(frozen=True)
class Projection:
    """Projects gradients of a model, parameter by parameter, to `dimension` places in all.

    `factored`: the width to which inputs and deltas are projected each before they are multiplied, where that makes them smaller; None:
    never.
    """

    dimension: int
    seed: int = 0
    factored: int | None = None
    nonzeros: int = 4

    def of_rows(self, bound: Bound, rows: Rows, memory: float = 512, report: Report = ignore) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield consecutive rows and their projected gradients, (B, dimension)."""
        places = chosen(bound)
        parts = self._parts(bound)
        for cut, found in blocks(bound, rows, planned(bound, rows, places), memory):
            with torch.no_grad():
                yield cut, sum((parts[k].of_feature(feature) for k, feature in found.items()), torch.zeros(()))
            report(Event("project", cut.stop, len(rows)))

    def of_vectors(self, bound: Bound, v: torch.Tensor) -> torch.Tensor:
        """Project whole gradients, (Q, P) -> (Q, dimension)."""
        views, parts = bound.views(v), self._parts(bound)
        return sum((parts[k].of_vectors(views[k].flatten(1)) for k in chosen(bound)), torch.zeros(()))

    def _parts(self, bound: Bound) -> list[_Parameter]:
        return [_Parameter(self, name, p.shape) for name, p in zip(bound.names, bound.params, strict=True)]


@dataclass(frozen=True)
class _Parameter:
    """The projection of one parameter's gradients."""

    of: Projection
    name: str
    shape: torch.Size

    @cached_property
    def widths(self) -> tuple[int, int] | None:
        """O and I of a weight that is projected in factors."""
        if self.of.factored is None or len(self.shape) < 2:
            return None
        out, inner = self.shape[0], math.prod(self.shape[1:])
        return (out, inner) if min(out, self.of.factored) * min(inner, self.of.factored) < out * inner else None

    def _sparse(self, size: int, dimension: int, what: str = "") -> Callable[[torch.Tensor], torch.Tensor]:
        if dimension >= size and what:
            return lambda g: g
        return Sparse(size, dimension, self.of.seed, f"{self.name} {what}".strip(), self.of.nonzeros)

    @cached_property
    def sides(self) -> tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]:
        """Projections of deltas and of inputs."""
        assert self.widths is not None
        assert self.of.factored is not None
        (out, inner), most = self.widths, self.of.factored
        return self._sparse(out, most, "deltas"), self._sparse(inner, most, "inputs")

    @cached_property
    def last(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Projection to the dimension."""
        size = math.prod(self.shape) if self.widths is None else math.prod(min(w, self.of.factored or w) for w in self.widths)
        return self._sparse(size, self.of.dimension)

    def of_vectors(self, g: torch.Tensor) -> torch.Tensor:
        """Project gradients, (B, size) -> (B, dimension)."""
        if self.widths is None:
            return self.last(g)
        deltas, inputs = self.sides
        return self.last(deltas(inputs(g.unflatten(1, self.widths)).mT).mT.flatten(1))

    def of_feature(self, feature: Feature) -> torch.Tensor:
        """Project the rows of a block, (B, dimension)."""
        if self.widths is None or feature.factors is None or feature.factors[0].dim() == 2:
            return self.of_vectors(feature.dense)
        a, d = feature.factors
        deltas, inputs = self.sides
        return self.last((deltas(d).mT @ inputs(a)).flatten(1))
