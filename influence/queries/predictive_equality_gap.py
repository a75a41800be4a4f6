"""How unequal the groups' false positive rates are (predictive equality; Corbett-Davies et al., arXiv:1701.08230)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from influence.groups import place_of
from influence.queries._gaps import RateGap
from influence.registry import queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class PredictiveEqualityGap(RateGap):
    """Difference between groups in the false positive rate; its smooth version compares mean probabilities of the negative rows."""

    name: ClassVar[str] = "Predictive-equality gap"

    def kept(self, examples: Examples) -> np.ndarray:
        """Return which rows are truly negative, (M,) bool."""
        return examples.y != place_of(self.positive, examples)
