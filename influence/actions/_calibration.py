"""From summed scores to a prediction with a band: slope and width learned from a few real retrainings.

Realised change r of a set of k rows with predicted change p is fitted by least squares as r = p (a + b k/K) + e, sd(e) = sigma sqrt(k): the slope
may bend as sets grow (scores are first order), and what a set leaves unexplained grows like a random walk. The band is the 95 % prediction
interval of that fit (Student's t). The hard metric is predicted from its differentiable twin the same way. No PyTorch here: sliders call this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats


def fit(predicted: np.ndarray, realised: np.ndarray, sizes: np.ndarray) -> dict[str, Any]:
    """Return the fit of realised (R,) on predicted (R,) changes for sets of `sizes` (R,), as JSON.

    With a prediction that is constant at 0 there is nothing to scale: the slope is 0 and the band is all there is.
    """
    largest = float(sizes.max())
    scale = np.sqrt(sizes)
    design = np.stack([predicted, predicted * sizes / largest], axis=1) / scale[:, None]
    target = realised / scale
    solution, _, rank, _ = np.linalg.lstsq(design, target, rcond=1e-8)
    free = max(1, len(sizes) - int(rank))
    variance = float(((target - design @ solution) ** 2).sum() / free)
    inverse = np.linalg.pinv(design.T @ design, rcond=1e-12)
    return {
        "a": float(solution[0]),
        "b": float(solution[1]),
        "cov": (inverse * variance).tolist(),
        "sigma": float(np.sqrt(variance)),
        "t": float(stats.t.ppf(0.975, free)),
        "largest": largest,
        "n": len(sizes),
    }


def band(fitted: Mapping[str, Any], predicted: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return change, low and high (95 %) for sets of `sizes` rows with these predicted changes."""
    sizes = np.asarray(sizes, dtype=float)
    bend = np.minimum(sizes / fitted["largest"], 2.0)  # do not stretch the curve far beyond what was tried
    terms = np.stack([predicted, predicted * bend], axis=-1)
    change = terms @ np.array([fitted["a"], fitted["b"]])
    variance = fitted["sigma"] ** 2 * sizes + np.einsum("...i,ij,...j->...", terms, np.array(fitted["cov"]), terms)
    half = fitted["t"] * np.sqrt(np.maximum(variance, 0.0))
    return change, change - half, change + half
