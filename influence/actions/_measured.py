"""The measures of a report: of one model by rows, or of several by model; predictions that flipped; predicted and realised changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from influence.actions._comparison import as_read
from influence.actions._kept_outputs import kept_outputs
from influence.actions._measures import RATES, tables
from influence.actions._opened import Opened
from influence.evidence import investigation as told
from influence.evidence import words
from influence.evidence.figures import Estimate
from influence.store import Project

HEADLINES = ("accuracy", "r2", "mae", "loss")
GAPS = ("equal_opportunity_gap", "demographic_parity_gap", "group_loss_gap")
METRICS = {"accuracy_margin": ("accuracy", "r2"), "loss": ("loss", "mae")}
"""The measures, of classes and of a numeric target, of questions that are called otherwise."""


def measured(project: Project, it: Opened, group: str) -> pd.DataFrame:
    """Return every measure of one model, on the evaluation and on the holdout rows."""
    kept, parts = project.table(it.run.body["predictions"]), []
    for role in told.ROWS:
        overall, fairness = tables(kept_outputs(kept, it.dataset, role), it.dataset, role, group)
        parts += [table.assign(role=role, column=column) for column, table in {"": overall, **fairness}.items()]
    return pd.concat(parts, ignore_index=True)


def comparison(table: pd.DataFrame, column: str, query: Mapping[str, Any], classes: bool) -> tuple[told.Measure, ...]:
    """Return every measure, that which the question is about first."""
    named, given = query.get("name", ""), query.get("given", {})
    metric = METRICS[named][not classes] if named in METRICS else RATES[given.get("of", "positives")] if named == "group_rate" else named
    asked = (given.get("group", ""), metric, given.get("which", ""))
    there = set(table.dropna(subset="value")[["column", "metric", "group"]].itertuples(index=False, name=None))
    gaps = [gap for name in GAPS if (gap := (column, name, "")) in there]
    top = {asked, *(gaps[:1] if asked[2] or not asked[0] else ()), *(("", name, "") for name in HEADLINES)}
    found = []
    for key, rows in table.groupby(["column", "metric", "group"], sort=False):
        where, name, group = map(str, key)
        if group and where not in (column, asked[0]):
            continue  # of other columns their gaps are enough
        values = {
            r["role"]: Estimate(_number(r["value"]), _number(r["low"]), _number(r["high"]), int(r["n"])) for r in rows.to_dict("records")
        }
        at_top, moved = (where, name, group) in top, _moved(rows)
        pair = str(rows["pair"].max()) if moved else ""
        found.append(told.Measure(words.title(name), rows["better"].iloc[0], values, where, group, at_top, moved, pair))
    return tuple(sorted(found, key=lambda one: (one.metric, one.column, one.group) != (words.title(metric), *asked[::2])))


def _moved(rows: pd.DataFrame) -> dict[str, Estimate]:
    """Return by model how a measure changed from the original's on the same rows, if the table tells."""
    if "change" not in rows:
        return {}
    known = rows.dropna(subset="change").to_dict("records")
    return {
        r["role"]: Estimate(_number(r["change"]), _number(r["change_low"]), _number(r["change_high"]), int(r["change_n"])) for r in known
    }


def flips(project: Project, compared: dict[str, Any], it: Opened) -> tuple[told.Flips, ...]:
    if "flips" not in compared["tables"]:
        return ()
    table = project.table(compared["tables"]["flips"])
    roles = [role for role in compared["runs"] if role != "original"]
    n = len(it.dataset.holdout)
    return tuple(_flip(role, table[table["role"] == role], n) for role in roles)


def _flip(role: str, rows: pd.DataFrame, n: int) -> told.Flips:
    return told.Flips(role, n, len(rows), int((rows["after"] == rows["target"]).sum()), int((rows["before"] == rows["target"]).sum()))


def changes(project: Project, note: dict[str, Any] | None, compared: dict[str, Any]) -> tuple[told.Change, ...]:
    if note is None or "change" not in compared["tables"]:
        return ()
    table = project.table(compared["tables"]["change"])
    return tuple(_change(str(label), note["better"][label], rows) for label, rows in table.groupby("label", sort=False))


def _change(label: str, better: Any, rows: pd.DataFrame) -> told.Change:
    def of(table: pd.DataFrame) -> told.Change:
        first = table.iloc[0]
        change, low, high = (_number(first[f"predicted_{part}"]) for part in ("change", "low", "high"))
        came = {where: {r["role"]: _number(r["value"]) for r in table[table["rows"] == where].to_dict("records")} for where in told.ROWS}
        return told.Change(str(first["label"]), better, change, low, high, None, came["evaluation"], came["holdout"])

    own = of(as_read(rows))
    return own if rows.iloc[0]["measured_label"] == label else replace(own, smooth=of(rows))


def _number(value: float | None) -> float | None:
    return float(value) if words.known(value) else None
