"""What every figure of a model and of its groups is before and after, beside the oracles: what removing the rows does by itself.

The oracles never saw the rows. A change that they show, too, is what the removal does; only what lies outside their spread is the method's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from influence.actions._measures import group_columns, in_units, within
from influence.actions._whole_classes import by_forgotten, gone_whole
from influence.errors import BadInput
from influence.evaluation.fairness import GAPS
from influence.groups import FEWEST, edges_of
from influence.registry import evaluation
from influence.types import Examples
from influence.verification._verdict import adjusted, judged, word

if TYPE_CHECKING:
    from influence.actions._opened import Opened

SHARES = ("accuracy", "selection_rate", "_positive_rate", "_negative_rate")
"""Metrics that are shares of rows, and of which gaps are made: less than one row's change means nothing."""


def told(it: Opened, outputs: np.ndarray, rows: Examples, before: np.ndarray | None) -> dict[str, Any]:
    """Return `rows`, one per figure, and `overall`, from outputs (J, M, C) on unseen rows, the judged model's first.

    A figure has `column`, `metric`, `group` ("" for all), `n`, `better`, `original` (of `before`, (M, C)), `value`, the oracles' `null_low`
    and `null_high`, `chance` (corrected for how many figures there are) and `verdict`. Groups with fewer than ten rows are left out.
    """
    tables = [_figures(it, out, rows) for out in outputs]
    first = tables[0]
    told = np.stack([table["value"].to_numpy(float) for table in tables])
    keep = np.isfinite(told).all(0) & (first["n"] >= FEWEST).to_numpy()
    was = _figures(it, before, rows)["value"].to_numpy(float) if before is not None else np.full(len(first), np.nan)
    lines = first[keep].assign(original=was[keep]).to_dict("records")
    names = [str(k) for k in range(len(lines))]
    values = dict(zip(names, told[:, keep].T, strict=True))
    grains = {name: _grain(line, first, rows) for name, line in zip(names, lines, strict=True)}
    chances = adjusted(values, dict.fromkeys(names, "both"), grains)
    found = [_line(line, values[name], chances[name]) for name, line in zip(names, lines, strict=True)]
    chance = min(chances.values(), default=1.0)
    return {"rows": found, "overall": {"verdict": word(chance, len(outputs) - 1), "chance": chance, "oracles": len(outputs) - 1}}


def _grain(line: Mapping[Any, Any], table: pd.DataFrame, rows: Examples) -> float:
    """Return the most that one row's prediction changes a figure, 0 if it is no share: of a gap that is a row of its smallest group."""
    metric = line["metric"]
    parts = GAPS.get(metric, (metric,))
    if not parts[0].endswith(SHARES):
        return 0.0
    if metric in GAPS:
        groups = table[(table["column"] == line["column"]) & table["metric"].isin(parts) & (table["n"] >= FEWEST)]
        return 1 / int(groups["n"].min())
    if metric == "balanced_accuracy":
        counts = np.unique(rows.y, return_counts=True)[1]
        return 1 / int(len(counts) * counts.min())
    return 1 / int(line["n"])


def _line(line: Mapping[str, Any], values: np.ndarray, chance: float) -> dict[str, Any]:
    alone = judged(values, "both", int(line["n"]), within(str(line["metric"])))
    kept = {name: line[name] for name in ("column", "metric", "group", "better")}
    original = float(line["original"]) if np.isfinite(line["original"]) else None
    band = {"value": alone.value, "null_low": alone.null_low, "null_high": alone.null_high, "n": alone.n}
    return {**kept, "original": original, **band, "chance": chance, "verdict": word(chance, len(values) - 1)}


def _figures(it: Opened, outputs: np.ndarray, rows: Examples) -> pd.DataFrame:
    """Return the tables of one model's outputs (M, C): utility under the column "", fairness under each group column."""
    utility = evaluation.make("utility")(outputs, rows)
    apart = by_forgotten(outputs, rows, gone_whole(it.dataset.train, it.trained.removed))
    found = {"": pd.concat([utility, apart], ignore_index=True) if len(apart) else utility}
    for column in group_columns(it.dataset):
        try:
            measure = evaluation.make("fairness", {"group": column})
            found[column] = replace(measure, edges=edges_of(it.dataset.evaluation, column, measure.bins))(outputs, rows)
        except BadInput:
            continue  # fewer than two groups with enough of these rows
    return pd.concat([in_units(table, it.dataset).assign(column=column) for column, table in found.items()], ignore_index=True)
