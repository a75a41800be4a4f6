"""EK-FAC: the Gauss-Newton matrix, block by block in a Kronecker-factored eigenbasis whose eigenvalues are fitted there.

George, Laurent, Bouthillier, Ballas and Vincent, arXiv:1806.03884; for influence functions Grosse et al., arXiv:2308.03296, section 2.
For a layer with inputs a and deltas d, K-FAC takes E[a a^T] x E[d d^T] for the curvature; EK-FAC keeps the eigenvectors of the two and
fits every eigenvalue, E[(U_d^T g U_a)²]. Deltas come from a root of each row's second derivative by its outputs (`outputs.py`): for
cross-entropy, the Fisher information under the model's own predictions, exact over the classes where they and the rows are few. Nothing
is drawn in sequence: the factors are a function of model, rows and settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from influence.curvature.blocks import Block, Shape, matrices, put
from influence.curvature.blocks import shapes as layered
from influence.curvature.ggn import Objective
from influence.curvature.outputs import root
from influence.grads.parts import Dense, Factors, Lookup, Part
from influence.grads.query import slices
from influence.grads.rows import Rows, gathered, planned, singly
from influence.grads.uses import Plan, uses
from influence.types import Event, Report, ignore

VERSION = 3
ROWS = 128
"""Rows read at a time."""
FORMED = 2**24
"""Numbers that gradients of rows, formed in the eigenbasis, may take at a time."""

Bases = list[tuple[torch.Tensor | None, torch.Tensor | None]]


@dataclass(frozen=True)
class EKFAC:
    """The blocks, and the weight decay of the objective, which is part of the matrix."""

    of: Objective
    blocks: list[Block]

    def apply(self, v: torch.Tensor, function: Callable[[Block], torch.Tensor]) -> torch.Tensor:
        """Multiply directions (Q, P) by f(eigenvalues), (G, O, I) of each block; parameters that were not asked about give 0."""
        found = torch.zeros_like(v)
        given, taken = self.of.bound.views(v), self.of.bound.views(found)
        for block in self.blocks:
            put(block.shape, block.out(block.into(matrices(block.shape, given)) * function(block)), taken)
        return found

    def solve(self, v: torch.Tensor, damping: float) -> torch.Tensor:
        """Return (F + decay + damping)^-1 v."""
        return self.apply(v, lambda block: 1 / (block.values + self.of.decay + damping))

    def spectrum(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return all eigenvalues (without decay), and the rows' mean squared gradients along the same directions, (P,) each."""
        return tuple(torch.cat([getattr(b, name).flatten() for b in self.blocks]) for name in ("values", "spread"))  # type: ignore[return-value]


def fit(of: Objective, folder: Path | None = None, seed: int = 0, report: Report = ignore) -> EKFAC:
    """Fit the factors in two passes over the rows. A `folder` keeps both passes' results; a finished pass is not taken again."""
    how = planned(of.bound, of.rows, of.places)
    few = of.rows.cut(torch.arange(3) % len(of.rows)).on(of.bound)
    shapes = layered(of.bound.params, of.places, uses(of.bound.module, of.bound.params, how, *few))
    passes = _Passes(of, how, shapes, seed, report)
    bases = _kept(folder, "bases", of.bound.device, lambda: _named(passes.bases()))
    turned = [(bases.get(f"{k}.left"), bases.get(f"{k}.right")) for k in range(len(shapes))]
    found = _kept(folder, "values", of.bound.device, lambda: passes.values(turned))
    blocks = [Block(s, *turned[k], found[f"{k}.values"], found[f"{k}.spread"]) for k, s in enumerate(shapes)]
    return EKFAC(of, blocks)


def _named(bases: Bases) -> dict[str, torch.Tensor]:
    sides = {f"{k}.{side}": t for k, both in enumerate(bases) for side, t in zip(("left", "right"), both, strict=True)}
    return {name: t.contiguous() for name, t in sides.items() if t is not None}


