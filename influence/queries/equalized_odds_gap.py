"""How unequal the groups' true and false positive rates are (equalized odds; Hardt, Price and Srebro, arXiv:1610.02413)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch

from influence.groups import place_of
from influence.queries._gaps import MINUS, Grouped
from influence.queries._groups import chosen, contrast, extremes, probability, spread
from influence.registry import option, queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class EqualizedOddsGap(Grouped):
    """Difference between groups in true and in false positive rate: people read the larger, the smooth version is the mean of both.

    The two groups compared may be others among positive rows than among negative ones.
    """

    positive: str = option("", "Favourable class; default: the one chosen with the data, else the last in sorted order")
    among_positive: tuple[str, ...] = ()
    among_negative: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the value, with its groups once they are fixed."""
        pairs = [f" {MINUS} ".join(pair) for pair in (self.among_positive, self.among_negative) if pair]
        said = f" ({pairs[0]})" if len(set(pairs)) == 1 else f" (true positives {pairs[0]}, false {pairs[1]})" if pairs else ""
        return (self.measured_label + said,)

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""
        return f"Equalized-odds gap by {self.group}"

    def _parts(self, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
        real = examples.y == place_of(self.positive, examples)
        return real, ~real

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Self:
        """Fix the positive class, the bins, and the extreme groups among positive and among negative rows."""
        if self.among_positive:
            return self
        own = place_of(self.positive, examples)
        fixed = replace(self.cut(examples), positive=examples.classes[own])
        groups, p = fixed.groups(examples), probability(logits, own)
        positive, negative = (extremes(p, groups, part) for part in self._parts(examples))
        return replace(fixed, among_positive=positive, among_negative=negative)

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Mean over positive and negative rows of the signed difference in mean probability, (1,)."""
        fixed = self.oriented(logits, examples)
        groups, p = fixed.groups(examples), probability(logits, place_of(self.positive, examples))
        pairs = (fixed.among_positive, fixed.among_negative)
        gaps = [contrast(p, groups, (pair[0], pair[1]), part) for pair, part in zip(pairs, self._parts(examples), strict=True)]
        return torch.stack(gaps).mean().reshape(1)

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """The larger of the gaps in true and in false positive rate, (1,)."""
        hit, groups = chosen(logits, place_of(self.positive, examples)), self.groups(examples)
        return torch.stack([spread(hit, groups, part) for part in self._parts(examples)]).max().reshape(1)
