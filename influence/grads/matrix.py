"""Products of single rows' gradients: <grad f_q, grad l_i> for all pairs, and each row's square, without whole gradients.

For a layer that is linear in its weights, the gradients of rows q and i are sums of outer products over positions t and u, so their product
is sum over t, u of (a_qt . a_iu)(delta_qt . delta_iu): 2 T² (I + O) operations and no gradient (ghost products). Where rows have many
positions it is cheaper to form the gradients of that layer, (B, I O), and multiply those; each layer takes what costs less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch

from influence.grads.chosen import chosen
from influence.grads.parts import Dense, Factors, Lookup, Part
from influence.grads.rows import Rows, gathered, planned, singly
from influence.grads.sweep import FORMED, WIDE
from influence.grads.uses import Astray, Plan, uses
from influence.loop import Bound
from influence.types import Event, Report, ignore

MEMORY = 512.0
"""MiB that a call takes by default."""
LARGEST = 512
"""Rows in a block of training rows at most: more are no faster."""


class Feature:
    """The gradients of a block of rows by one parameter: in factors if all its uses give some, formed when asked for."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.factors: tuple[torch.Tensor, torch.Tensor] | None = None
        if all(isinstance(p, Lookup) for p in parts):
            self.factors = _joined([p.a for p in parts]), _joined([p.d for p in parts])  # type: ignore[union-attr]
        elif all(isinstance(p, Factors) and p.a.shape[2] == 1 for p in parts):
            self.factors = _joined([p.a[:, :, 0] for p in parts]), _joined([p.d[:, :, 0] for p in parts])  # type: ignore[union-attr]

    @cached_property
    def dense(self) -> torch.Tensor:
        """(B, size)."""
        return sum((p.dense() for p in self.parts[1:]), self.parts[0].dense())

    @property
    def rows(self) -> int:
        """B."""
        return len(self.parts[0].g if isinstance(self.parts[0], Dense) else self.parts[0].d)

    @property
    def positions(self) -> int:
        """T, over all uses."""
        return self.factors[1].shape[1] if self.factors else 1

    @property
    def size(self) -> int:
        """Of the parameter."""
        part = self.parts[0]
        if isinstance(part, Dense):
            return part.g.shape[1]
        return part.d.shape[-1] * (part.size if isinstance(part, Lookup) else part.a.shape[-1] * part.a.shape[-2])

    @property
    def widths(self) -> int:
        """I + O: what a product of two positions costs."""
        return 0 if self.factors is None else self.factors[1].shape[-1] + (1 if self.factors[0].dim() == 2 else self.factors[0].shape[-1])

    @property
    def numbers(self) -> int:
        """How many numbers a row takes."""
        return self.size if self.factors is None else sum(f[0].numel() for f in self.factors)

    def squares(self) -> torch.Tensor:
        """Return |gradient|² of each row, (B,)."""
        if self.factors is None or self.positions * self.widths > 2 * self.size:
            return self.dense.square().sum(1)
        a, d = self.factors
        return (_alike(a, a) * (d @ d.mT)).flatten(1).sum(1)


def _joined(uses: Sequence[torch.Tensor]) -> torch.Tensor:
    """The positions of all uses of a parameter, one after the other."""
    return uses[0] if len(uses) == 1 else torch.cat(list(uses), 1)


