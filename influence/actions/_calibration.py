"""From summed scores to a prediction with a band: slope and width learned from a few real retrainings.

Scores are first order: what they leave unexplained grows with how far a set of rows moves the model, whichever metric one looks at. The
*reach* of a set is the root mean square, over all standard metrics, of its predicted changes, each in units of that metric's spread over
the calibrating sets; and at least a small part that grows with the number of rows, for where predicted changes cancel the model moves
all the same. The realised change r of a metric with predicted change p is fitted as r = b p + e, sd(e) = sigma reach, by weighted least
squares; the band is the 95 % prediction interval of that fit (Student's t). The hard metric is predicted from its differentiable twin in
the same way. Sets that scores predict to raise a metric are fitted apart from those that lower it: where training has brought a loss
close to its least, what worsens it does so several times as much as scores say. No PyTorch here: sliders call this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import optimize, special, stats

CHANCE = 0.3
"""How far a set as large as the largest calibrating one reaches where predicted changes cancel; a smaller one by the root of its rows."""
FEWEST = 4
"""Sets that move a metric one way, if they are fewer, are not fitted apart."""
LEAST = 1e-9
"""Smaller p-values are told as this one."""


def units(predicted: np.ndarray) -> np.ndarray:
    """Return the spread of each metric's predicted change over the calibrating sets, (R, Q) -> (Q,); 1 where there is none."""
    spread = np.sqrt((predicted**2).mean(0))
    return np.where(spread > 0, spread, 1.0)


def reach(predicted: np.ndarray, unit: np.ndarray, share: np.ndarray | float = 0.0) -> np.ndarray:
    """Return how far sets of rows move the model, (..., Q) -> (...). `share`: of the rows of the largest calibrating set."""
    return np.sqrt(((predicted / unit) ** 2).mean(-1) + CHANCE**2 * share)


def fit(predicted: np.ndarray, realised: np.ndarray, reached: np.ndarray) -> dict[str, float]:
    """Return the fit of realised (R,) on predicted (R,) changes of sets that reach (R,), as JSON; the slope is 0 if all predictions are."""
    usable = reached > 0
    x, y = predicted[usable] / reached[usable], realised[usable] / reached[usable]
    power = float(x @ x)
    slope = float(x @ y) / power if power > 0 else 0.0
    free = max(1, len(x) - 1)
    variance = float(((y - slope * x) ** 2).sum() / free)
    error = variance / power if power > 0 else 0.0
    return {"slope": slope, "slope_sd": error**0.5, "sigma": variance**0.5, "t": float(stats.t.ppf(0.975, free)), "n": len(x)}


def fit_ways(scored: np.ndarray, predicted: np.ndarray, realised: np.ndarray, reached: np.ndarray) -> dict[str, Any]:
    """Return the fit over sets without which summed scores (R,) let a metric fall, and as "rises" that over those that let it rise.

    `predicted`: what realised changes are fitted on. A way that too few sets go is fitted over all of them.
    """
    falls, rises = (way if (way & (reached > 0)).sum() >= FEWEST else np.ones_like(way) for way in (scored <= 0, scored > 0))
    found, other = (fit(predicted[way], realised[way], reached[way]) for way in (falls, rises))
    return {**found, "rises": other}


def of_way(fitted: Mapping[str, Any], scored: np.ndarray) -> dict[str, np.ndarray]:
    """Return, part by part, the fit of the way that summed scores (S,) let a metric go; where there is one fit only, that."""
    other = fitted.get("rises", fitted)
    return {name: np.where(scored > 0, other[name], value) for name, value in fitted.items() if name != "rises"}


def folded(before: float, change: np.ndarray) -> np.ndarray:
    """Return the change of the size of a signed gap: what the hard gap, which has no sign, follows when the gap turns round."""
    return np.abs(before + change) - abs(before)


def over_seeds(changes: np.ndarray) -> dict[str, Any]:
    """Return the mean of changes over fresh seeds (S,), its 95 % interval (Student's t; None of one seed), and how many there are."""
    n, mean = len(changes), float(changes.mean())
    half = float(stats.t.ppf(0.975, n - 1) * changes.std(ddof=1) / n**0.5) if n > 1 else None
    return {"change": mean, "low": None if half is None else mean - half, "high": None if half is None else mean + half, "n": n}


def band(fitted: Mapping[str, Any], predicted: np.ndarray, reached: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return change, low and high (95 %) for sets with these predicted changes and reaches."""
    change = fitted["slope"] * predicted
    half = fitted["t"] * np.sqrt((fitted["sigma"] * reached) ** 2 + (fitted["slope_sd"] * predicted) ** 2)
    return change, change - half, change + half


def anew(
    fitted: Mapping[str, float], seeds: np.ndarray, predicted: float, reached: float, level: float = 0.9
) -> tuple[float, float, float]:
    """Return what a metric is predicted to be of one model trained anew without a set of rows, with its prediction interval.

    `fitted`: of realised on predicted changes (`fit`). `seeds`: the metric of models trained on all rows from new seeds (S,). Chance comes
    in twice, as the spread of the one new model and as the error of the mean over the seeds; beside it what predictions leave unexplained.
    """
    value, half = float(seeds.mean() + fitted["slope"] * predicted), _half(fitted, seeds, predicted, reached, level)
    return value, value - half, value + half


def _half(fitted: Mapping[str, float], seeds: np.ndarray, predicted: float, reached: float, level: float) -> float:
    n, unexplained = len(seeds), np.hypot(fitted["sigma"] * reached, fitted["slope_sd"] * predicted)
    at, chance = (1 + level) / 2, seeds.std(ddof=1) * (1 + 1 / n) ** 0.5
    return float(np.hypot(special.stdtrit(fitted["n"] - 1, at) * unexplained, special.stdtrit(n - 1, at) * chance))


def p_value(fitted: Mapping[str, float], seeds: np.ndarray, predicted: float, reached: float, now: float) -> float:
    """Return how surprising a metric `now` would be of the model that `anew` predicts: 1 less the level of the interval that ends at it."""
    far = abs(now - anew(fitted, seeds, predicted, reached)[0])
    if not np.isfinite(far + _half(fitted, seeds, predicted, reached, 0.9)) or far <= _half(fitted, seeds, predicted, reached, 0.0):
        return 1.0
    if far >= _half(fitted, seeds, predicted, reached, 1 - LEAST):
        return LEAST
    return float(optimize.brentq(lambda p: _half(fitted, seeds, predicted, reached, 1 - p) - far, LEAST, 1.0))


def holm(p: np.ndarray) -> np.ndarray:
    """Return p-values (m,) adjusted so that at most a share a of such sets has any below a by chance, however they depend (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    found = np.empty(len(p))
    found[order] = np.minimum(steps, 1.0)
    return found
