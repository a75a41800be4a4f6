"""How differently groups are overstated: calibration in the large (van Calster et al., BMC Medicine 17:230, 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from influence.groups import place_of
from influence.queries._gaps import RateGap
from influence.queries._groups import target
from influence.registry import queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class CalibrationGap(RateGap):
    """Difference between groups in mean predicted probability minus observed rate. Smooth itself: what is predicted is what is read."""

    name: ClassVar[str] = "Calibration gap"

    def soft(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Return probability minus outcome of the positive class, (M,)."""
        own = place_of(self.positive, examples)
        return super().soft(logits, examples) - (target(examples) == own).to(logits.dtype)

    def hard(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Return the same: people read the smooth quantity."""
        return self.soft(logits, examples)
