"""How far the outputs on removed rows are from those of models that never saw them (Lin, doi:10.1109/18.61115)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import rel_entr

from influence.registry import verification
from influence.verification._pool import Pool


@verification
@dataclass(frozen=True)
class Jsd:
    """Mean Jensen-Shannon divergence, in nats, of a model's class probabilities on removed rows from the other models' mean ones.

    0 for equal, log 2 at most. Of a numeric target: the mean distance from the other models' mean prediction.
    """

    side: ClassVar[str] = "high"
    label: ClassVar[str] = "Divergence on removed rows"
    unit: ClassVar[str] = "nats"

    def __call__(self, pool: Pool) -> np.ndarray:
        """Return one value per model, (J,)."""
        p = pool.chances("forget") if pool.classes else pool.outputs["forget"].astype(np.float64)
        others = (p.sum(0) - p) / (len(p) - 1)
        if not pool.classes:
            return np.asarray(np.abs(p - others).mean((1, 2)))
        middle = (p + others) / 2
        both = rel_entr(p, middle).sum(2) + rel_entr(others, middle).sum(2)
        return np.asarray(np.maximum(both / 2, 0.0).mean(1))
