"""How the model treats groups: rates and losses per group and the gaps between them, with 95 % intervals.

Rates: Wilson; means: Student's t; calibration: both at once (`influence/evaluation/_calibration.py`); gaps and worst groups: simultaneous
limits of all groups (`influence/evaluation/_groups.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from influence.evaluation._calibration import calibrations
from influence.evaluation._groups import Estimates, gap, means, rates, worst
from influence.evaluation._tables import log_odds, refuse_unfit, row, row_losses
from influence.groups import FEWEST, Edges, Groups, groups_of, place_of
from influence.registry import evaluation, option
from influence.types import Examples

BETTER: dict[str, Literal["lower", "higher", "neither"]] = {
    "selection_rate": "neither",
    "true_positive_rate": "higher",
    "false_positive_rate": "lower",
    "false_negative_rate": "lower",
    "accuracy": "higher",
    "calibration": "neither",
    "loss": "lower",
    "mae": "lower",
}
"""What is measured of every group, and which way is better for it."""
GAPS = {
    "demographic_parity_gap": ("selection_rate",),
    "equal_opportunity_gap": ("true_positive_rate",),
    "predictive_equality_gap": ("false_positive_rate",),
    "equalized_odds_gap": ("true_positive_rate", "false_positive_rate"),
    "accuracy_gap": ("accuracy",),
    "calibration_gap": ("calibration",),
}
"""The gaps of rates, and of what each is the gap."""


@evaluation
@dataclass(frozen=True)
class Fairness:
    """Selection rate, errors, accuracy, calibration and loss per group, and the gaps between groups.

    Of a numeric target: the mean absolute error per group and its gap. `calibration` is mean probability minus observed rate. Groups with
    fewer than ten rows of a kind are shown without an interval and take no part in gaps.
    """

    group: str = option("", "Column that forms the groups, or up to three: sex & race", column=True)
    positive: str = option("", "Favourable class; default: the one chosen with the data, else the last in sorted order")
    bins: int = option(4, "Bins of a numeric group column", min=2, max=20, advanced=True)
    edges: Edges | None = None

    def __call__(self, logits: np.ndarray, examples: Examples, reference: np.ndarray | None = None) -> pd.DataFrame:
        """Return the table for logits (M, C): rows per group, then gaps (group "").

        Raises:
            BadInput: no such column or class, or fewer than two groups with ten rows.
        """
        refuse_unfit(logits, examples)
        groups = groups_of(examples, self.group, self.bins, self.edges)
        groups.comparable()
        found = by_group(logits, examples, groups, self.positive)
        losses = found.get("loss") or found["mae"]
        rows = [line for metric, family in found.items() for line in per_group(metric, groups, family)]
        rows += [row(name, "", *gap(*(found[of] for of in rates_of)), "lower") for name, rates_of in GAPS.items() if examples.classes]
        rows += [row("group_loss_gap", "", *gap(losses), "lower"), row("worst_group_loss", "", *worst(losses), "lower")]
        return pd.DataFrame(rows)


def by_group(logits: np.ndarray, examples: Examples, groups: Groups, positive: str = "") -> dict[str, Estimates]:
    """Return what is measured of every group, by metric, from logits (M, C).

    Raises:
        BadInput: there is no such class.
    """
    per_row = row_losses(logits, examples.y, bool(examples.classes))
    losses = means(per_row, groups.code, len(groups.names), least=0.0)
    if not examples.classes:
        return {"mae": losses}
    own, said = place_of(positive, examples), logits.argmax(1)
    real = examples.y == own
    return {
        "selection_rate": _rate(said == own, groups),
        "true_positive_rate": _rate(said == own, groups, real),
        "false_positive_rate": _rate(said == own, groups, ~real),
        "false_negative_rate": _rate(said != own, groups, real),
        "accuracy": _rate(said == examples.y, groups),
        "calibration": calibrations(log_odds(logits, own), real, groups.code, len(groups.names)),
        "loss": losses,
    }


def worst_group(metric: str, groups: Groups, found: Estimates) -> dict[str, Any] | None:
    """Return the group that is worst off by a metric as a row of a table; None if no group has ten rows.

    Worst is the highest error, the lowest rate of what is good, and the calibration furthest from 0; of the rate of selection, which is
    neither, the lowest. The interval allows for having picked the worst of all; it is that of the worst value, whichever group has it.
    """
    if not (found.counts >= FEWEST).any():
        return None
    family = found.sizes() if metric == "calibration" else found if BETTER[metric] == "lower" else found.negated()
    value, (low, high), _ = worst(family)
    at = int(np.nanargmax(np.where(family.counts >= FEWEST, family.values, -np.inf)))
    if BETTER[metric] != "lower" and metric != "calibration":
        value, low, high = -value, -high, -low
    return row(metric, groups.names[at], value, (low, high), int(found.counts[at]), BETTER[metric])


def per_group(metric: str, groups: Groups, found: Estimates) -> list[dict[str, Any]]:
    """Return a row of a table for each group that has rows at all."""
    parts = zip(groups.names, found.values, found.intervals(), found.counts, groups.counts(), strict=True)
    return [row(metric, name, value, interval, n, BETTER[metric]) for name, value, interval, n, size in parts if size]


def _rate(hit: np.ndarray, groups: Groups, among: np.ndarray | None = None) -> Estimates:
    return rates(groups.counts(hit if among is None else hit & among), groups.counts(among))
