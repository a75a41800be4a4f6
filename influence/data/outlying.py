"""How far rows lie from all others, for their surroundings: the local outlier factor.

Breunig, Kriegel, Ng and Sander, SIGMOD 2000, by scikit-learn: how much thinner rows lie around a row than around its neighbours; about 1
for a row among its like, larger the more alone it is. Chosen among three on planted outliers (docs/measurements.md). Copies count once,
or a row with many copies would have no distance to its neighbours. Of more rows than are affordable, some, drawn by id, are the
neighbours of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import LocalOutlierFactor

from influence.data.copies import hashes
from influence.data.represented import blocks
from influence.errors import BadInput
from influence.keyed import uniform
from influence.types import Examples

SAMPLE, NUMBERS = 10_000, 5_000_000
"""Rows, and numbers in them, among which neighbours are looked for."""
ASKED = 4_096


@dataclass(frozen=True)
class Outlying:
    """`factor`: the local outlier factor of each row, (N,) float64; copies have the same.

    `searched`: among how many of the `different` rows neighbours were looked for.
    """

    factor: np.ndarray
    searched: int
    different: int


def outlying(examples: Examples, neighbours: int = 20) -> Outlying:
    """Return how much each row lies alone.

    Raises:
        BadInput: there are fewer different rows than neighbours.
    """
    _, first, same = np.unique(hashes(examples), return_index=True, return_inverse=True)
    if len(first) <= neighbours:
        raise BadInput(f"There are {len(first)} different rows, too few to have {neighbours} neighbours each. Ask for fewer neighbours.")
    drawn = np.argsort(uniform(0, "outlying", examples.ids[first]), kind="stable")
    width = next(blocks(examples.take(first[:1]))).shape[1]
    within = np.sort(drawn[: max(neighbours + 1, min(SAMPLE, NUMBERS // max(1, width)))])
    sample = np.concatenate(list(blocks(examples.take(first[within]))))
    fitted = LocalOutlierFactor(neighbours, novelty=len(within) < len(first)).fit(sample)
    found = np.zeros(len(first))
    found[within] = -fitted.negative_outlier_factor_
    rest = np.setdiff1d(np.arange(len(first)), within)
    for start in range(0, len(rest), ASKED):
        some = rest[start : start + ASKED]
        found[some] = -fitted.score_samples(np.concatenate(list(blocks(examples.take(first[some])))))
    return Outlying(np.asarray(found[same]), len(within), len(first))
