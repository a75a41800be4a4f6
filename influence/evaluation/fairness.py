"""How the model treats groups: rates and losses per group and the gaps between them, with 95 % intervals.

Rates: Wilson; means: Student's t; gaps and worst groups: simultaneous limits of all groups (`influence/evaluation/_groups.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from influence.evaluation._groups import Estimates, gap, means, rates, worst
from influence.evaluation._tables import refuse_unfit, row, row_losses, softmax
from influence.groups import Groups, groups_of, place_of
from influence.registry import evaluation, option
from influence.types import Examples


@evaluation
@dataclass(frozen=True)
class Fairness:
    """Selection rate, true and false positive rate, accuracy, calibration and loss per group, and the gaps between groups.

    Of a numeric target: the mean absolute error per group and its gap. `calibration` is mean probability minus observed rate. Groups with
    fewer than ten rows of a kind are shown without an interval and take no part in gaps.
    """

    group: str = option("", "Column that forms the groups", column=True)
    positive: str = option("", "Favourable class; default: the one chosen with the data, else the last in sorted order")
    bins: int = option(4, "Bins of a numeric group column", min=2, max=20, advanced=True)
    edges: tuple[float, ...] | None = None

    def __call__(self, logits: np.ndarray, examples: Examples, reference: np.ndarray | None = None) -> pd.DataFrame:
        """Return the table for logits (M, C): rows per group, then gaps (group "").

        Raises:
            BadInput: no such column or class, or fewer than two groups with ten rows.
        """
        refuse_unfit(logits, examples)
        groups = groups_of(examples, self.group, self.bins, self.edges)
        groups.comparable()
        rows = self._rates(logits, examples, groups) if examples.classes else []
        losses = means(row_losses(logits, examples.y, bool(examples.classes)), groups.code, len(groups.names), least=0.0)
        rows += _per_group("loss" if examples.classes else "mae", groups, losses, "lower")
        rows += [row("group_loss_gap", "", *gap(losses), "lower"), row("worst_group_loss", "", *worst(losses), "lower")]
        return pd.DataFrame(rows)

    def _rates(self, logits: np.ndarray, examples: Examples, groups: Groups) -> list[dict[str, Any]]:
        own, said = place_of(self.positive, examples), logits.argmax(1)
        real, right = examples.y == own, said == examples.y
        selected = _rate(said == own, groups)
        hits, alarms = _rate(said == own, groups, real), _rate(said == own, groups, ~real)
        correct = _rate(right, groups)
        excess = means(softmax(logits)[:, own] - real, groups.code, len(groups.names))
        return [
            *_per_group("selection_rate", groups, selected, "neither"),
            *_per_group("true_positive_rate", groups, hits, "higher"),
            *_per_group("false_positive_rate", groups, alarms, "lower"),
            *_per_group("accuracy", groups, correct, "higher"),
            *_per_group("calibration", groups, excess, "neither"),
            row("demographic_parity_gap", "", *gap(selected), "lower"),
            row("equal_opportunity_gap", "", *gap(hits), "lower"),
            row("equalized_odds_gap", "", *gap(hits, alarms), "lower"),
            row("accuracy_gap", "", *gap(correct), "lower"),
            row("calibration_gap", "", *gap(excess), "lower"),
        ]


def _rate(hit: np.ndarray, groups: Groups, among: np.ndarray | None = None) -> Estimates:
    return rates(groups.counts(hit if among is None else hit & among), groups.counts(among))


def _per_group(metric: str, groups: Groups, found: Estimates, better: str) -> list[dict[str, Any]]:
    parts = zip(groups.names, found.values, found.intervals(), found.counts, groups.counts(), strict=True)
    return [row(metric, name, value, interval, n, better) for name, value, interval, n, size in parts if size]
