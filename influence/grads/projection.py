"""Sparse random projections of gradients: inner products are kept on average, and no matrix of P x k numbers is ever made.

Each of the P coordinates goes to s of the k places, one in each of s blocks of k / s, with a random sign and the weight 1 / sqrt(s): the
sparse Johnson-Lindenstrauss transform of Kane and Nelson (arXiv:1012.1577, block construction; s = 1 is the count sketch; random signs:
Achlioptas, JCSS 2003). For R of this kind E<Rg, Rh> = <g, h>, with a standard deviation of at most sqrt(2 / k) |g| |h|. Places and signs
are keyed by seed, parameter and coordinate, so a question asked tomorrow is projected as the rows were.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from influence.grads.chosen import chosen
from influence.grads.matrix import blocks
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
    """Projects gradients of a model, parameter by parameter, to `dimension` places in all."""

    dimension: int
    seed: int = 0
    nonzeros: int = 4

    def of_rows(self, bound: Bound, rows: Rows, memory: float = 512, report: Report = ignore) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield consecutive rows and their projected gradients, (B, dimension)."""
        places = chosen(bound)
        parts = self._parts(bound)
        for cut, found in blocks(bound, rows, planned(bound, rows, places), memory):
            with torch.no_grad():
                yield cut, sum((parts[k](feature.dense) for k, feature in found.items()), torch.zeros(()))
            report(Event("project", cut.stop, len(rows)))

    def of_vectors(self, bound: Bound, v: torch.Tensor) -> torch.Tensor:
        """Project whole gradients, (Q, P) -> (Q, dimension)."""
        views, parts = bound.views(v), self._parts(bound)
        return sum((parts[k](views[k].flatten(1)) for k in chosen(bound)), torch.zeros(()))

    def _parts(self, bound: Bound) -> list[Sparse]:
        named = zip(bound.names, bound.params, strict=True)
        return [Sparse(p.numel(), self.dimension, self.seed, name, self.nonzeros) for name, p in named]
