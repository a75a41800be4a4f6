"""The linear datamodeling score of many values at once, with its interval over sets of rows."""

from __future__ import annotations

import numpy as np

from influence.evaluation._tables import Z
from influence.evaluation.fidelity import rank_correlation

DRAWS = 1000


def mean_lds(predicted: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Return the mean over values of the rank correlation over sets, from predicted and real changes (S, Q), and its 95 % interval.

    Values that never change say nothing and are left out. Sets are drawn again and again, and the spread is taken on Fisher's scale, as
    `influence.evaluation.fidelity.lds` does: percentiles of a bootstrap fall short of values near 1.
    """
    draws = np.random.default_rng(0).integers(0, len(real), (DRAWS, len(real)))
    mean = float(np.nanmean(rank_correlation(predicted.T, real.T)))
    half = Z * float(np.std(np.arctanh([np.nanmean(rank_correlation(predicted[d].T, real[d].T)) for d in draws])))
    return {"lds": mean, "low": float(np.tanh(np.arctanh(mean) - half)), "high": float(np.tanh(np.arctanh(mean) + half))}
