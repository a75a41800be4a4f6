"""How the model treats groups: rates and losses per group, and the gaps between them, with 95 % intervals.

Rates: Wilson. Gaps: the stratified bootstrap from the groups' counts, which is exact for rates (resampling rows within a group and counting
is drawing a multinomial) and takes milliseconds; of means, a normal draw with each group's standard error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from influence.errors import BadInput
from influence.evaluation._tables import DRAWS, of_mean, percentiles, row, row_losses, softmax, wilson
from influence.groups import FEWEST, names_of, place_of
from influence.registry import evaluation, option
from influence.types import Examples


@evaluation
@dataclass(frozen=True)
class Fairness:
    """Selection rate, true and false positive rate, accuracy and loss per group, and the gaps between groups."""

    group: str = option("", "Column that forms the groups", column=True)
    positive: str = option("", "Favourable class; default: the last in sorted order")
    bins: int = option(4, "Bins of a numeric group column", min=2, max=20, advanced=True)
    seed: int = option(0, "Seed of the bootstrap", min=0, max=2**31 - 1, advanced=True)
    edges: tuple[float, ...] = ()

    def __call__(self, logits: np.ndarray, examples: Examples, reference: np.ndarray | None = None) -> pd.DataFrame:
        """Return the table for logits (M, C): rows per group, then gaps (group "").

        Raises:
            BadInput: no such column or class, or fewer than two groups with ten rows.
        """
        names = names_of(examples, self.group, self.bins, self.edges).astype(str)
        sizes = pd.Series(names).value_counts()
        if (sizes >= FEWEST).sum() < 2:
            raise BadInput(f"Comparing groups by {self.group!r} needs two groups with at least {FEWEST} rows; got {sizes.to_dict()}.")
        losses = row_losses(logits, examples.y, bool(examples.classes))
        rng = np.random.default_rng(self.seed)
        groups = sorted(sizes.index)
        rows = self._rates(logits, examples, names, groups, rng) if examples.classes else []
        return pd.DataFrame(rows + self._losses(losses, names, groups, rng, "loss" if examples.classes else "mae"))

    def _rates(
        self, logits: np.ndarray, examples: Examples, names: np.ndarray, groups: list[str], rng: np.random.Generator
    ) -> list[dict[str, Any]]:
        own = place_of(self.positive, examples)
        said, real, right = logits.argmax(1) == own, examples.y == own, logits.argmax(1) == examples.y
        excess = softmax(logits)[:, own] - real
        everyone = np.ones(len(real), dtype=bool)
        kinds = {
            "selection_rate": (said, everyone, "neither"),
            "true_positive_rate": (said, real, "higher"),
            "false_positive_rate": (said, ~real, "lower"),
            "accuracy": (right, everyone, "higher"),
        }
        rows, draws = [], {}
        for metric, (hit, among, better) in kinds.items():
            hits = np.array([hit[among & (names == g)].sum() for g in groups])
            counts = np.array([(among & (names == g)).sum() for g in groups])
            rows += [row(metric, g, h / n if n else np.nan, wilson(h, n), n, better) for g, h, n in zip(groups, hits, counts, strict=True)]
            draws[metric] = _Rates(hits, counts, rng)
        parity, opportunity, wrongly = draws["selection_rate"], draws["true_positive_rate"], draws["false_positive_rate"]
        rows += [
            row("demographic_parity_gap", "", *parity.gap(), "lower"),
            row("equal_opportunity_gap", "", *opportunity.gap(), "lower"),
            row("equalized_odds_gap", "", *opportunity.gap(wrongly), "lower"),
            row("accuracy_gap", "", *draws["accuracy"].gap(), "lower"),
        ]
        calibration = _Means([excess[names == g] for g in groups], rng)
        return [*rows, row("calibration_gap", "", *calibration.gap(), "lower")]

    def _losses(
        self, losses: np.ndarray, names: np.ndarray, groups: list[str], rng: np.random.Generator, metric: str
    ) -> list[dict[str, Any]]:
        parts = [losses[names == g] for g in groups]
        rows = [row(metric, g, part.mean(), of_mean(part), len(part), "lower") for g, part in zip(groups, parts, strict=True)]
        found = _Means(parts, rng)
        return [*rows, row("group_loss_gap", "", *found.gap(), "lower"), row("worst_group_loss", "", *found.worst(), "lower")]


class _Rates:
    """Rates of several groups and their bootstrap draws, (DRAWS, groups with at least ten rows)."""

    def __init__(self, hits: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> None:
        self.enough = counts >= FEWEST
        self.n = int(counts[self.enough].sum())
        self.rates = hits[self.enough] / counts[self.enough]
        self.draws = rng.binomial(counts[self.enough], self.rates, (DRAWS, len(self.rates))) / counts[self.enough]

    def gap(self, other: _Rates | None = None) -> tuple[float, tuple[float, float], int]:
        """Largest minus smallest rate (the larger of two such gaps), its interval and n."""
        if len(self.rates) < 2:
            return np.nan, (np.nan, np.nan), self.n
        value, draws = np.ptp(self.rates), np.ptp(self.draws, axis=1)
        if other is not None and len(other.rates) >= 2:
            value, draws = max(value, np.ptp(other.rates)), np.maximum(draws, np.ptp(other.draws, axis=1))
        return float(value), percentiles(draws), self.n


class _Means:
    """Means of several groups and normal draws of them."""

    def __init__(self, parts: list[np.ndarray], rng: np.random.Generator) -> None:
        kept = [part for part in parts if len(part) >= FEWEST]
        self.n = sum(map(len, kept))
        self.means = np.array([part.mean() for part in kept])
        errors = np.array([part.std(ddof=1) / np.sqrt(len(part)) for part in kept])
        self.draws = self.means + errors * rng.normal(size=(DRAWS, len(kept)))

    def gap(self) -> tuple[float, tuple[float, float], int]:
        """Largest minus smallest mean, its interval and n."""
        return float(np.ptp(self.means)), percentiles(np.ptp(self.draws, axis=1)), self.n

    def worst(self) -> tuple[float, tuple[float, float], int]:
        """Largest mean, its interval and n."""
        return float(self.means.max()), percentiles(self.draws.max(axis=1)), self.n
