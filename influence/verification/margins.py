"""Whether the removed rows, taken together, fare as in models that never saw them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from influence.registry import verification
from influence.verification._pool import Pool, standing


@verification
@dataclass(frozen=True)
class Margins:
    """Mean over the removed rows of how far a model's margin lies from the other models', in their standard deviations.

    Above the band: it still knows the rows. Below: it was driven past forgetting, which shows which rows were removed.
    """

    side: ClassVar[str] = "both"
    label: ClassVar[str] = "Margins of removed rows"
    unit: ClassVar[str] = "sd"

    def __call__(self, pool: Pool) -> np.ndarray:
        """Return one value per model, (J,)."""
        return np.asarray(standing(pool.margins("forget")).mean(1))
