"""How often one group gets the positive prediction: tells whether a gap closes because one group is lifted or the other is lowered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import torch

from influence.groups import place_of
from influence.queries._gaps import Grouped
from influence.queries._groups import chosen, mean_in, probability
from influence.registry import option, queries
from influence.types import Examples

NAMES = {"all": "Selection rate", "positives": "True positive rate", "negatives": "False positive rate"}
BETTER: dict[str, Literal["lower", "higher", "neither"]] = {"all": "neither", "positives": "higher", "negatives": "lower"}


@queries
@dataclass(frozen=True)
class GroupRate(Grouped):
    """Rate of positive predictions in one group, of all its rows or of the truly positive or negative; twin: their mean probability."""

    which: str = option("", "Name of the group")
    positive: str = option("", "Favourable class; default: the one chosen with the data, else the last in sorted order")
    of: Literal["all", "positives", "negatives"] = option("positives", "Of all rows, or of those that truly are positive or negative")

    @property
    def better(self) -> Literal["lower", "higher", "neither"]:  # type: ignore[override]
        """Higher for true positives, lower for false ones."""
        return BETTER[self.of]

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the value."""
        return (f"{NAMES[self.of]} of {self.which} ({self.group})",)

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""
        return self.labels[0]

    def _mean(self, per_row: torch.Tensor, examples: Examples) -> torch.Tensor:
        real: np.ndarray = examples.y == place_of(self.positive, examples)
        keep = {"all": None, "positives": real, "negatives": ~real}[self.of]
        return mean_in(per_row, self.groups(examples), self.which, keep).reshape(1)

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Self:
        """Fix the positive class and the bins, and see that there are such rows."""
        fixed = replace(self.cut(examples), positive=examples.classes[place_of(self.positive, examples)])
        fixed.measured(logits, examples)
        return fixed

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Mean probability of the positive class in the group, (1,)."""
        return self._mean(probability(logits, place_of(self.positive, examples)), examples)

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Rate of positive predictions in the group, (1,)."""
        return self._mean(chosen(logits, place_of(self.positive, examples)), examples)
