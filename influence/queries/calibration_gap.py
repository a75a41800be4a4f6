"""How differently the model over- or understates: the difference between groups of mean probability minus rate (calibration in the large)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from influence.groups import place_of
from influence.queries._groups import between, extremes, probability, spread
from influence.registry import option, queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class CalibrationGap:
    """Difference between groups of (mean predicted probability - observed rate); smooth, so that what is predicted is what is read."""

    group: str = option("", "Column that forms the groups", column=True)
    positive: str = option("", "Favourable class; default: the last in sorted order")
    bins: int = option(4, "Bins of a numeric group column", min=2, max=20, advanced=True)
    high: str = ""
    low: str = ""
    edges: tuple[float, ...] = ()

    better: ClassVar[Literal["lower", "higher", "neither"]] = "lower"

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the value, with the two groups once they are fixed."""
        return (f"Calibration gap by {self.group}" + (f" ({self.high} minus {self.low})" if self.high else ""),)

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""
        return f"Calibration gap by {self.group}"

    def _excess(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        own = place_of(self.positive, examples)
        return probability(logits, own) - torch.from_numpy(examples.y == own).to(logits.dtype)

    def oriented(self, logits: torch.Tensor, examples: Examples) -> CalibrationGap:
        """Fix the groups that are overstated most and least."""
        return self if self.high else extremes(self, self._excess(logits, examples), examples)

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Difference of the excess between the two groups, (1,)."""
        return between(self.oriented(logits, examples), self._excess(logits, examples), examples)

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Largest minus smallest excess over the groups, (1,)."""
        return spread(self, self._excess(logits, examples), examples)
