"""Which patterns of training rows a question's value comes from: every conjunction of two conditions, and the best longer ones.

Scores add up, so the predicted effect of removing a pattern's rows is the sum of theirs (Gopher: Pradhan, Zhu, Glavic and Salimi, SIGMOD
2022, arXiv:2112.09745, which explains bias so; SliceLine: Sagadeeva and Boehm, SIGMOD 2021, for the search). With e_i the improvement
that removing row i is predicted to bring and A a pattern's rows, its effect is the sum of e_i over A. The 95 % interval beside it is that
of N independent rows drawn anew: 1.96 sqrt(N Var(e_i [i in A])) on both sides. It says how much the sum leans on few rows, not
how true the scores are: a retraining says that.

All pairs of conditions on two columns (or two words) are looked at. Longer patterns are grown from the `beam` best of one condition less.
A pattern is listed if

1. it holds between `least` and `most` of the rows, and its interval lies above zero;
2. its effect exceeds that of each of its parts (of every pattern with some of its conditions), and the 95 % interval of the difference,
   which is that of the rows that the added conditions let go, lies above zero: whoever adds a condition must show that it is needed;
3. it shares more than `overlap` of rows (Jaccard) neither with one of its parts, which says nearly the same in fewer words, nor with a
   pattern listed before it, of larger effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd

from influence.conditions import Pattern, rule
from influence.errors import BadInput
from influence.patterns.atoms import Atoms, atoms_of
from influence.types import Event, Report, ignore

Z = 1.96
LOOKED_AT = 5000
"""Patterns of each length, the largest effects first, among which those to list are looked for."""

Places = tuple[int, ...]
"""A pattern by the places of its conditions, ascending."""


@dataclass(frozen=True)
class Suspect:
    """A pattern of n training rows: the summed improvement that removing them is predicted to bring, with its 95 % interval."""

    pattern: Pattern
    n: int
    effect: float
    low: float
    high: float

    @property
    def rule(self) -> str:
        """The pattern as people read it."""
        return rule(self.pattern)

    @property
    def effect_per_row(self) -> float:
        """Mean improvement per row."""
        return self.effect / self.n


@dataclass(frozen=True)
class Sums:
    """Of a pattern's rows: how many, the sum of their effects, and of the squares; in double precision."""

    n: float
    effect: float
    squares: float

    def half(self, rows: int) -> float:
        """Half the width of the 95 % interval of the effect among so many rows."""
        return Z * float(np.sqrt(max(0.0, self.squares - self.effect**2 / rows)))

    def __sub__(self, other: Sums) -> Sums:
        return Sums(self.n - other.n, self.effect - other.effect, self.squares - other.squares)


