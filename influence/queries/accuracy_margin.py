"""The mean margin z_y - log sum of exp of the other outputs: the smooth twin of accuracy. For a numeric target: R squared, smooth itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from influence.queries._groups import losses
from influence.registry import queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class AccuracyMargin:
    """Mean margin of the right class over the others; read as accuracy (for a numeric target: R squared)."""

    better: ClassVar[Literal["lower", "higher", "neither"]] = "higher"

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the value."""
        return ("Mean margin",)

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""
        return "Accuracy"

    def oriented(self, logits: torch.Tensor, examples: Examples) -> AccuracyMargin:
        """Nothing depends on the model."""
        return self

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Mean margin, (1,); for a numeric target R squared."""
        if not examples.classes:
            y = torch.from_numpy(np.array(examples.y))
            return (1 - losses(logits, examples).mean() / ((y - y.mean()) ** 2).mean()).reshape(1)
        own = torch.nn.functional.one_hot(torch.from_numpy(np.array(examples.y)), logits.shape[1]).bool()
        return (logits[own] - logits.masked_fill(own, -torch.inf).logsumexp(1)).mean().reshape(1)

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Share of right predictions, (1,); for a numeric target R squared."""
        if not examples.classes:
            return self.value(logits, examples)
        return (logits.argmax(1) == torch.from_numpy(np.array(examples.y))).to(logits.dtype).mean().reshape(1)
