"""How much more often one group's truly positive rows are predicted positive (equal opportunity; Hardt et al., arXiv:1610.02413)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from influence.groups import place_of
from influence.queries._groups import between, chosen, extremes, probability, spread
from influence.registry import option, queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class EqualOpportunityGap:
    """Difference between groups in the true positive rate."""

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
        return (f"Equal-opportunity gap by {self.group}" + (f" ({self.high} minus {self.low})" if self.high else ""),)

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""
        return f"Equal-opportunity gap by {self.group}"

    def _keep(self, examples: Examples) -> np.ndarray | None:
        return examples.y == place_of(self.positive, examples)

    def oriented(self, logits: torch.Tensor, examples: Examples) -> EqualOpportunityGap:
        """Fix the groups with the highest and the lowest mean probability."""
        return self if self.high else extremes(self, probability(logits, place_of(self.positive, examples)), examples, self._keep(examples))

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Difference of mean probabilities between the two groups, (1,)."""
        fixed = self.oriented(logits, examples)
        return between(fixed, probability(logits, place_of(self.positive, examples)), examples, self._keep(examples))

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Largest minus smallest rate of positive predictions over the groups, (1,)."""
        return spread(self, chosen(logits, place_of(self.positive, examples)), examples, self._keep(examples))