def _alike(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Products of what two rows saw at each pair of positions, (B, T, U); of table entries: whether they are the same."""
    return a @ b.mT if a.dim() == 3 else a[:, :, None] == b[:, None, :]


def product(left: Feature, right: Feature) -> torch.Tensor:
    """Return <left_q, right_i>, (Q, B), by pairs of positions or by formed gradients."""
    q = left.rows
    formed = right.size * (q + FORMED * right.positions)
    if left.factors is None or right.factors is None or q * left.positions * right.positions * right.widths > formed:
        return left.dense @ right.dense.T
    (a, d), (b, e) = left.factors, right.factors
    step = max(1, WIDE // (left.positions * e.shape[0] * e.shape[1]))
    found = [_pairs(a[k : k + step], d[k : k + step], b, e) for k in range(0, q, step)]
    return found[0] if len(found) == 1 else torch.cat(found)


def _pairs(a: torch.Tensor, d: torch.Tensor, b: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
    deltas = d.flatten(0, 1) @ e.flatten(0, 1).T
    if a.dim() == 2:
        both = deltas.masked_fill_(a.flatten()[:, None] != b.flatten()[None], 0)
    else:
        both = deltas.mul_(a.flatten(0, 1) @ b.flatten(0, 1).T)
    shape = (len(d), d.shape[1], len(e), e.shape[1])
    return both if shape[1] == shape[3] == 1 else both.view(shape).sum((1, 3))


def features(bound: Bound, rows: Rows, how: Plan) -> dict[int, Feature]:
    """Return what a block of rows has for gradients, by parameter."""
    with torch.no_grad():
        found = {place: Feature(parts) for place, parts in gathered(uses(bound.module, bound.params, how, *rows.on(bound))).items()}
    if how.rest:
        found |= {place: Feature([Dense(g)]) for place, g in singly(bound, rows, how.rest).items()}
    return found


def blocks(bound: Bound, rows: Rows, how: Plan, memory: float, most: int = LARGEST) -> Iterator[tuple[slice, dict[int, Feature]]]:
    """Yield consecutive rows and their features; a block, with its gradients formed layer by layer, takes about `memory` MiB.

    From rows on that cannot be read layer by layer, every row is taken alone.
    """
    start = step = 0
    while start < len(rows):
        try:
            step = step or min(most, fitting(features(bound, rows.cut(slice(0, 1)), how), memory))
            cut = slice(start, min(start + step, len(rows)))
            found = features(bound, rows.cut(cut), how)
        except Astray:
            how, step = how.whole, 0
            continue
        yield cut, found
        start = cut.stop


def fitting(found: Mapping[int, Feature], memory: float) -> int:
    """Return how many rows like the ones seen here take about `memory` MiB, with their gradients formed layer by layer."""
    numbers = sum(f.numbers for f in found.values())
    formed = max((f.size for f in found.values() if f.positions > 1 or f.factors is None), default=0)
    return max(1, int(memory * 2**20 / (8 * (numbers + formed) + 1)))


def products(
    bound: Bound,
    left: Rows,
    right: Rows,
    layers: str | Sequence[str] | None = None,
    memory: float = MEMORY,
    report: Report = ignore,
) -> np.ndarray:
    """Return <grad f_q, grad l_i> for each row q of `left` and i of `right`, (Q, N).

    Raises:
        BadInput: `layers` names none of the model's, or the rows of a batch are not independent.
    """
    out = np.zeros((len(left), len(right)), dtype=str(torch.promote_types(bound.flat.dtype, torch.float32)).removeprefix("torch."))
    places = chosen(bound, layers)
    if not out.size or not places:
        return out
    hows = planned(bound, left, places), planned(bound, right, places)
    for asked, mine in blocks(bound, left, hows[0], memory / 2, most=len(left)):
        for cut, theirs in blocks(bound, right, hows[1], memory / 2):
            with torch.no_grad():
                found = [product(mine[place], theirs[place]) for place in mine.keys() & theirs.keys()]
            if found:
                out[asked, cut] = sum(found[1:], found[0]).cpu().numpy()
            report(Event("products", asked.start * len(right) + cut.stop * (asked.stop - asked.start), len(left) * len(right)))
    return out


def gram(
    bound: Bound, rows: Rows, layers: str | Sequence[str] | None = None, memory: float = MEMORY, report: Report = ignore
) -> np.ndarray:
    """Return <grad l_i, grad l_j>, (N, N)."""
    return products(bound, rows, rows, layers, memory, report)


def self_influence(
    bound: Bound,
    x: object,
    y: torch.Tensor,
    loss: str,
    layers: str | Sequence[str] | None = None,
    memory: float = MEMORY,
    report: Report = ignore,
) -> np.ndarray:
    """Return |grad l_i|² of each row, (N,): how much a step on the row alone lowers its own loss (Pruthi et al., arXiv:2002.08484, 4.1).

    Raises:
        BadInput: `layers` names none of the model's, or the rows of a batch are not independent.
    """
    rows, places = Rows(x, y, loss), chosen(bound, layers)
    out = np.zeros(len(rows), dtype=str(torch.promote_types(bound.flat.dtype, torch.float32)).removeprefix("torch."))
    if not len(rows) or not places:
        return out
    for cut, found in blocks(bound, rows, planned(bound, rows, places), memory):
        with torch.no_grad():
            for feature in found.values():
                out[cut] += feature.squares().cpu().numpy()
        report(Event("self-influence", cut.stop, len(rows)))
    return out
