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
    """Product over removed, retained and unseen rows of 1 - |accuracy - all models' median accuracy|; 1 is retraining.

    The median, so that one ruined model does not make the others look ruined. Of a numeric target: with the share of its variance among
    retained rows that is explained in place of accuracy. No factor is below 0.
    """

    side: ClassVar[str] = "low"
    label: ClassVar[str] = "Tug of war"
    unit: ClassVar[str] = ""

    def __call__(self, pool: Pool) -> np.ndarray:
        """Return one value per model, (J,)."""
        scores = [pool.scores(part) for part in PARTS]
        return np.asarray(np.prod([np.maximum(0.0, 1 - np.abs(found - np.median(found))) for found in scores], axis=0))

    def grain(self, pool: Pool) -> float:
        """Return what one prediction changes: nearer models are not told apart; 0 for a numeric target."""
        return 1 / min(len(pool.rows[part]) for part in PARTS) if pool.classes else 0.0
