"""The standard questions of a preview: what one wants to see change, or stay, when rows are removed."""

from __future__ import annotations

from influence.groups import FEWEST, groups_of, place_of
from influence.registry import queries
from influence.types import Examples, Query

RATES = ("equal_opportunity_gap", "demographic_parity_gap", "equalized_odds_gap", "calibration_gap")
ERRORS = ("group_loss_gap", "worst_group_loss")
FEW = 4
"""With more groups than these the walk would pay more for the groups' own rates than they tell."""


def standard(examples: Examples, group: str = "", positive: str = "") -> tuple[Query, ...]:
    """Return loss and accuracy (or R squared), and with a group column the gaps that this target has and few groups' true positive rates.

    At most 12 queries.

    Raises:
        BadInput: there is no such column or class.
    """
    asked: list[Query] = [queries.make("loss"), queries.make("accuracy_margin")]
    if not group:
        return tuple(asked)
    errors = [queries.make(name, {"group": group}) for name in ERRORS]
    if not examples.classes:
        return (*asked, *errors)
    rates = [queries.make(name, {"group": group, "positive": positive}) for name in RATES]
    return (*asked, *rates, *errors, *_rates(examples, group, positive))


def _rates(examples: Examples, group: str, positive: str) -> list[Query]:
    groups = groups_of(examples, group)
    counts = groups.counts(examples.y == place_of(positive, examples))
    names = [name for name, n in zip(groups.names, counts, strict=True) if n >= FEWEST]
    if len(names) > FEW:
        return []
    return [queries.make("group_rate", {"group": group, "which": name, "positive": positive}) for name in names]
