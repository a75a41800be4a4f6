"""How much worse the model is for one group: the difference of mean losses (of a numeric target: squared error, read as absolute error)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from influence.queries._groups import between, extremes, losses, read_losses, spread
from influence.registry import option, queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class GroupLossGap:
    """Difference between groups in the mean loss."""

    group: str = option("", "Column that forms the groups", column=True)
    bins: int = option(4, "Bins of a numeric group column", min=2, max=20, advanced=True)
    high: str = ""
    low: str = ""
    edges: tuple[float, ...] = ()

    better: ClassVar[Literal["lower", "higher", "neither"]] = "lower"

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the value, with the two groups once they are fixed."""
        return (f"Group loss gap by {self.group}" + (f" ({self.high} minus {self.low})" if self.high else ""),)

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""
        return f"Group loss gap by {self.group}"

    def oriented(self, logits: torch.Tensor, examples: Examples) -> GroupLossGap:
        """Fix the groups with the highest and the lowest mean loss."""
        return self if self.high else extremes(self, losses(logits, examples), examples)

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Difference of mean losses between the two groups, (1,)."""
        return between(self.oriented(logits, examples), losses(logits, examples), examples)

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Largest minus smallest mean loss (numeric target: mean absolute error) over the groups, (1,)."""
        return spread(self, read_losses(logits, examples), examples)
