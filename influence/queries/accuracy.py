"""The share of right predictions, made smooth: a logistic step of a small width stands for right or wrong.

The mean margin of `accuracy_margin` grows without end with rows that are right anyhow; this one looks at rows near the boundary alone, as
accuracy does, and is in accuracy's own unit (docs/decisions/013-accuracy-in-budgets.md). Of a numeric target: R squared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from influence.queries._groups import target
from influence.queries.accuracy_margin import AccuracyMargin
from influence.registry import option, queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class Accuracy:
    """Share of right predictions, with a smooth step in place of the threshold; for a numeric target R squared, read as such."""

    width: float = option(0.1, "Width of the step, in log-odds; the smaller, the nearer to accuracy", min=0.01, max=10.0, advanced=True)
    numeric: bool = False

    better: ClassVar[Literal["lower", "higher", "neither"]] = "higher"

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the value."""
        return ("R²" if self.numeric else "Smooth accuracy",)

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""
        return "R²" if self.numeric else "Accuracy"

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Accuracy:
        """Fix only what the value is called: nothing depends on the model."""
        return replace(self, numeric=not examples.classes)

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Mean of the step at z_y minus the largest other output, (1,); for a numeric target R squared."""
        if not examples.classes:
            return AccuracyMargin().value(logits, examples)
        y = target(examples)[:, None]
        others = logits.scatter(1, y, -torch.inf).amax(1)
        return torch.sigmoid((logits.gather(1, y)[:, 0] - others) / self.width).mean().reshape(1)

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Share of right predictions, (1,); for a numeric target R squared."""
        return AccuracyMargin().measured(logits, examples)
