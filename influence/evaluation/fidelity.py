"""How well predicted changes agree with real ones: the linear datamodeling score (Park et al., TRAK, arXiv:2303.14186, section 2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from scipy.stats import rankdata, t

from influence.errors import BadInput
from influence.evaluation._tables import Z

DRAWS = 1000
FEWEST_SETS = 4
WELL, ROUGHLY = 0.8, 0.4
"""Lower ends of an LDS's interval from which a method is said to predict retraining well, or roughly."""

Verdict: TypeAlias = Literal["well", "roughly", "poorly", "unclear"]


@dataclass(frozen=True)
class Fidelity:
    """Rank correlation `lds` of predicted and realised changes with its 95 % interval, and n, the number of sets.

    `slope`: of realised on predicted changes by least squares, 1 where predictions have the right size. Where nothing can be said,
    the numbers are NaN and `note` says why.
    """

    lds: float
    low: float
    high: float
    slope: float
    n: int
    note: str = ""


def lds(predicted: np.ndarray, realised: np.ndarray, seed: int = 0) -> Fidelity:
    """Compare predicted with realised changes of S sets, (S,) each.

    The interval is normal on Fisher's scale, atanh of the correlation, with the bootstrap's standard error there: the percentiles of a
    bootstrap miss the truth too often near 1, where good methods are.

    Raises:
        BadInput: the two are not of one length.
    """
    x, y = np.asarray(predicted, dtype=np.float64), np.asarray(realised, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise BadInput(f"Predicted and realised changes must be two lists of one length; got {x.shape} and {y.shape}.")
    n, note = len(x), _unsaid(x, y)
    if note:
        return Fidelity(np.nan, np.nan, np.nan, np.nan, n, note)
    away = x - x.mean()
    r = float(rank_correlation(x, y))
    picks = np.random.default_rng(seed).integers(0, n, (DRAWS, n))
    draws = rank_correlation(x[picks], y[picks])
    # A perfect order stands at infinity on Fisher's scale: no draw counts for more than one swapped pair of neighbours.
    most = 1 - 12 / (n * (n**2 - 1.0))
    error = max(float(np.nanstd(np.arctanh(draws.clip(-most, most)))), (n - 3) ** -0.5)
    low, high = np.tanh(np.arctanh(np.clip(r, -most, most)) + np.array([-Z, Z]) * error)
    return Fidelity(r, min(r, float(low)), max(r, float(high)), float(away @ y / (away @ away)), n)


@dataclass(frozen=True)
class Slope:
    """Of realised on predicted changes by least squares, with its 95 % interval (Student's t); n sets. NaN where nothing can be said."""

    slope: float
    low: float
    high: float
    n: int


def slope(predicted: np.ndarray, realised: np.ndarray) -> Slope:
    """Return the slope of realised on predicted changes, (S,) each: 1 where predictions have the right size."""
    x, y = np.asarray(predicted, dtype=np.float64), np.asarray(realised, dtype=np.float64)
    n = len(x)
    if _unsaid(x, y):
        return Slope(np.nan, np.nan, np.nan, n)
    away = x - x.mean()
    power = float(away @ away)
    found = float(away @ y / power)
    left = y - y.mean() - found * away
    half = float(t.ppf(0.975, n - 2)) * (float(left @ left) / (n - 2) / power) ** 0.5
    return Slope(found, found - half, found + half, n)


def recalibrated(predicted: np.ndarray, realised: np.ndarray) -> tuple[float, Slope]:
    """Fit the size of predictions on every other set, and check it on the others.

    Returns the factor (the slope of the first half) and the slope of realised on predicted times factor in the second half: 1 where sizes
    that were learned from a few retrainings hold for others.
    """
    factor = slope(predicted[::2], realised[::2]).slope
    return factor, slope(factor * np.asarray(predicted[1::2], dtype=np.float64), realised[1::2])


def verdict(low: float | None, high: float | None) -> Verdict:
    """Say in a word how well a method predicts retraining: one that the whole 95 % interval of its LDS bears out, else "unclear"."""
    if low is None or high is None:
        return "unclear"
    if low >= WELL:
        return "well"
    if low >= ROUGHLY:
        return "roughly"
    return "poorly" if high < ROUGHLY else "unclear"


def _unsaid(x: np.ndarray, y: np.ndarray) -> str:
    if len(x) < FEWEST_SETS:
        return f"Too few sets to say: {len(x)}."
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return "Some changes are not finite: training diverged."
    constant = [what for what, part in (("predicted", x), ("realised", y)) if np.ptp(part) == 0]
    return f"The {' and the '.join(constant)} changes are the same for every set." if constant else ""


def rank_correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation along the last axis; NaN where either does not vary."""
    a, b = (ranks - ranks.mean(-1, keepdims=True) for ranks in (rankdata(x, axis=-1), rankdata(y, axis=-1)))
    scale = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return np.divide((a * b).sum(-1), scale, out=np.full(np.shape(scale), np.nan), where=scale > 0)


def noise_ceiling(bank: np.ndarray, other: np.ndarray) -> Fidelity:
    """Return sqrt(r), r the rank correlation of two independent banks of realised changes, (S,): no prediction does better on average.

    With the interval of r, carried over; 0 where r is negative; NaN where nothing can be said.
    """
    between = lds(bank, other)
    ceiling, low, high = np.sqrt(np.maximum(0.0, [between.lds, between.low, between.high])).tolist()
    return replace(between, lds=ceiling, low=low, high=high, slope=np.nan)
