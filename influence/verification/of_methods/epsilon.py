"""How well thresholds tell models that forgot from oracles, as a privacy loss (NeurIPS 2023 unlearning challenge, arXiv:2406.09073)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from influence.registry import method_verification, option

LARGEST = 50.0
"""What is told apart without error has this."""


@method_verification
@dataclass(frozen=True)
class Epsilon:
    """The epsilon that the best attack on a row's margin shows; mean over the removed rows.

    An attack says "forgot it" of models whose margin lies below, above, between or outside thresholds. With rates f of false alarms and m
    of misses it shows epsilon = max(log((1 - delta - f) / m), log((1 - delta - m) / f)). Rules with one rate 0 and the other not are left
    out: few models allow no such claim. Few models also show an epsilon by chance, as the band of relabelled models tells.
    """

    delta: float = option(1e-5, "Delta of (epsilon, delta)-indistinguishability", min=0.0, max=0.5, advanced=True)

    side: ClassVar[str] = "high"
    label: ClassVar[str] = "Epsilon of the best attack, mean of the removed rows"
    unit: ClassVar[str] = ""

    def __call__(self, judged: np.ndarray, oracles: np.ndarray) -> float:
        """Return the mean for margins (n, M) of models that forgot and (K, M) of oracles."""
        return float(np.mean([of_row(judged[:, i], oracles[:, i], self.delta) for i in range(judged.shape[1])]))


def of_row(judged: np.ndarray, oracles: np.ndarray, delta: float) -> float:
    """Return the epsilon of one row's margins (n,) and (K,)."""
    cuts = np.unique(np.concatenate([judged, oracles]))
    # Of each kind the share at or below a cut, with none before the first: every interval of margins is a difference of two.
    below = [np.concatenate([[0.0], np.searchsorted(np.sort(part), cuts, side="right") / len(part)]) for part in (judged, oracles)]
    i, j = np.triu_indices(len(cuts) + 1, 1)
    hit, alarm = (shares[j] - shares[i] for shares in below)
    found = [_epsilon(f, m, delta) for f, m in ((alarm, 1 - hit), (1 - alarm, hit))]  # inside the interval, and outside
    return float(np.clip(max(part.max(initial=0.0) for part in found), 0.0, LARGEST))


def _epsilon(alarms: np.ndarray, misses: np.ndarray, delta: float) -> np.ndarray:
    f, m = (np.where(rates < 1e-12, 0.0, rates) for rates in (alarms, misses))
    perfect = (f == 0) & (m == 0)
    both = (f > 0) & (m > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = np.maximum(np.log((1 - delta - f) / m), np.log((1 - delta - m) / f))
    return np.where(perfect, LARGEST, np.where(both & np.isfinite(shown), shown, 0.0))
