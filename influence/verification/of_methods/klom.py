"""KL divergence of margins (Georgiev et al., Attribute-to-Delete, arXiv:2410.23232, section 2.2), one row at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from influence.registry import method_verification, option

FURTHEST = 100.0
"""Margins are cut at this size."""
LEAST = 1e-5
"""The oracles' share of a bin counts as at least this: log of its inverse, 11.5, is the most that a row can have."""


@method_verification
@dataclass(frozen=True)
class Klom:
    """How far a row's margins in models that forgot it are spread otherwise than in oracles; of the removed rows the 95th percentile.

    Margins of each row are counted in bins between the least and the largest of all models; the value is the divergence of the forgetting
    models' shares from the oracles'. Few models leave bins empty by chance: the band of relabelled models tells what chance does.
    """

    bins: int = option(0, "Bins; 0: 20 from 50 models of each kind on, 5 below", min=0, max=100, advanced=True)
    share: float = option(0.95, "Share of the removed rows that have less", min=0.5, max=1.0, advanced=True)

    side: ClassVar[str] = "high"
    label: ClassVar[str] = "KLOM, 95th percentile of the removed rows"
    unit: ClassVar[str] = "nats"

    def __call__(self, judged: np.ndarray, oracles: np.ndarray) -> float:
        """Return the percentile for margins (n, M) of models that forgot and (K, M) of oracles."""
        return float(np.quantile(divergences(judged, oracles, self.bins or usual(len(judged), len(oracles))), self.share))


def usual(judged: int, oracles: int) -> int:
    """Return how many bins so many models fill."""
    return 20 if min(judged, oracles) >= 50 else 5


def divergences(judged: np.ndarray, oracles: np.ndarray, bins: int) -> np.ndarray:
    """Return each row's divergence, (M,), in nats."""
    both = np.clip(np.concatenate([judged, oracles]), -FURTHEST, FURTHEST)
    low, high = both.min(0), both.max(0)
    width = np.where(high > low, high - low, 1.0)
    place = np.minimum(((both - low) / width * bins).astype(int), bins - 1)  # the largest belongs to the last bin
    shares = [np.stack([(part == b).mean(0) for b in range(bins)]) for part in np.split(place, [len(judged)])]
    p, q = shares[0], np.maximum(shares[1], LEAST)
    return np.asarray((p * np.log(np.where(p > 0, p, 1.0) / q)).sum(0))
