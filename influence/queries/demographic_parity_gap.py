"""How much more often one group gets the positive prediction (demographic parity; Dwork et al., arXiv:1104.3913)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from influence.queries._gaps import RateGap
from influence.registry import queries


@queries
@dataclass(frozen=True)
class DemographicParityGap(RateGap):
    """Difference between groups in the rate of positive predictions; its smooth version compares mean probabilities."""

    name: ClassVar[str] = "Demographic-parity gap"
