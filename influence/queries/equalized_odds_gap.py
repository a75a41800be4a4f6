"""How unequal the groups' true and false positive rates are (equalised odds; Hardt, Price and Srebro, arXiv:1610.02413)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from influence.groups import edges_of, names_of, place_of
from influence.queries._groups import chosen, extremes, mean_in, probability, spread
from influence.registry import option, queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class EqualizedOddsGap:
    """Mean over positives and negatives of the difference between two groups; read as the larger of the two gaps in hard rates."""

    group: str = option("", "Column that forms the groups", column=True)
    positive: str = option("", "Favourable class; default: the last in sorted order")
    bins: int = option(4, "Bins of a numeric group column", min=2, max=20, advanced=True)
    pairs: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()

    better: ClassVar[Literal["lower", "higher", "neither"]] = "lower"

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the value."""
        return (f"Equalised-odds gap by {self.group}",)

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""
        return f"Equalised-odds gap by {self.group}"

    def oriented(self, logits: torch.Tensor, examples: Examples) -> EqualizedOddsGap:
        """Fix, for positives and for negatives, the groups with the highest and the lowest mean probability."""
        if self.pairs:
            return self
        own = place_of(self.positive, examples)
        probe = _Probe(self.group, self.bins, edges_of(examples, self.group, self.bins))
        found = [extremes(probe, probability(logits, own), examples, examples.y == own if sign else examples.y != own) for sign in (1, 0)]
        return replace(self, edges=probe.edges, pairs=tuple(name for f in found for name in (f.high, f.low)))

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Mean of the two signed differences, (1,)."""
        fixed, own = self.oriented(logits, examples), place_of(self.positive, examples)
        names, p = names_of(examples, self.group, self.bins, fixed.edges), probability(logits, own)
        high1, low1, high0, low0 = fixed.pairs
        real = examples.y == own
        positives = mean_in(p, names, high1, real) - mean_in(p, names, low1, real)
        negatives = mean_in(p, names, high0, ~real) - mean_in(p, names, low0, ~real)
        return ((positives + negatives) / 2).reshape(1)

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """The larger of the gaps in true and in false positive rate, (1,)."""
        own = place_of(self.positive, examples)
        hit, real = chosen(logits, own), examples.y == own
        return torch.maximum(spread(self, hit, examples, real), spread(self, hit, examples, ~real))


@dataclass(frozen=True)
class _Probe:
    group: str
    bins: int
    edges: tuple[float, ...]
    high: str = ""
    low: str = ""
