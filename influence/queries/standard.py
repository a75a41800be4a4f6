"""The standard questions of a preview: what one wants to see change, or stay, when rows are removed."""

from __future__ import annotations

from influence.registry import queries
from influence.types import Examples, Query

RATES = ("equal_opportunity_gap", "demographic_parity_gap", "equalized_odds_gap", "calibration_gap")
ERRORS = ("group_loss_gap", "worst_group_loss")


def standard(examples: Examples, group: str = "", positive: str = "") -> tuple[Query, ...]:
    """Return loss and accuracy (or R squared), and with a group column the gaps that this target has.

    Raises:
        BadInput: there is no such class.
    """
    asked: list[Query] = [queries.make("loss"), queries.make("accuracy_margin")]
    if group:
        rates = RATES if examples.classes else ()
        asked += [queries.make(name, {"group": group, "positive": positive}) for name in rates]
        asked += [queries.make(name, {"group": group}) for name in ERRORS]
    return tuple(asked)
