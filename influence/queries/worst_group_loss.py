"""The loss of the group that is served worst, smoothed: tau log of the sum over groups of exp(loss / tau)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from influence.groups import edges_of, names_of
from influence.queries._groups import losses, means, read_losses
from influence.registry import option, queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class WorstGroupLoss:
    """Mean loss of the worst group, smoothed so that no group's gradient is lost."""

    group: str = option("", "Column that forms the groups", column=True)
    bins: int = option(4, "Bins of a numeric group column", min=2, max=20, advanced=True)
    tau: float = option(0.01, "Smoothing, in units of the loss; smaller is closer to the maximum", min=1e-4, max=1.0, advanced=True)
    edges: tuple[float, ...] = ()

    better: ClassVar[Literal["lower", "higher", "neither"]] = "lower"

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the value."""
        return (f"Worst group loss by {self.group}",)

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""
        return f"Worst group loss by {self.group}"

    def oriented(self, logits: torch.Tensor, examples: Examples) -> WorstGroupLoss:
        """Fix the bin edges."""
        return replace(self, edges=self.edges or edges_of(examples, self.group, self.bins))

    def _means(self, per_row: torch.Tensor, examples: Examples) -> torch.Tensor:
        return means(per_row, names_of(examples, self.group, self.bins, self.edges))[1]

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Smoothed maximum of the groups' mean losses, (1,)."""
        return (self.tau * (self._means(losses(logits, examples), examples) / self.tau).logsumexp(0)).reshape(1)

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Largest mean loss (numeric target: mean absolute error) over the groups, (1,)."""
        return self._means(read_losses(logits, examples), examples).max().reshape(1)
