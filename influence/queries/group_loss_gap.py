"""How much worse the model is for one group: the difference of mean losses (of a numeric target: squared error, read as absolute error)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch

from influence.queries._gaps import Gap
from influence.queries._groups import losses, read_losses
from influence.registry import queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class GroupLossGap(Gap):
    """Difference between groups in the mean loss; of a numeric target in the mean squared error, read as the mean absolute error."""

    numeric: bool = False

    name: ClassVar[str] = "Group loss gap"

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""
        return f"{'Mean absolute error gap' if self.numeric else self.name} by {self.group}"

    def soft(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Return the loss, (M,)."""
        return losses(logits, examples)

    def hard(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Return the loss, or the absolute error of a numeric target, (M,)."""
        return read_losses(logits, examples)

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Self:
        """Fix the bins, the two groups, and what the hard metric is called."""
        return super(GroupLossGap, replace(self, numeric=not examples.classes)).oriented(logits, examples)
