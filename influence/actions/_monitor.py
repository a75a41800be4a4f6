"""What the live curves show while a model is unlearned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from influence import grads
from influence.actions._opened import asked
from influence.data.dataset import Dataset
from influence.errors import BadInput
from influence.groups import FEWEST, edges_of, groups_of, place_of
from influence.loop import Bound, threads
from influence.queries.loss import Loss
from influence.types import Examples, Query, Question, Selection

RATES = {"equal_opportunity_gap": "positives", "equalized_odds_gap": "positives", "demographic_parity_gap": "all"}
GROUPS = 6
SHOWN = 4096  # retained rows that the live curve looks at: enough for a smooth curve, few enough for twenty looks a run


def monitor(dataset: Dataset, selection: Selection, query: str, group: str, count: int) -> Callable[[Bound], dict[str, float]]:
    """Return a function from a module to its live metrics, measured on forget, retained and holdout rows.

    `forget_loss`, `retain_loss`, `test_loss`, `accuracy` (holdout; for a numeric target `r2`), and with a group `gap` and `gap:<group>`.
    """
    train = dataset.train
    out = train.mask(selection.ids)
    kept = np.flatnonzero(~out)
    if len(kept) > SHOWN:
        kept = kept[np.linspace(0, len(kept) - 1, SHOWN).astype(int)]
    parts = {"forget_loss": train.take(out), "retain_loss": train.take(kept), "test_loss": dataset.holdout}
    overall = asked("accuracy_margin", {})
    gap = gap_query(dataset, query, group)
    rates = {} if gap is None else rate_queries(dataset, type(gap).id, group)  # type: ignore[attr-defined]

    def look(bound: Bound) -> dict[str, float]:
        was = bound.module.training
        with threads(count):
            seen = {name: grads.outputs(bound, part) for name, part in parts.items()}
        bound.module.train(was)
        found = {name: _measured(Loss(), logits, parts[name]) for name, logits in seen.items()}
        found["accuracy" if dataset.train.classes else "r2"] = _measured(overall, seen["test_loss"], dataset.holdout)
        if gap is not None:
            found["gap"] = _measured(gap, seen["test_loss"], dataset.holdout)
        return found | {f"gap:{name}": _measured(rate, seen["test_loss"], dataset.holdout) for name, rate in rates.items()}

    return look


def rate_queries(dataset: Dataset, gap: str, group: str) -> dict[str, Query]:
    """Return, by group, the rate whose gap is watched; none for a gap of losses or for more groups than a chart can hold."""
    if gap not in RATES:
        return {}
    edges = edges_of(dataset.evaluation, group, 4)
    groups = groups_of(dataset.holdout, group, 4, edges)
    positive = dataset.holdout.y == place_of("", dataset.holdout)
    counts = groups.counts(positive if RATES[gap] == "positives" else np.ones(len(positive), dtype=bool))
    names = [name for name, n in zip(groups.names, counts, strict=True) if n >= FEWEST]
    if len(names) > GROUPS:
        return {}
    return {name: replace(asked("group_rate", {"group": group, "which": name, "of": RATES[gap]}), edges=edges) for name in names}  # type: ignore[type-var]


def _measured(query: Query, logits: object, examples: Examples) -> float:
    return float(Question((query,), examples).measured(logits)[0])  # type: ignore[arg-type]


def gap_query(dataset: Dataset, query: str, group: str) -> Query | None:
    """Return the gap to watch, or None if there is no group column or no gap can be measured on the holdout rows."""
    if not group:
        return None
    name = query or ("equal_opportunity_gap" if dataset.train.classes else "group_loss_gap")
    found = asked(name, {"group": group})
    found = replace(found, edges=edges_of(dataset.evaluation, group, found.bins))  # type: ignore[type-var,attr-defined]
    try:
        import torch

        Question((found,), dataset.holdout).measured(torch.zeros(len(dataset.holdout), dataset.train.outputs))
    except BadInput:
        return None
    return found
