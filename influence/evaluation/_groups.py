"""Estimates of several groups, and 95 % intervals of what is read off all of them at once: the largest gap, the worst group.

A gap is the largest difference over all pairs of groups. Drawn anew from the data, such a maximum comes out too large on average: the
percentiles of a bootstrap never reach 0 where the groups are truly equal. So the interval is made from those of the pairs. Upwards, the
largest gap is that of one pair, and is below that pair's limit 97.5 times of 100. Downwards, the limit of the pair that happens to look
largest must hold for all pairs at once, which is what the studentised range gives (Tukey, Kramer). A pair's limits are those of its two
groups, squared and added (Newcombe, Statistics in Medicine 1998; for means Zou and Donner, Statistics in Medicine 2008).
With two groups the interval is Newcombe's, folded at 0; with more it holds at least as often as it says.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import stats

from influence.evaluation._tables import NONE, Interval, Z, wilson_limits
from influence.groups import FEWEST

Limits = Callable[[float], tuple[np.ndarray, np.ndarray]]


class Estimates(NamedTuple):
    """Of G groups: the estimates and the rows behind each, (G,), and their limits at any critical value of the normal distribution."""

    values: np.ndarray
    counts: np.ndarray
    limits: Limits

    def intervals(self) -> list[Interval]:
        """Return each group's own 95 % interval; NaN for fewer than ten rows."""
        low, high = self.limits(Z)
        return [(float(a), float(b)) if n >= FEWEST else NONE for a, b, n in zip(low, high, self.counts, strict=True)]

    def negated(self) -> Estimates:
        """Return the estimates of the negative values: the lowest of these is the highest of those."""
        return Estimates(-self.values, self.counts, lambda z: tuple(-limit for limit in reversed(self.limits(z))))  # type: ignore[arg-type, return-value]

    def sizes(self) -> Estimates:
        """Return the estimates of the absolute values."""

        def limits(z: float) -> tuple[np.ndarray, np.ndarray]:
            low, high = self.limits(z)
            return np.where(low * high > 0, np.minimum(abs(low), abs(high)), 0.0), np.maximum(abs(low), abs(high))

        return Estimates(abs(self.values), self.counts, limits)


def rates(hits: np.ndarray, counts: np.ndarray) -> Estimates:
    """Return the rates of groups with so many hits among so many rows, (G,) each; NaN where there are no rows."""
    values = np.divide(hits, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return Estimates(values, counts, lambda z: wilson_limits(hits, counts, z))


def means(per_row: np.ndarray, code: np.ndarray, groups: int, least: float = -np.inf) -> Estimates:
    """Return the groups' means of `per_row` (M,) with limits of Student's t, not below `least`; `code` (M,) is each row's group."""
    counts = np.bincount(code, minlength=groups)
    values = np.bincount(code, per_row, groups) / np.maximum(counts, 1)
    squares = np.bincount(code, (per_row - values[code]) ** 2, groups)
    free = np.maximum(counts - 1, 1)
    errors = np.sqrt(squares / free / np.maximum(counts, 1))

    def limits(z: float) -> tuple[np.ndarray, np.ndarray]:
        half = stats.t.isf(stats.norm.sf(z), free) * errors
        return np.maximum(values - half, least), values + half

    return Estimates(np.where(counts > 0, values, np.nan), counts, limits)


def gap(*families: Estimates) -> tuple[float, Interval, int]:
    """Return the largest difference between two groups of one family, its 95 % interval, and the rows behind it.

    Groups with fewer than ten rows are left out. All is NaN if a family has fewer than two others. Families must rest on different rows.
    """
    kept = [family.counts >= FEWEST for family in families]
    n = sum(int(family.counts[keep].sum()) for family, keep in zip(families, kept, strict=True))
    if any(keep.sum() < 2 for keep in kept):
        return np.nan, NONE, n
    value = max(float(np.ptp(family.values[keep])) for family, keep in zip(families, kept, strict=True))
    lower = [_apart(family, keep, critical(int(keep.sum()), len(families)), -1) for family, keep in zip(families, kept, strict=True)]
    upper = [_apart(family, keep, Z, 1) for family, keep in zip(families, kept, strict=True)]
    return value, (max(0.0, *lower), max(upper)), n


def worst(family: Estimates) -> tuple[float, Interval, int]:
    """Return the largest estimate of the groups with at least ten rows, its 95 % interval, and the rows behind it."""
    keep = family.counts >= FEWEST
    n = int(family.counts[keep].sum())
    if not keep.any():
        return np.nan, NONE, n
    # Upwards as for gaps; downwards the limits of all groups hold at once (Sidak).
    low, _ = family.limits(float(stats.norm.isf(1 - 0.975 ** (1 / keep.sum()))))
    _, high = family.limits(Z)
    return float(family.values[keep].max()), (float(low[keep].max()), float(high[keep].max())), n


def _apart(family: Estimates, keep: np.ndarray, z: float, sign: int) -> float:
    """Return the largest of the lower (sign -1) or upper (1) limits of the differences between two kept groups."""
    low, high = (limit[keep] for limit in family.limits(z))
    values = family.values[keep]
    up, down = (high - values) ** 2, (values - low) ** 2
    first, second = (down, up) if sign < 0 else (up, down)
    # Group by group, those first that can lie furthest above any other: most of the many pairs of many groups need no look.
    most = values + sign * np.sqrt(first) + (-values + np.maximum(sign, 0) * np.sqrt(second)).max()
    found = -np.inf
    for at in np.argsort(-most):
        if most[at] < found:
            break
        limits = values[at] - values + sign * np.sqrt(first[at] + second)
        limits[at] = -np.inf
        found = max(found, float(limits.max()))
    return found


@lru_cache(maxsize=256)
def critical(groups: int, families: int = 1) -> float:
    """Return the value that no pair of `groups` exceeds 95 times of 100, in no one of independent families: 1.96 for two groups."""
    return float(stats.studentized_range.ppf(0.95 ** (1 / families), groups, np.inf) / np.sqrt(2))
