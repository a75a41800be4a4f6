"""How much a class is over- or underestimated on the whole: calibration in the large (van Calster et al., BMC Medicine 17:230, 2019)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import torch

from influence.groups import place_of
from influence.queries._groups import probability, target
from influence.registry import option, queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class Calibration:
    """Mean predicted probability of a class minus how often it is right, or the reverse where the model says too little.

    Which of the two is decided once, on the model asked about, so that the value is not negative there: `sign`, 0 until then. Smooth
    itself: what is predicted is what is read, but that people read its size.
    """

    positive: str = option("", "Class whose probability is judged; default: the favourable one of the data")
    sign: int = 0

    better: ClassVar[Literal["lower", "higher", "neither"]] = "lower"

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the value: which way the model is wrong, once that is known."""
        return (
            {1: "Over-prediction", -1: "Under-prediction"}.get(self.sign, "Calibration error")
            + (f" of {self.positive}" * bool(self.positive)),
        )

    @property
    def measured_label(self) -> str:
        """Name of what people read."""
        return self.labels[0]

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Self:
        """Fix the class, and the sign on this model."""
        if self.sign:
            return self
        fixed = replace(self, positive=examples.classes[place_of(self.positive, examples)], sign=1)
        return fixed if float(fixed.value(logits, examples)) >= 0 else replace(fixed, sign=-1)

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Signed mean of probability minus outcome, (1,)."""
        fixed = self.oriented(logits.detach(), examples)
        own = place_of(self.positive, examples)
        return (fixed.sign * (probability(logits, own) - (target(examples) == own).to(logits.dtype)).mean()).reshape(1)

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Return the same, (1,): people read the smooth quantity."""
        return self.value(logits, examples)
