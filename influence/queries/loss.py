"""The mean loss of the evaluation rows: cross-entropy, or squared error of a numeric target (read as mean absolute error)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from influence.queries._groups import losses, read_losses
from influence.registry import queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class Loss:
    """Mean loss of the evaluation rows; of a numeric target the mean squared error, read as the mean absolute error."""

    numeric: bool = False

    better: ClassVar[Literal["lower", "higher", "neither"]] = "lower"

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the value."""
        return ("Mean squared error" if self.numeric else "Mean loss",)

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""
        return "Mean absolute error" if self.numeric else "Mean loss"

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Loss:
        """Fix only what the loss is called: nothing depends on the model."""
        return replace(self, numeric=not examples.classes)

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Mean loss, (1,)."""
        return losses(logits, examples).mean().reshape(1)

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Mean cross-entropy, or mean absolute error, (1,)."""
        return read_losses(logits, examples).mean().reshape(1)
