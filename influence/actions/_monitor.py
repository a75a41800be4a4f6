"""What the live curves show while a model is unlearned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata

from influence import grads
from influence.actions import _oracles
from influence.actions._opened import asked
from influence.data.dataset import Dataset
from influence.errors import BadInput
from influence.groups import FEWEST, edges_of, groups_of, place_of
from influence.loop import Bound, threads
from influence.queries.loss import Loss
from influence.types import Examples, Query, Question, Selection
from influence.verification._pool import Pool

RATES = {
    "equal_opportunity_gap": "positives",
    "equalized_odds_gap": "positives",
    "demographic_parity_gap": "all",
    "predictive_equality_gap": "negatives",
}
GROUPS = 6


def monitor(
    dataset: Dataset,
    selection: Selection,
    query: str,
    group: str,
    count: int,
    truth: np.ndarray | None = None,
    removed: Sequence[Any] = (),
) -> Callable[[Bound], dict[str, float]]:
    """Return a function from a module to its live metrics, measured on forget, retained and holdout rows.

    Those of `figures`, `accuracy` (holdout; for a numeric target `r2`), and with a group `gap` and `gap:<group>`. `truth`: margins of the
    forget rows, (M,), of the model retrained without them. `removed`: rows that the model did without before, which are none of the three.
    """
    parts = watched(dataset, selection, removed)
    overall = asked("accuracy_margin", {})
    gap = gap_query(dataset, query, group)
    each = {} if gap is None else group_queries(dataset, type(gap).id, group)  # type: ignore[attr-defined]
    scale = unit(dataset)  # of a number, what differs between groups is an error

    def look(bound: Bound) -> dict[str, float]:
        was = bound.module.training
        with threads(count):
            seen = {name: grads.outputs(bound, part) for name, part in parts.items()}
        bound.module.train(was)
        found = figures({part: logits.numpy() for part, logits in seen.items()}, parts, unit(dataset), truth)
        found["accuracy" if dataset.train.classes else "r2"] = _measured(overall, seen["test"], dataset.holdout)
        if gap is not None:
            found["gap"] = _measured(gap, seen["test"], dataset.holdout) * scale
        return found | {f"gap:{name}": _measured(of, seen["test"], dataset.holdout) * scale for name, (of, _) in each.items()}

    return look


def watched(dataset: Dataset, selection: Selection, removed: Sequence[Any] = ()) -> dict[str, Examples]:
    """Return the rows that `monitor` looks at: all to forget, of the retained ones those by which oracles are known, all holdout rows."""
    train = dataset.train
    out = train.mask(selection.ids)
    kept = np.flatnonzero(~out & ~np.isin(train.ids, list(removed)))
    return {"forget": train.take(out), "retain": train.take(kept[_oracles.drawn(train.ids[kept], _oracles.ROWS)]), "test": dataset.holdout}


def margins(dataset: Dataset, selection: Selection, bound: Bound, count: int) -> np.ndarray:
    """Return a model's margins of the rows to forget, (M,), as `monitor` takes them."""
    rows = dataset.train.take(dataset.train.mask(selection.ids))
    with threads(count):
        return margins_of(grads.outputs(bound, rows).numpy(), rows)


def margins_of(logits: np.ndarray, rows: Examples) -> np.ndarray:
    """Return the margin of each row, (M,), as `verification` has it."""
    return np.asarray(Pool({"forget": logits[None]}, {"forget": rows}).margins("forget")[0])


def figures(
    logits: Mapping[str, np.ndarray], rows: Mapping[str, Examples], sd: float = 1.0, truth: np.ndarray | None = None
) -> dict[str, float]:
    """Return what is told of outputs (M, C) on the rows of each part there is: `forget`, `retain`, `test`.

    `<part>_loss`, `<part>_accuracy` (of a numeric target `<part>_mae`, in its unit: `sd`), `attack`: how well the loss tells forget from
    test rows, as the area under the curve of the attack that thresholds it (Yeom, Giacomelli, Fredrikson and Jha, CSF 2018; 0.5: not at
    all), and `distance`: mean distance of the forget rows' margins from `truth`, (M,).
    """
    found = {f"{part}_loss": _measured(Loss(), torch.from_numpy(out), rows[part]) for part, out in logits.items()}
    for part, out in logits.items():
        if rows[part].classes:
            found[f"{part}_accuracy"] = float((out.argmax(1) == rows[part].y).mean())
        else:
            found[f"{part}_mae"] = float(np.abs(out[:, 0] - rows[part].y).mean() * sd)
    own = {part: margins_of(logits[part], rows[part]) for part in ("forget", "test") if part in logits}
    if len(own) == 2:
        found["attack"] = auc(own["forget"], own["test"])
    if truth is not None and "forget" in own:
        found["distance"] = float(np.abs(own["forget"] - truth).mean())
    return found


def auc(members: np.ndarray, others: np.ndarray) -> float:
    """Return the chance that a member's value is above another's, ties counted half."""
    n, m = len(members), len(others)
    ranks = rankdata(np.concatenate([members, others]))[:n]
    return float((ranks.sum() - n * (n + 1) / 2) / (n * m))


def unit(dataset: Dataset) -> float:
    """Return what one standard deviation of a numeric target is in its own unit; 1 for classes."""
    return float(dataset.encoding.get("target", {}).get("sd", 1.0))


def group_queries(dataset: Dataset, gap: str, group: str) -> dict[str, tuple[Query, int]]:
    """Return, by group, the rate or the loss whose gap is watched and how many holdout rows it rests on.

    Groups of fewer than ten such rows are left out; none are told of another gap, or of more groups than a chart can hold.
    """
    if gap not in (*RATES, "group_loss_gap"):
        return {}
    rows, edges, kind = dataset.holdout, edges_of(dataset.evaluation, group, 4), RATES.get(gap, "all")
    groups = groups_of(rows, group, 4, edges)
    positive = rows.y == place_of("", rows) if kind != "all" else np.zeros(len(rows), dtype=bool)
    counts = dict(zip(groups.names, groups.counts(positive if kind == "positives" else ~positive).tolist(), strict=True))
    large = {name: n for name, n in counts.items() if n >= FEWEST}
    name, given = ("group_rate", {"of": kind}) if gap in RATES else ("group_loss", {})
    made = {which: asked(name, {"group": group, "which": which, **given}) for which in large}
    return {which: (replace(of, edges=edges), large[which]) for which, of in made.items()} if len(made) <= GROUPS else {}  # type: ignore[type-var]


def group_sizes(dataset: Dataset, query: str, group: str) -> dict[str, float]:
    """Return how many holdout rows the metric of each group rests on, by the metric's name."""
    gap = gap_query(dataset, query, group)
    each = {} if gap is None else group_queries(dataset, type(gap).id, group)  # type: ignore[attr-defined]
    return {f"gap:{name}": float(n) for name, (_, n) in each.items()}


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
        Question((found,), dataset.holdout).measured(torch.zeros(len(dataset.holdout), dataset.train.outputs))
    except BadInput:
        return None
    return found
