"""Gradients of the rows of a batch by one parameter, formed or in factors.

Letters: B rows, T positions in a row, G groups, I and O widths of a group, V entries of a table of vectors of width D.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True)
class Layout:
    """Where the `n` rows of a batch lie in a tensor.

    first: its first dimension is the rows; second: its second is; outer and inner: its first dimension is rows and positions joined, with
    the rows varying slowest (outer) or fastest (inner).
    """

    kind: Literal["first", "outer", "inner", "second"]
    n: int

    def __call__(self, t: torch.Tensor) -> torch.Tensor:
        """Bring the rows to the front, (...) -> (B, ...)."""
        if self.kind == "first":
            return t
        if self.kind == "second":
            return t.movedim(1, 0)
        return t.unflatten(0, (self.n, -1)) if self.kind == "outer" else t.unflatten(0, (-1, self.n)).movedim(1, 0)

    def fits(self, t: torch.Tensor) -> bool:
        """Whether a tensor of this shape can be laid out so."""
        if self.kind == "second":
            return t.dim() > 1 and t.shape[1] == self.n
        return t.dim() > 0 and (t.shape[0] == self.n if self.kind == "first" else t.shape[0] > 0 == t.shape[0] % self.n)


def layout(deltas: Mapping[int, torch.Tensor], n: int) -> Layout | None:
    """Find where the n rows lie in `deltas`, each of which came from the loss of one row alone: elsewhere it is zero. None: nowhere.

    One row is not enough: the middle position of its own, with positions joined before rows, lies where another layout has it.
    """
    for kind in ("first", "second", "outer", "inner"):
        found = Layout(kind, n)
        if all(_apart(found, delta, row) for row, delta in deltas.items()):
            return found
    return None


def _apart(found: Layout, delta: torch.Tensor, row: int) -> bool:
    """Whether a delta lies in its own row and no other; one that is zero everywhere does not speak against it."""
    if not found.fits(delta):
        return False
    own = found(delta).flatten(1).any(1) if delta.dim() > 1 else found(delta) != 0
    return not own.any() or bool(own[row] and own.sum() == 1)


@dataclass(frozen=True)
class Dense:
    """Gradients as they are, (B, size)."""

    g: torch.Tensor

    def dense(self) -> torch.Tensor:
        """Return the gradients, (B, size)."""
        return self.g


@dataclass(frozen=True)
class Factors:
    """Gradients as sums of outer products over positions: inputs `a` (B, T, G, I) and deltas `d` (B, T, G, O)."""

    a: torch.Tensor
    d: torch.Tensor

    def dense(self) -> torch.Tensor:
        """Return the gradients, (B, G * O * I)."""
        if self.a.shape[2] == 1:
            return torch.bmm(self.d[:, :, 0].transpose(1, 2), self.a[:, :, 0]).flatten(1)
        return torch.einsum("btgo,btgi->bgoi", self.d, self.a).flatten(1)


@dataclass(frozen=True)
class Lookup:
    """Gradients of a table of `size` entries: which were looked up, `a` (B, T), and the deltas `d` (B, T, D)."""

    a: torch.Tensor
    d: torch.Tensor
    size: int

    def dense(self) -> torch.Tensor:
        """Return the gradients, (B, V * D)."""
        out = self.d.new_zeros(len(self.d), self.size, self.d.shape[-1])
        return out.scatter_add_(1, self.a[..., None].expand_as(self.d), self.d).flatten(1)


Part = Dense | Factors | Lookup
