"""U-LiRA: a likelihood ratio tells models that forgot a row from models that never saw it (Hayes et al., arXiv:2403.01218, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from influence.registry import method_verification
from influence.verification._low_rates import RATES, found_at

FLOOR = 1e-6
"""Least standard deviation of margins: models that all say the same of a row do not make the likelihood infinite."""


@method_verification
@dataclass(frozen=True)
class ULira:
    """Accuracy of an attacker who guesses from a row's margin whether a model forgot the row or never saw it; one half is a guess.

    For each row a normal distribution is fitted to the margins of the models that forgot it, and one to the oracles'; the likelier tells
    what a model is. The model that is guessed at has no part in either. Both kinds count equally, whatever their numbers.
    """

    side: ClassVar[str] = "high"
    label: ClassVar[str] = "U-LiRA, accuracy of the attack"
    unit: ClassVar[str] = ""

    def __call__(self, judged: np.ndarray, oracles: np.ndarray) -> float:
        """Return the accuracy for margins (n, M) of models that forgot and (K, M) of oracles."""
        own, others = ratios(judged, oracles)
        return float((_right(own) + _right(-others)) / 2)

    def at_rates(self, judged: np.ndarray, oracles: np.ndarray) -> np.ndarray:
        """Return which share of forgetting models is found at each of `RATES` of false alarms, (2,), all rows together.

        NaN where the oracles' margins are too few to say.
        """
        own, others = (found.ravel() for found in ratios(judged, oracles))
        return np.array([found_at(own, others, rate) for rate in RATES])


def _right(scores: np.ndarray) -> float:
    return float((scores > 0).mean() + (scores == 0).mean() / 2)


def ratios(judged: np.ndarray, oracles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log likelihood ratios, forgot over never saw, of each model and row, (n, M) and (K, M), each left out of its own fit."""
    own = _density(judged, *_others(judged)) - _density(judged, *_fit(oracles))
    return own, _density(oracles, *_fit(judged)) - _density(oracles, *_others(oracles))


def _fit(margins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return margins.mean(0), np.maximum(margins.std(0, ddof=1), FLOOR)


def _others(margins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the other models' margins, (n, M) each."""
    n = len(margins)
    away = margins - margins.mean(0)
    left = np.square(away).sum(0) - np.square(away) * n / (n - 1)
    return margins.mean(0) - away / (n - 1), np.maximum(np.sqrt(np.maximum(left, 0.0) / (n - 2)), FLOOR)


def _density(margins: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    return np.asarray(-np.square((margins - mean) / sd) / 2 - np.log(sd))
