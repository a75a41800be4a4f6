"""Figures of a model on its rows: the tables that runs keep, and the short JSON that commands print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from influence.actions._kept_outputs import kept_outputs
from influence.data.dataset import Dataset, Role
from influence.errors import BadInput
from influence.evidence import words
from influence.groups import edges_of
from influence.registry import evaluation
from influence.store import Run

BINS = 4
"""Into how many groups a column of numbers is cut by the tables that runs keep."""
SHARES = ("accuracy", "rate", "auc", "calibration")
"""What the names of metrics between 0 and 1 end with, or gaps between such."""
RATES = {"all": "selection_rate", "positives": "true_positive_rate", "negatives": "false_positive_rate"}
SQUARED = ("loss", "group_loss", "group_loss_gap", "worst_group_loss")
"""Questions about the error of a numeric target: its square is predicted, its size is read."""
IN_UNITS = ("mae", "rmse", "group_loss_gap", "worst_group_loss", "distance_from_retrained")


def group_columns(dataset: Dataset) -> tuple[str, ...]:
    """Return the columns by which groups are compared: protected, then audit columns."""
    return tuple(dict.fromkeys((*dataset.protected, *dataset.audit)))


def tables(logits: np.ndarray, dataset: Dataset, role: Role, also: str = "") -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Return the utility table and a fairness table per group column, and for groups by `also`, that can be measured on a role's rows."""
    fairness = {}
    for group in dict.fromkeys((*group_columns(dataset), *filter(None, (also,)))):
        try:
            fairness[group] = audited(logits, dataset, role, group)
        except BadInput:
            continue  # fewer than two groups with enough members among these rows: there is no gap to speak of
    return in_units(evaluation.make("utility")(logits, dataset.split(role)), dataset), fairness


def audited(logits: np.ndarray, dataset: Dataset, role: Role, group: str, positive: str = "") -> pd.DataFrame:
    """Return the fairness table of a role's rows, errors of a numeric target in its own units.

    Numeric columns are cut at the quantiles of the evaluation rows, so that a group means the same in every table.

    Raises:
        BadInput: no such column or class, or fewer than two groups with ten rows.
    """
    measure = evaluation.make("fairness", {"group": group, "positive": positive})
    cut = replace(measure, edges=edges_of(dataset.evaluation, group, measure.bins))
    return in_units(cut(logits, dataset.split(role)), dataset)


