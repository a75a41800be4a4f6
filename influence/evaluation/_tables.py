"""Intervals that cost nothing to wait for, and the rows of every measure's table."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats
from scipy.special import logsumexp

from influence.errors import BadInput
from influence.groups import FEWEST
from influence.types import Examples

Z = float(stats.norm.ppf(0.975))

Interval = tuple[float, float]
NONE: Interval = (np.nan, np.nan)
"""The interval of a figure that rests on too few rows."""


def wilson_limits(hits: np.ndarray, n: np.ndarray, z: float = Z) -> tuple[np.ndarray, np.ndarray]:
    """Return the limits of rates at the critical value z (Wilson, JASA 1927), of any shape."""
    n = np.maximum(n, 1)
    p, z2 = hits / n, z * z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # Rounding must not put the limit of 0 or 1 on the wrong side of it.
    return np.where(hits > 0, centre - half, 0.0), np.where(hits < n, centre + half, 1.0)


def wilson(hits: float, n: float) -> Interval:
    """Return the 95 % interval of a rate (Wilson); NaN for fewer than ten rows."""
    if n < FEWEST:
        return NONE
    low, high = wilson_limits(np.asarray(hits), np.asarray(n))
    return float(low), float(high)


def of_mean(values: np.ndarray, least: float = -np.inf) -> Interval:
    """Return the 95 % interval of a mean (Student's t), not below `least`; NaN for fewer than ten rows."""
    n = len(values)
    if n < FEWEST:
        return NONE
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return max(least, float(values.mean()) - half), float(values.mean()) + half


def row(metric: str, group: str, value: float, interval: Interval, n: int, better: str) -> dict[str, Any]:
    """Return one row of a measure's table."""
    return {"metric": metric, "group": group, "value": float(value), "low": interval[0], "high": interval[1], "n": int(n), "better": better}


def refuse_unfit(logits: np.ndarray, examples: Examples, reference: np.ndarray | None = None) -> None:
    """See that there are rows, and finite outputs for each of them.

    Raises:
        BadInput: there are no rows, the outputs are not (M, C), or some are not finite.
    """
    if not len(examples):
        raise BadInput("There are no rows to measure on. Choose rows first.")
    for what, outputs in (("Outputs", logits), ("Reference outputs", reference)):
        if outputs is None:
            continue
        if outputs.shape != (len(examples), examples.outputs):
            raise BadInput(f"{what} must be ({len(examples)}, {examples.outputs}), one line per row; got {outputs.shape}.")
        if not np.isfinite(outputs).all():
            raise BadInput(f"{what} are not all finite: training diverged. Lower the step size or train in float64.")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return class probabilities in float64, (M, C)."""
    p = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def log_odds(logits: np.ndarray, own: int) -> np.ndarray:
    """Return the log-odds of class `own` against all others in float64, (M,): unlike its probability, never all the same near 1."""
    z = logits.astype(np.float64)
    return z[:, own] - logsumexp(np.delete(z, own, 1), axis=1)


def row_losses(logits: np.ndarray, y: np.ndarray, classes: bool) -> np.ndarray:
    """Return each row's cross-entropy (from the logits), or its absolute error, (M,)."""
    z = logits.astype(np.float64)
    if not classes:
        return np.abs(z[:, 0] - y)
    top = z.max(1, keepdims=True)
    return (np.log(np.exp(z - top).sum(1)) + top[:, 0]) - z[np.arange(len(y)), y]
