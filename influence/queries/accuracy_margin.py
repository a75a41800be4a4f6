"""The mean margin z_y - log sum exp of the other outputs: the smooth twin of accuracy. Of a numeric target: R squared, smooth itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from influence.errors import BadInput
from influence.queries._groups import log_odds, losses, target
from influence.registry import queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class AccuracyMargin:
    """Mean log-odds of the right class, read as accuracy; for a numeric target R squared, read as such."""

    numeric: bool = False

    better: ClassVar[Literal["lower", "higher", "neither"]] = "higher"

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the value."""
        return ("R²" if self.numeric else "Mean margin",)

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""
        return "R²" if self.numeric else "Accuracy"

    def oriented(self, logits: torch.Tensor, examples: Examples) -> AccuracyMargin:
        """Fix only what the value is called: nothing depends on the model."""
        return replace(self, numeric=not examples.classes)

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Mean margin, (1,); for a numeric target R squared."""
        if not examples.classes:
            return _r2(logits, examples)
        return log_odds(logits, target(examples)).mean().reshape(1)

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Share of right predictions, (1,); for a numeric target R squared."""
        if not examples.classes:
            return _r2(logits, examples)
        return (logits.argmax(1) == target(examples)).to(logits.dtype).mean().reshape(1)


def _r2(logits: torch.Tensor, examples: Examples) -> torch.Tensor:
    y = target(examples).to(logits.dtype)
    variance = y.var(correction=0)
    if not variance > 0:
        raise BadInput(f"R² needs numbers that differ; the target is the same in all {len(y)} rows. Ask for loss, or give more rows.")
    return (1 - losses(logits, examples).mean() / variance).reshape(1)
