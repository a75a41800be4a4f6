"""The mean loss of one group: of several groups, asked side by side, it says whom a training row helps and whom it harms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch

from influence.queries._gaps import Grouped
from influence.queries._groups import losses, mean_in, read_losses
from influence.registry import option, queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class GroupLoss(Grouped):
    """Mean loss of one group; of a numeric target the mean squared error, read as the mean absolute error."""

    which: str = option("", "Name of the group")
    numeric: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the value."""
        return (f"{'Mean squared error' if self.numeric else 'Loss'} of {self.which} ({self.group})",)

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""
        return f"{'Mean absolute error' if self.numeric else 'Loss'} of {self.which} ({self.group})"

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Self:
        """Fix the bins and what the loss is called, and see that there are such rows."""
        fixed = replace(self.cut(examples), numeric=not examples.classes)
        fixed.measured(logits, examples)
        return fixed

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Mean loss in the group, (1,)."""
        return mean_in(losses(logits, examples), self.groups(examples), self.which).reshape(1)

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Mean cross-entropy, or mean absolute error, in the group, (1,)."""
        return mean_in(read_losses(logits, examples), self.groups(examples), self.which).reshape(1)
