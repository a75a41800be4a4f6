"""How well predicted changes agree with real ones: the linear datamodeling score (Park et al., TRAK, arXiv:2303.14186, section 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

DRAWS = 1000


@dataclass(frozen=True)
class Fidelity:
    """Rank correlation `lds` of predicted and realised changes with its 95 % interval, the slope of realised on predicted, and n sets."""

    lds: float
    low: float
    high: float
    slope: float
    n: int


def lds(predicted: np.ndarray, realised: np.ndarray, seed: int = 0) -> Fidelity:
    """Compare predicted with realised changes, (S,) each; NaN where either does not vary."""
    n = len(predicted)
    if n < 3 or np.ptp(predicted) == 0 or np.ptp(realised) == 0:
        return Fidelity(np.nan, np.nan, np.nan, np.nan, n)
    slope = float(np.cov(predicted, realised)[0, 1] / np.var(predicted, ddof=1))
    rng = np.random.default_rng(seed)
    draws = []
    for pick in rng.integers(0, n, (DRAWS, n)):
        if np.ptp(predicted[pick]) > 0 and np.ptp(realised[pick]) > 0:
            draws.append(float(spearmanr(predicted[pick], realised[pick]).statistic))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Fidelity(float(spearmanr(predicted, realised).statistic), float(low), float(high), slope, n)


def noise_ceiling(bank: np.ndarray, other: np.ndarray) -> float:
    """Return sqrt(r), r the rank correlation of two independent banks of realised changes, (S,) each: no prediction can do better on average."""
    if np.ptp(bank) == 0 or np.ptp(other) == 0:
        return np.nan
    return float(np.sqrt(max(0.0, float(spearmanr(bank, other).statistic))))
