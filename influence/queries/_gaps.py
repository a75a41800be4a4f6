"""What the questions about groups have in common: their settings, how they are oriented, and what a gap is.

A gap is the difference between two groups' means of something per row. Which two is decided once, on the model asked about: those with
the highest and the lowest mean, so that the gap is not negative there. From then on it is a fixed functional, which may change its sign.
People read the largest minus the smallest mean of all groups with at least ten rows of the kind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np
import torch

from influence.groups import Edges, Groups, columns_of, edges_of, group_name, groups_of, place_of
from influence.queries._groups import chosen, contrast, extremes, probability, spread
from influence.registry import option
from influence.types import Examples

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Grouped:
    """A question about groups. `edges`: where a numeric column is cut, () for nowhere, None until the question is oriented."""

    group: str = option("", "Column that forms the groups, or up to three: sex & race", column=True)
    bins: int = option(4, "Bins of a numeric group column", min=2, max=20, advanced=True)
    edges: Edges | None = None

    better: ClassVar[Literal["lower", "higher", "neither"]] = "lower"

    def groups(self, examples: Examples) -> Groups:
        """Return the rows' groups."""
        return groups_of(examples, self.group, self.bins, self.edges)

    def cut(self, examples: Examples) -> Self:
        """Return a copy whose bins are fixed, and whose group is written as it is called in these data."""
        if self.edges is not None:
            return self
        named = group_name(examples, columns_of(examples, self.group))
        return replace(self, group=named, edges=edges_of(examples, named, self.bins))


@dataclass(frozen=True)
class Gap(Grouped):
    """A signed difference between two groups: `high` minus `low`, both "" until the question is oriented."""

    high: str = ""
    low: str = ""

    name: ClassVar[str] = "Gap"

    def soft(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Return the differentiable quantity per row, (M, C) -> (M,)."""
        raise NotImplementedError

    def hard(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Return the quantity per row whose means people read, (M, C) -> (M,)."""
        raise NotImplementedError

    def kept(self, examples: Examples) -> np.ndarray | None:
        """Return which rows count, (M,) bool; None for all."""
        return None

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the value, with its two groups once they are fixed."""
        return (f"{self.name} by {self.group}" + (f" ({self.high} {MINUS} {self.low})" if self.high else ""),)

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""
        return f"{self.name} by {self.group}"

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Self:
        """Fix the bins and the groups with the highest and the lowest mean."""
        if self.high:
            return self
        fixed = self.cut(examples)
        high, low = extremes(self.soft(logits, examples), fixed.groups(examples), self.kept(examples))
        return replace(fixed, high=high, low=low)

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Mean of the soft quantity in the high group minus that in the low group, (1,)."""
        fixed = self.oriented(logits, examples)
        pair = (fixed.high, fixed.low)
        return contrast(self.soft(logits, examples), fixed.groups(examples), pair, self.kept(examples)).reshape(1)

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Largest minus smallest mean of the hard quantity over the groups, (1,)."""
        return spread(self.hard(logits, examples), self.groups(examples), self.kept(examples)).reshape(1)

    def paired(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Mean of the hard quantity in the high group minus that in the low group, (1,): signed, of the same two groups as `value`."""
        fixed = self.oriented(logits, examples)
        pair = (fixed.high, fixed.low)
        return contrast(self.hard(logits, examples), fixed.groups(examples), pair, self.kept(examples)).reshape(1)


@dataclass(frozen=True)
class RateGap(Gap):
    """A gap in how often a class is predicted: its probability stands for the prediction, so that it is differentiable."""

    positive: str = option("", "Favourable class; default: the one chosen with the data, else the last in sorted order")

    def soft(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Return the probability of the positive class, (M,)."""
        return probability(logits, place_of(self.positive, examples))

    def hard(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Return 1.0 where the positive class is predicted, (M,)."""
        return chosen(logits, place_of(self.positive, examples))

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Self:
        """Fix the positive class, the bins and the two groups."""
        named = replace(self, positive=examples.classes[place_of(self.positive, examples)])
        return super(RateGap, named).oriented(logits, examples)
