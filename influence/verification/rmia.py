"""A likelihood-ratio attack for membership of the removed rows (RMIA: Zarifzadeh, Liu and Shokri, arXiv:2312.03262)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import rankdata

from influence.registry import verification
from influence.verification._low_rates import RATES, found_at
from influence.verification._pool import Pool


@verification
@dataclass(frozen=True)
class Rmia:
    """Chance that a removed row looks more like a training row than a row that no model saw does; one half is a guess.

    A row's ratio is its probability under the model over its mean probability under the other models (equation 2 with gamma = 1, all
    references without the row); the attack ranks rows by it. Below the band: the removed rows are conspicuous for being shunned.
    """

    side: ClassVar[str] = "both"
    label: ClassVar[str] = "Likelihood-ratio attack (AUC)"
    unit: ClassVar[str] = ""
    within: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __call__(self, pool: Pool) -> np.ndarray:
        """Return one value per model, (J,)."""
        return np.array([area(gone, new) for gone, new in zip(*(ratios(pool, part) for part in ("forget", "unseen")), strict=True)])


def at_rates(pool: Pool) -> np.ndarray:
    """Return which share of the removed rows the attack finds at each of `RATES` of false alarms among unseen rows, (J, rates)."""
    pairs = list(zip(ratios(pool, "forget"), ratios(pool, "unseen"), strict=True))
    return np.array([[found_at(gone, new, rate) for rate in RATES] for gone, new in pairs])


def ratios(pool: Pool, part: str) -> np.ndarray:
    """Return log p_y - log of the other models' mean p_y, (J, M)."""
    logs = pool.log_chances(part)  # type: ignore[arg-type]
    # Sums of those before and those after each model: as logs, and without taking a model off a sum that may be all its own.
    none = np.full_like(logs[:1], -np.inf)
    before = np.concatenate([none, np.logaddexp.accumulate(logs[:-1])])
    after = np.concatenate([np.logaddexp.accumulate(logs[:0:-1])[::-1], none])
    return np.asarray(logs - np.logaddexp(before, after) + np.log(len(logs) - 1))


def area(members: np.ndarray, others: np.ndarray) -> float:
    """Return the chance that a member's value is above another's, ties counting half (Mann and Whitney)."""
    m, n = len(members), len(others)
    return float((rankdata(np.concatenate([members, others]))[:m].sum() - m * (m + 1) / 2) / (m * n))
