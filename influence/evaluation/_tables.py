"""Intervals that cost nothing to wait for, and the rows of every measure's table."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from influence.groups import FEWEST

DRAWS = 2000
Z = float(stats.norm.ppf(0.975))


def wilson(hits: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of a rate (Wilson 1927); NaN for fewer than ten rows."""
    if n < FEWEST:
        return np.nan, np.nan
    p, z2 = hits / n, Z**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def of_mean(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a mean (Student's t); NaN for fewer than ten rows."""
    n = len(values)
    if n < FEWEST:
        return np.nan, np.nan
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return float(values.mean() - half), float(values.mean() + half)


def percentiles(draws: np.ndarray) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % quantiles of bootstrap draws, NaN if none is finite."""
    finite = draws[np.isfinite(draws)]
    return tuple(float(q) for q in np.quantile(finite, [0.025, 0.975])) if len(finite) else (np.nan, np.nan)  # type: ignore[return-value]


def row(metric: str, group: str, value: float, interval: tuple[float, float], n: int, better: str) -> dict[str, Any]:
    """Return one row of a measure's table."""
    return {"metric": metric, "group": group, "value": float(value), "low": interval[0], "high": interval[1], "n": int(n), "better": better}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return class probabilities in float64, (M, C)."""
    p = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def row_losses(logits: np.ndarray, y: np.ndarray, classes: bool) -> np.ndarray:
    """Return each row's cross-entropy (from the logits), or its absolute error, (M,)."""
    if not classes:
        return np.abs(logits[:, 0].astype(np.float64) - y)
    z = logits.astype(np.float64)
    top = z.max(1, keepdims=True)
    return (np.log(np.exp(z - top).sum(1)) + top[:, 0]) - z[np.arange(len(y)), y]
