"""How far groups' mean probabilities lie from their observed rates, and limits that hold for rare classes and confident models too.

Student's t of probability minus outcome measures its spread by what was seen: with no positive row there is none, however little that
proves. Wilson's limits of the rate alone are twice too wide where the probabilities explain the outcomes, and too narrow where they
mislead. So: Wilson's test, inverted, of the model's log-odds shifted by one amount (the intercept of Cox, Biometrika 1958, tested at 0 by
Spiegelhalter, Statistics in Medicine 1986), which is Wilson's interval where all probabilities are equal; and, as that trusts the spread
of the probabilities, never inside Student's t.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from influence.evaluation._groups import Estimates, means

CERTAIN = 30.0
"""Log-odds beyond these are as good as certain: a shift must be able to reach all rows."""
HALVINGS = 32


def calibrations(odds: np.ndarray, real: np.ndarray, code: np.ndarray, groups: int) -> Estimates:
    """Return mean probability minus observed rate per group, from log-odds and outcomes (M,); `code` (M,) is each row's group."""
    spread = means(expit(odds) - real, code, groups)
    n, hits = spread.counts, np.bincount(code, real, groups)
    mean = np.bincount(code, expit(odds), groups) / np.maximum(n, 1)
    within = np.clip(odds, -CERTAIN, CERTAIN)

    def limits(z: float) -> tuple[np.ndarray, np.ndarray]:
        low, high = spread.limits(z)
        most, fewest = _highest(within, hits, code, n, z), n - _highest(-within, n - hits, code, n, z)
        both = np.minimum(low, mean - most / np.maximum(n, 1)), np.maximum(high, mean - fewest / np.maximum(n, 1))
        return np.clip(both[0], -1, 1), np.clip(both[1], -1, 1)

    return Estimates(spread.values, n, limits)


def _highest(odds: np.ndarray, hits: np.ndarray, code: np.ndarray, n: np.ndarray, z: float) -> np.ndarray:
    """Return the highest number of hits that shifted log-odds may expect in a group before so many, `hits` (G,), are too few at z."""
    low, high = np.full(len(n), -2.5 * CERTAIN), np.full(len(n), 2.5 * CERTAIN)
    expected = n.astype(float)
    for _ in range(HALVINGS):
        shift = (low + high) / 2
        p = expit(odds + shift[code])
        expected = np.bincount(code, p, len(n))
        fits = expected - hits < z * np.sqrt(np.bincount(code, p * (1 - p), len(n)))
        low, high = np.where(fits, shift, low), np.where(fits, high, shift)
    return expected