@dataclass
class Search:
    """Sums over patterns, each computed once. `effect`: (N,), the improvement that removing each row is predicted to bring."""

    atoms: Atoms
    effect: np.ndarray
    least: float
    most: float
    overlap: float = 0.8
    known: dict[Places, Sums] = field(default_factory=dict)
    masks: dict[int, np.ndarray] = field(default_factory=dict)
    tried: int = 0

    def __post_init__(self) -> None:
        self.weights = np.stack([np.ones_like(self.effect), self.effect, self.effect**2])
        said = [str(c) if c.is_ == "with the word" else c.column for c in self.atoms.conditions]  # of a text many words can be said
        self.of_column = np.unique(said, return_inverse=True)[1]

    def pairs(self) -> list[Places]:
        """Sum over all single conditions and pairs; return those of enough rows, single ones first, then by effect."""
        rows, unions = self.atoms.rows, self.atoms.unions
        tables = [unions @ (rows.T @ rows.multiply(weight[:, None]).tocsr()).toarray() @ unions.T for weight in self.weights]
        n, effect, squares = tables
        m = len(unions)
        self.known |= {(i,): Sums(n[i, i], effect[i, i], squares[i, i]) for i in range(m)}
        first, second = np.triu_indices(m, 1)
        # Below both: a condition that the other implies adds nothing.
        inside = (n[first, second] >= self.least) & (n[first, second] < np.minimum(n[first, first], n[second, second]))
        inside &= self.of_column[first] != self.of_column[second]
        first, second = first[inside], second[inside]
        self.tried += m + len(first)
        best = np.argsort(-effect[first, second], kind="stable")[:LOOKED_AT]
        found: list[Places] = [(int(i), int(j)) for i, j in zip(first[best], second[best], strict=True)]
        self.known |= {(i, j): Sums(n[i, j], effect[i, j], squares[i, j]) for i, j in found}
        singles: list[Places] = [(i,) for i in range(m) if n[i, i] >= self.least]
        return singles + found

    def longer(self, patterns: list[Places], beam: int, report: Report) -> list[Places]:
        """Add each condition to the `beam` best of these patterns; return what is of enough rows, by effect."""
        found: set[Places] = set()
        best = sorted(patterns, key=lambda p: -self.known[p].effect)[:beam]
        for k, pattern in enumerate(best):
            report(Event("search", k, len(best), f"Patterns of {len(pattern) + 1} conditions"))
            n, effect, squares = self._within(pattern)
            own = self.known[pattern].n
            other = ~np.isin(self.of_column, self.of_column[list(pattern)])
            for at in np.flatnonzero((n >= self.least) & (n < own) & other).tolist():
                grown = tuple(sorted({*pattern, at}))
                self.known.setdefault(grown, Sums(float(n[at]), float(effect[at]), float(squares[at])))
                found.add(grown)
        self.tried += len(found)
        return sorted(found, key=lambda p: -self.known[p].effect)[:LOOKED_AT]

    def mask(self, pattern: Places) -> np.ndarray:
        """Return which rows a pattern holds, (N,) bool."""
        for at in pattern:
            if at not in self.masks:
                self.masks[at] = self.atoms.rows @ self.atoms.unions[at] > 0
        return np.logical_and.reduce([self.masks[at] for at in pattern])

    def _within(self, pattern: Places) -> tuple[np.ndarray, ...]:
        """Return count, effect and squares of every condition among a pattern's rows, three times (m,)."""
        inside = np.flatnonzero(self.mask(pattern))
        rows = self.atoms.rows[inside]
        return tuple(self.atoms.unions @ (rows.T @ weight[inside]) for weight in self.weights)

    def sums(self, pattern: Places) -> Sums:
        """Return a pattern's sums, computed if they are not known yet."""
        if pattern not in self.known:
            inside = self.mask(pattern)
            self.known[pattern] = Sums(*(float(weight[inside].sum()) for weight in self.weights))
        return self.known[pattern]

    def worth(self, pattern: Places) -> bool:
        """Whether a pattern may be listed: enough rows, an effect above its interval, and above each part's by more than that."""
        own, rows = self.known[pattern], len(self.effect)
        half = own.half(rows)
        if not (self.least <= own.n <= self.most and own.effect > half):
            return False
        parts = [self.sums(part) for size in range(1, len(pattern)) for part in combinations(pattern, size)]
        needed = all(own.effect - part.effect > (part - own).half(rows) for part in parts)
        return needed and all(own.n <= self.overlap * part.n for part in parts)

    def described(self, pattern: Places) -> Suspect:
        """Return a pattern with its figures."""
        own = self.known[pattern]
        half, effect = own.half(len(self.effect)), float(own.effect)
        return Suspect(tuple(self.atoms.conditions[at] for at in pattern), round(own.n), effect, effect - half, effect + half)


def suspects(
    table: pd.DataFrame,
    effect: np.ndarray,
    kinds: Mapping[str, str],
    max_conditions: int = 2,
    least: float = 0.01,
    most: float = 0.5,
    limit: int = 20,
    beside: str = "",
    bins: int = 8,
    terms: int = 300,
    beam: int = 100,
    overlap: float = 0.8,
    report: Report = ignore,
) -> tuple[list[Suspect], int]:
    """Return the patterns of the largest summed improvement, the largest first, and how many were looked at.

    `table`: the columns of N rows in which conditions are looked for. `effect`: (N,), the improvement that removing each row is predicted
    to bring; positive is better. `kinds`: what columns are. `max_conditions`: 1 to 4. `least`, `most`: share of the rows that a pattern
    holds. `beside`: a column that is a condition only beside another (the target). `terms`: words of texts.

    Raises:
        BadInput: lengths differ, an effect is not finite, or no column can be said anything of.
    """
    if len(table) != len(effect) or not np.isfinite(effect).all():
        raise BadInput(f"Effects must be {len(table)} finite numbers, one for each row; got {len(effect)}.")
    n, effect = len(effect), np.asarray(effect, dtype=np.float64)
    report(Event("search", 0, 1, "Patterns of two conditions"))
    atoms = atoms_of(table, kinds, bins, max(1, int(np.ceil(least * n))), max(1, int(most * n)), terms, effect)
    search = Search(atoms, effect, least * n, most * n, overlap)
    level = search.pairs()
    found = [pattern for pattern in level if len(pattern) <= max_conditions]
    level = [pattern for pattern in level if len(pattern) == 2]
    for _ in range(max_conditions - 2):
        level = search.longer(level, beam, report)
        found += level
    alone = {at for at, condition in enumerate(atoms.conditions) if condition.column == beside}
    worth = (p for p in sorted(found, key=lambda p: -search.known[p].effect) if not set(p) <= alone and search.worth(p))
    listed = [search.described(pattern) for pattern in _apart(search, worth, limit)]
    report(Event("search", 1, 1))
    return listed, search.tried


def _apart(search: Search, patterns: Iterator[Places], limit: int) -> Iterator[Places]:
    """Yield the first `limit` patterns, without those that share too many rows with an earlier one."""
    masks: list[np.ndarray] = []
    for pattern in patterns:
        mask = search.mask(pattern)
        if all(int((mask & other).sum()) <= search.overlap * int((mask | other).sum()) for other in masks):
            masks.append(mask)
            yield pattern
        if len(masks) == limit:
            return
