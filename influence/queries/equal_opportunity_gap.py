"""How much more often one group's truly positive rows are predicted positive (equal opportunity; Hardt et al., arXiv:1610.02413)."""

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
class EqualOpportunityGap(RateGap):
    """Difference between groups in the true positive rate; its smooth version compares mean probabilities of the positive rows."""

    name: ClassVar[str] = "Equal-opportunity gap"

    def kept(self, examples: Examples) -> np.ndarray:
        """Return which rows are truly positive, (M,) bool."""
        return examples.y == place_of(self.positive, examples)
