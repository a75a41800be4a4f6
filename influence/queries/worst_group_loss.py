"""The loss of the group that is served worst (distributionally robust risk; Sagawa et al., arXiv:1911.08731), smoothed by log-sum-exp."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch

from influence.queries._gaps import Grouped
from influence.queries._groups import losses, means, read_losses
from influence.registry import option, queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class WorstGroupLoss(Grouped):
    """Mean loss of the worst group; of a numeric target the mean squared error, read as the mean absolute error.

    Its smooth version is tau log(sum over groups of exp(loss / tau)): above the maximum by at most tau log(groups), and where two
    groups are nearly equally bad both count.
    """

    tau: float = option(0.01, "Smoothing, in units of the loss; smaller is closer to the maximum", min=1e-4, max=10.0, advanced=True)
    numeric: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the value."""
        return (f"Worst group loss by {self.group}",)

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""
        return f"Worst group {'mean absolute error' if self.numeric else 'loss'} by {self.group}"

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Self:
        """Fix the bins, and what the hard metric is called."""
        fixed = replace(self.cut(examples), numeric=not examples.classes)
        fixed.groups(examples).comparable()
        return fixed

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Smoothed maximum of the groups' mean losses, (1,)."""
        _, found = means(losses(logits, examples), self.groups(examples))
        return (self.tau * (found / self.tau).logsumexp(0)).reshape(1)

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Largest mean loss (numeric target: mean absolute error) over the groups, (1,)."""
        return means(read_losses(logits, examples), self.groups(examples))[1].max().reshape(1)