def _kept(folder: Path | None, name: str, device: torch.device, make: Callable[[], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    if folder is None:
        return make()
    path = folder / f"{name}.safetensors"
    if not path.exists():
        temporary = folder / f"{name}.tmp"
        save_file(make(), temporary)
        temporary.replace(path)
    return load_file(path, device=str(device))


@dataclass(frozen=True)
class _Passes:
    """Walks over the rows, with one backward pass for each column of the root."""

    of: Objective
    how: Plan
    shapes: Sequence[Shape]
    seed: int
    report: Report

    def bases(self) -> Bases:
        """Return each block's eigenvectors, of the second moments of its two sides."""
        sums: list[dict[str, torch.Tensor]] = [{} for _ in self.shapes]
        for rows, _ in self._asked("bases", real=False):
            seen = self._seen(rows)
            for shape, total in zip(self.shapes, sums, strict=True):
                for side, moment in _moments(shape, seen.get(shape.places[0], [])).items():
                    total[side] = total[side] + moment if side in total else moment
        vectors = [{side: torch.linalg.eigh(m)[1] for side, m in total.items()} for total in sums]
        return [(both.get("left"), both.get("right")) for both in vectors]

    def values(self, bases: Bases) -> dict[str, torch.Tensor]:
        """Return each block's mean squared gradients in its eigenbasis, of the predictions (values) and of the rows (spread)."""
        flat = self.of.bound.flat
        sums = {f"{k}.{name}": flat.new_zeros(s.size) for k, s in enumerate(self.shapes) for name in ("values", "spread")}
        for rows, real in self._asked("values", real=True):
            seen = self._seen(rows)
            whole = singly(self.of.bound, rows, self.how.rest) if self.how.rest else {}
            seen |= {place: [Dense(g)] for place, g in whole.items()}
            for k, shape in enumerate(self.shapes):
                if shape.places[0] in seen:
                    sums[f"{k}.{'spread' if real else 'values'}"] += _squares(shape, seen[shape.places[0]], *bases[k])
        return {name: total / self.of.n for name, total in sums.items()}

    def _asked(self, stage: str, real: bool) -> Iterator[tuple[Rows, bool]]:
        """Yield each batch once for every column of the root; `real`: then with the rows' own losses, marked True."""
        of = self.of
        for cut in slices(of.rows.target, ROWS):
            rows = of.rows.cut(cut)
            with torch.no_grad():
                out = of.bound.module(rows.on(of.bound)[0])
                columns = root(rows.loss, out, rows.target.to(out.device), of.ids[cut], self.seed, len(of.rows))
            for column in columns:
                yield Rows(rows.x, column, "linear"), False
            if real:
                yield rows, True
            self.report(Event(stage, cut.stop, len(of.rows)))

    def _seen(self, rows: Rows) -> dict[int, list[Part]]:
        return gathered(uses(self.of.bound.module, self.of.bound.params, self.how, *rows.on(self.of.bound)))


def _joined(shape: Shape, parts: Sequence[Part]) -> tuple[torch.Tensor, torch.Tensor]:
    """Join the uses of a weight as further positions: inputs (B, T, G, I), with the bias's 1, and deltas (B, T, G, O)."""
    a, d = (torch.cat([getattr(one, side) for one in parts], 1) for side in ("a", "d"))
    return (torch.cat([a, torch.ones_like(a[..., :1])], -1) if shape.bias else a), d


def _moments(shape: Shape, parts: Sequence[Part]) -> dict[str, torch.Tensor]:
    """Return the sums of outer products of each side that has a basis."""
    if not parts or not shape.sides:
        return {}
    if isinstance(parts[0], Factors):
        a, d = _joined(shape, parts)
        return {"left": torch.einsum("btgo,btgp->gop", d, d), "right": torch.einsum("btgi,btgj->gij", a, a)}
    if shape.table:
        d = torch.cat([one.d for one in parts], 1).flatten(0, 1)  # type: ignore[union-attr]
        return {"right": (d.T @ d)[None]}
    g = sum(one.dense() for one in parts)
    return {"right": (g.T @ g)[None]}  # type: ignore[union-attr]


def _squares(shape: Shape, parts: Sequence[Part], left: torch.Tensor | None, right: torch.Tensor | None) -> torch.Tensor:
    """Return the sum over rows of their squared gradients in the eigenbasis, (G, O, I)."""
    if left is not None and right is not None:
        a, d = _joined(shape, parts)
        a, d = torch.einsum("btgi,gij->btgj", a, right), torch.einsum("btgo,gop->btgp", d, left)
        if a.shape[1] == 1:
            return torch.einsum("btgo,btgi->goi", d.square(), a.square())
        step = max(1, FORMED // (a.shape[2] * a.shape[3] * d.shape[3]))
        both = zip(a.split(step), d.split(step), strict=True)
        return torch.stack([torch.einsum("btgo,btgi->bgoi", e, b).square().sum(0) for b, e in both]).sum(0)
    if shape.table and right is not None:
        return _table(shape, parts, right[0])  # type: ignore[arg-type]
    g = sum(one.dense() for one in parts)
    return (g if right is None else g @ right[0]).square().sum(0).view(shape.size)  # type: ignore[operator, union-attr]


def _table(shape: Shape, parts: Sequence[Lookup], right: torch.Tensor) -> torch.Tensor:
    """Rows' squared gradients of a table: what a row looked up several times is added up before it is squared."""
    _, entries, width = shape.size
    a, d = torch.cat([one.a for one in parts], 1), torch.cat([one.d for one in parts], 1) @ right
    keys, place = torch.unique(torch.arange(len(a), device=a.device)[:, None] * entries + a, return_inverse=True)
    sums = d.new_zeros(len(keys), width).index_add_(0, place.flatten(), d.flatten(0, 1))
    return d.new_zeros(entries, width).index_add_(0, keys % entries, sums.square())[None]
