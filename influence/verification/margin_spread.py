"""Whether single removed rows stand out, though all together fare as they should."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from influence.registry import option, verification
from influence.verification._pool import Pool, standing


@verification
@dataclass(frozen=True)
class MarginSpread:
    """How far the margins of the most unusual removed rows lie from the other models', in their standard deviations."""

    share: float = option(0.95, "Share of the removed rows that lie nearer", min=0.5, max=1.0, advanced=True)

    side: ClassVar[str] = "high"
    label: ClassVar[str] = "Most unusual removed rows"
    unit: ClassVar[str] = "sd"

    def __call__(self, pool: Pool) -> np.ndarray:
        """Return one value per model, (J,)."""
        return np.asarray(np.quantile(np.abs(standing(pool.margins("forget"))), self.share, axis=1))
