"""Tug of war: whether accuracy on removed, retained and unseen rows is that of retraining (Zhao et al., arXiv:2406.01257, equation 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from influence.registry import verification
from influence.verification._pool import PARTS, Pool


@verification
@dataclass(frozen=True)
class Tow:
    """Product over removed, retained and unseen rows of 1 - |accuracy - the other models' mean accuracy|; 1 is retraining.

    Of a numeric target: with the share of its variance explained in place of accuracy.
    """

    side: ClassVar[str] = "low"
    label: ClassVar[str] = "Tug of war"
    unit: ClassVar[str] = ""

    def __call__(self, pool: Pool) -> np.ndarray:
        """Return one value per model, (J,)."""
        factors = []
        for part in PARTS:
            found = pool.scores(part)
            factors.append(1 - np.abs(found - (found.sum() - found) / (len(found) - 1)))
        return np.asarray(np.prod(factors, axis=0))
