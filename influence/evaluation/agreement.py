"""How far lists of rows agree: between questions (one list for everything tells nothing), and between methods."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from influence.errors import BadInput
from influence.evaluation.fidelity import rank_correlation


def top_overlap(values: np.ndarray, first: int = 100, lowest: bool = True) -> float:
    """Return the mean share of rows that two of the columns' first lists have in common, (N, Q) -> [0, 1]; NaN for a single column.

    Two random lists share first / N. `lowest`: lists begin with the most negative score.

    Raises:
        BadInput: there are fewer rows than a list is long.
    """
    if not 0 < first <= len(values):
        raise BadInput(f"Lists of {first} rows need at least as many rows; there are {len(values)}.")
    order = np.argsort(values if lowest else -values, axis=0, kind="stable")[:first]
    pairs = [len(np.intersect1d(a, b)) / first for a, b in combinations(order.T, 2)]
    return float(np.mean(pairs)) if pairs else float("nan")


def rank_agreement(one: np.ndarray, other: np.ndarray, ids: np.ndarray, other_ids: np.ndarray) -> float:
    """Return the rank correlation (Spearman) of two columns of scores over the rows that both have, by id; NaN if either is constant.

    Raises:
        BadInput: they have fewer than two rows in common.
    """
    _, mine, theirs = np.intersect1d(ids, other_ids, return_indices=True)
    if len(mine) < 2:
        raise BadInput("The two lists of scores have fewer than two rows in common. Compare scores of the same training rows.")
    return float(rank_correlation(np.asarray(one)[mine], np.asarray(other)[theirs]))