def in_units(table: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Return a measure's table with the errors of a numeric target in its own units: models are trained on the standardised target."""
    scale = dataset.encoding.get("target", {}).get("sd", 1.0)
    if dataset.train.classes or scale == 1.0:
        return table
    error = table["metric"].isin(IN_UNITS)
    return table.assign(**{name: table[name].where(~error, table[name] * scale) for name in ("value", "low", "high")})


class Unit(NamedTuple):
    """What one of the units that a question is asked in is in the target's own, of its two kinds of values; and where 0 lies."""

    value: float = 1.0
    measured: float = 1.0
    start: float = 0.0


def unit_of(dataset: Dataset, query: str) -> Unit:
    """Return the unit of a question of this name: models, and so questions, know a numeric target standardised alone.

    Errors that people read are in the target's unit, their smooth versions, squared errors, in its square; shares and R squared in none.
    """
    target = dataset.encoding.get("target", {})
    if dataset.train.classes or "sd" not in target:
        return Unit()
    if query in SQUARED:
        return Unit(target["sd"] ** 2, target["sd"])
    return Unit(target["sd"], target["sd"], target["mean"]) if query == "prediction" else Unit()


def units(dataset: Dataset, query: str) -> str:
    """Say in what units a question's scores and figures are as they are kept, of a numeric target; nothing for classes."""
    target = dataset.encoding.get("target", {})
    if target.get("kind") != "number":
        return ""
    what, mean = ("Predictions", f"from its mean, {words.number(target['mean'])} ") if query == "prediction" else ("Errors", "")
    return f"{what} are in standard deviations of {target['name']} {mean}(1 = {words.number(target['sd'])})."


def own_unit(dataset: Dataset, shown: Callable[[object], str] = str, what: str = "Errors", smooth: bool = False) -> str:
    """Say that errors, or `what`, of a numeric target are in its own unit, and in which `smooth` versions are; nothing for classes."""
    squared = ", smooth versions in its square" if smooth else ""
    return "" if dataset.train.classes else f"{what} are in the unit of {shown(dataset.target)}{squared}."


def summary(utility: pd.DataFrame, fairness: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Return the tables as JSON: overall figures by name, `groups` and `gaps` by column; each with low, high and n."""
    groups: dict[str, Any] = {}
    gaps: dict[str, Any] = {}
    for column, table in fairness.items():
        for row in table.to_dict("records"):
            figures = gaps.setdefault(column, {}) if row["group"] == "" else groups.setdefault(column, {}).setdefault(row["group"], {})
            figures[row["metric"]] = _figure(row)
    overall = {row["metric"]: _number(row["value"]) for row in utility.to_dict("records")}
    intervals = {row["metric"]: _figure(row) for row in utility.to_dict("records")}
    return {**overall, "intervals": intervals, "groups": groups, "gaps": gaps}


def _figure(row: dict[str, Any]) -> dict[str, Any]:
    return {"value": _number(row["value"]), "low": _number(row["low"]), "high": _number(row["high"]), "n": int(row["n"])}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def evaluated(
    run: Run,
    dataset: Dataset,
    query: Mapping[str, Any],
    measured: float,
    predictions: pd.DataFrame | None = None,
    role: Role = "evaluation",
) -> dict[str, Any] | None:
    """Return what a query measured on a role's rows, as a figure in the unit of `measured`: value, low, high, n.

    The interval is that of the run's own table, or of one that is made from its kept `predictions`: of groups by other columns, of another
    class. None where none measures this: other bins, one row.
    """
    given, classes = query["given"], dataset.evaluation.classes
    bins = given.get("bins", BINS) == BINS
    usual = bins and given.get("positive", "") in ("", dataset.evaluation.favourable)
    entry = (
        _entry(run.body["metrics" if role == "holdout" else "evaluation_metrics"], query["name"], given, bool(classes)) if usual else None
    )
    if entry is None and bins and given.get("group") and predictions is not None:
        entry = _anew(dataset, query["name"], given, predictions, role)
    if entry is None:
        return None
    scale = measured / entry["value"] if not classes and entry["value"] else 1.0  # tables are in the target's own units
    return {"value": measured, "n": entry["n"], **{end: entry[end] and entry[end] * scale for end in ("low", "high")}}


def _anew(dataset: Dataset, name: str, given: Mapping[str, Any], predictions: pd.DataFrame, role: Role) -> dict[str, Any] | None:
    """Return the figure that a query measures from a table made now, or None."""
    metric = RATES[given.get("of", "positives")] if name == "group_rate" else name
    logits = kept_outputs(predictions, dataset, role)
    try:
        table = audited(logits, dataset, role, given["group"], given.get("positive", ""))
    except BadInput:
        return None
    found = table[(table["metric"] == metric) & (table["group"] == given.get("which", ""))].to_dict("records")
    return _figure({str(key): value for key, value in found[0].items()}) if found else None


def _entry(found: Mapping[str, Any], name: str, given: Mapping[str, Any], classes: bool) -> dict[str, Any] | None:
    """Return the figure of a run's table that measures what a query does, or None."""
    column: str = given.get("group", "")
    if name == "group_rate":
        return found["groups"].get(column, {}).get(given.get("which", ""), {}).get(RATES[given.get("of", "positives")])
    overall = {"accuracy_margin": ("r2", "accuracy"), "accuracy": ("r2", "accuracy"), "loss": ("mae", "loss")}
    if name in overall:
        return found["intervals"].get(overall[name][classes])
    return found["gaps"].get(column, {}).get(name)


def predictions(dataset: Dataset, logits: dict[Role, np.ndarray]) -> pd.DataFrame:
    """Return one row per example of every role: id, split, target, p_<class> or prediction, protected and audit columns."""
    return pd.concat([_predicted(dataset, role, values) for role, values in logits.items()], ignore_index=True)


def _predicted(dataset: Dataset, role: Role, logits: np.ndarray) -> pd.DataFrame:
    examples, groups, encoding = dataset.split(role), group_columns(dataset), dataset.encoding.get("target", {})
    table = pd.DataFrame({"id": examples.ids, "split": role})
    if examples.classes:
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        table["target"] = np.asarray(examples.classes, dtype=object)[examples.y]
        table[[f"p_{name}" for name in examples.classes]] = p
    else:
        mean, scale = encoding.get("mean", 0.0), encoding.get("sd", 1.0)
        table["target"], table["prediction"] = examples.y * scale + mean, logits[:, 0] * scale + mean
    beside = examples.columns[[g for g in groups if g in examples.columns]]
    return pd.concat([table, beside.rename(columns={g: f"{g} (column)" for g in beside if g in table})], axis=1)


def within(metric: str) -> tuple[float, float]:
    """Return between which values a metric lies."""
    share = metric.removesuffix("_gap").endswith((*SHARES, "parity", "opportunity", "equality", "odds"))
    least = -1.0 if metric == "calibration" else -np.inf if metric == "r2" else 0.0
    most = 2.0 if metric == "calibration_gap" else 1.0 if share or metric == "r2" else np.inf  # calibration has a sign
    return least, most
