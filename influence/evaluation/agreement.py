"""How far orders of rows agree, pair by pair: between methods, or between questions (one list for everything tells nothing)."""

from __future__ import annotations

import numpy as np

from influence.errors import BadInput
from influence.evaluation._tables import Z
from influence.evaluation.fidelity import rank_correlation

FEWEST = 5
"""Rows from which on a correlation has an interval."""


def overlaps(values: np.ndarray, first: int = 100, lowest: bool = True) -> np.ndarray:
    """Return the share of rows that the first lists of each two columns have in common, (N, K) -> (K, K) in [0, 1].

    Two random lists share first / N. `lowest`: lists begin with the most negative score.

    Raises:
        BadInput: there are fewer rows than a list is long.
    """
    if not 0 < first <= len(values):
        raise BadInput(f"Lists of {first} rows need at least as many rows; there are {len(values)}.")
    order = np.argsort(values if lowest else -values, axis=0, kind="stable")[:first]
    return np.array([[len(np.intersect1d(a, b)) / first for b in order.T] for a in order.T])


def correlations(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rank correlations (Spearman) of each two columns over N rows, and their 95 % intervals, (N, K) -> three of (K, K).

    Intervals: Bonett and Wright, Psychometrika 65 (2000). A perfect order is exact; NaN where a column does not vary.
    """
    r, n = rank_correlation(values.T[:, None, :], values.T[None, :, :]), len(values)
    if n < FEWEST:
        return r, np.full_like(r, np.nan), np.full_like(r, np.nan)
    inner = np.clip(r, -1 + 1e-12, 1 - 1e-12)
    half = Z * np.sqrt((1 + inner**2 / 2) / (n - 3))
    exact = np.abs(r) >= 1 - 1e-12
    low, high = np.tanh(np.arctanh(inner) - half), np.tanh(np.arctanh(inner) + half)
    return r, np.where(exact, r, low), np.where(exact, r, high)
