"""What a comparison measures of each model: metrics with their paired changes, and single rows with what each model says of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from influence.actions._measures import in_units, tables
from influence.actions._opened import Opened
from influence.actions._whole_classes import by_forgotten, gone_whole
from influence.data.dataset import Role
from influence.errors import BadInput
from influence.evaluation import changes
from influence.evaluation._tables import row_losses, wilson
from influence.evaluation.by_class import by_class
from influence.evaluation.utility import area
from influence.groups import Groups, edges_of, groups_of
from influence.keyed import keys
from influence.registry import evaluation
from influence.types import Examples, Selection
from influence.verification._low_rates import RATES, found_at

BINS = 4
ROWS = 2048
"""Retained rows that are looked at one by one; of more, as many are drawn by key."""
PARTS = ("forgotten", "retained", "holdout")
CHANGES = {"pair": "pair", "change": "change", "low": "change_low", "high": "change_high", "n": "change_n"}
"""What is said of a change, and what its columns are called beside those of the value."""
KEY = ["metric", "group"]


class Compared:
    """Models by role, the original first, and the rows on which they are compared; outputs are computed once."""

    def __init__(self, runs: Mapping[str, Opened], selection: Selection, by: str) -> None:
        self.runs, self.selection, self.by = runs, selection, by
        self.original = next(iter(runs.values()))
        self._said: dict[tuple[str, str], torch.Tensor] = {}

    @cached_property
    def ids(self) -> dict[str, np.ndarray]:
        """The ids of each part's rows: all forgotten ones that the original had, retained ones drawn by key, all holdout rows."""
        train = self.original.dataset.train
        gone = train.mask(self.selection.ids) & self.original.seen
        seen = [it.seen for role, it in self.runs.items() if role != "random"]  # that one is without other rows, which were not to go
        kept = train.ids[np.logical_and.reduce([~gone, *seen])]
        some = np.sort(np.argsort(keys(0, "compare", kept), kind="stable")[:ROWS])
        return {
            "forgotten": train.ids[gone],
            "retained": kept[some],
            "holdout": self.original.dataset.holdout.ids,
        }

    def judged(self, part: str) -> Examples:
        """Return the rows of a part by the labels that count: relabelled rows by their new ones."""
        if part != "forgotten" or self.selection.action != "relabel":
            return self.rows(part)
        return self.rows(part, next(role for role in self.runs if role not in ("original", "random")))

    def rows(self, part: str, role: str = "original") -> Examples:
        """Return the rows of a part as a model's own data have them."""
        dataset = self.runs[role].dataset
        return dataset.holdout if part == "holdout" else dataset.train.take(dataset.train.mask(self.ids[part]))

    def said(self, role: str, part: str) -> np.ndarray:
        """Return what a model says of the rows of a part, (M, C), in the target's units of the original's data."""
        if (role, part) not in self._said:
            self._said[role, part] = self._in_units(self.runs[role], self.runs[role].answers(self.rows(part, role)))
        return self._said[role, part].numpy()

    def of_role(self, role: str, rows: Role) -> torch.Tensor:
        """Return a model's outputs on its own reading of a role's rows, in the target's units of the original's data."""
        if rows == "holdout":
            self.said(role, rows)
            return self._said[role, rows]
        return self._in_units(self.runs[role], self.runs[role].outputs(rows))

    def _in_units(self, it: Opened, logits: torch.Tensor) -> torch.Tensor:
        own, wanted = (dict(of.dataset.encoding.get("target") or {}) for of in (it, self.original))
        if self.original.dataset.train.classes or own == wanted:
            return logits
        return (logits * own["sd"] + own["mean"] - wanted["mean"]) / wanted["sd"]

    def groups(self, examples: Examples) -> Groups:
        """Return the groups of rows, numbers cut where those of the evaluation rows are."""
        return groups_of(examples, self.by, BINS, edges_of(self.original.dataset.evaluation, self.by, BINS))


def metrics(it: Compared) -> pd.DataFrame:
    """Return every measure by model on the holdout rows, and beside it how it changed from the original's, on the same rows.

    A gap's change is between the `pair` of groups that is furthest apart under the original: `change` + the original's value is that pair's
    gap, which the value itself, the largest of all pairs, need not be.
    """
    parts, gone = [], {*it.original.trained.removed, *(it.selection.ids if it.selection.action == "remove" else ())}
    whole = gone_whole(it.original.dataset.train, tuple(gone))
    for role in it.runs:
        dataset, logits = it.original.dataset, it.said(role, "holdout")
        utility, fairness = tables(logits, dataset, "holdout", it.by)
        apart = by_forgotten(logits, dataset.holdout, whole)
        for column, table in {"": pd.concat([utility, apart], ignore_index=True) if len(apart) else utility, **fairness}.items():
            told = table.assign(role=role, run=it.runs[role].run.id, column=column)
            parts.append(_beside(told, None if role == "original" else _changed(it, role, column)))
    return pd.concat(parts, ignore_index=True)


def _changed(it: Compared, role: str, column: str) -> pd.DataFrame:
    dataset, rows = it.original.dataset, it.original.dataset.holdout
    both = it.said("original", "holdout"), it.said(role, "holdout")
    if not column:
        return _in_units(changes.overall(*both, rows), it)
    groups = groups_of(rows, column, BINS, edges_of(dataset.evaluation, column, BINS))
    return _in_units(changes.by_groups(*both, rows, groups), it)


def _in_units(table: pd.DataFrame, it: Compared) -> pd.DataFrame:
    """Return changes of errors in the target's own unit."""
    return in_units(table.rename(columns={"change": "value"}), it.original.dataset).rename(columns={"value": "change"})


def _beside(table: pd.DataFrame, changed: pd.DataFrame | None) -> pd.DataFrame:
    """Return measures with their changes beside them; those of the original have none."""
    if changed is None:
        return table.assign(pair="", **dict.fromkeys(list(CHANGES.values())[1:], np.nan))
    found = table.merge(changed[[*KEY, *CHANGES]].rename(columns=CHANGES), on=KEY, how="left", validate="1:1")
    return found.assign(pair=found["pair"].fillna(""))


def classes(it: Compared) -> pd.DataFrame:
    """Return each class's recall and precision by model on the holdout rows, with the paired change of recall; empty for a number."""
    rows, parts = it.original.dataset.holdout, []
    for role in it.runs if rows.classes else ():
        table = by_class(it.said(role, "holdout"), rows).rename(columns={"class": "group"}).assign(role=role)
        changed = None if role == "original" else changes.by_classes(it.said("original", "holdout"), it.said(role, "holdout"), rows)
        parts.append(_beside(table, changed))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def forgetting(it: Compared) -> pd.DataFrame:
    """Return each model's figures on the removed rows, and how far it is from the retrained model there."""
    measure, truth = evaluation.make("forgetting"), it.said("retrained", "forgotten") if "retrained" in it.runs else None
    rows = it.judged("forgotten")
    return pd.concat(
        [measure(it.said(role, "forgotten"), rows, None if role == "retrained" else truth).assign(role=role) for role in it.runs],
        ignore_index=True,
    ).pipe(in_units, it.original.dataset)


def each(it: Compared) -> pd.DataFrame:
    """Return a row per row of each part: part, id, target, group, and by model `said_<role>` and `loss_<role>`.

    Said: the class, or the number in the target's own unit. Loss: the cross-entropy, exp(-loss) being the probability of the true class; of
    a number the absolute error in its unit.
    """
    target = it.original.dataset.encoding.get("target", {})
    mean, sd = float(target.get("mean", 0.0)), float(target.get("sd", 1.0))
    parts = []
    for part in PARTS:
        rows = it.judged(part)
        names = np.asarray(rows.classes, dtype=object)
        known = names[rows.y] if len(names) else rows.y * sd + mean
        found = {"part": part, "id": rows.ids, "target": known, "group": _named(it, rows)}
        for role in it.runs:
            logits = it.said(role, part)
            found[f"said_{role}"] = names[logits.argmax(1)] if len(names) else logits[:, 0] * sd + mean
            found[f"loss_{role}"] = row_losses(logits, rows.y, bool(len(names))) * (1.0 if len(names) else sd)
        parts.append(pd.DataFrame(found))
    return pd.concat(parts, ignore_index=True)


def _named(it: Compared, rows: Examples) -> object:
    try:
        found = it.groups(rows) if it.by else None
    except BadInput:
        return ""
    return "" if found is None else np.asarray(found.names, dtype=object)[found.code]


def attack(rows: pd.DataFrame, roles: list[str]) -> pd.DataFrame:
    """Return by model how well its loss tells forgotten from holdout rows: the area under the ROC curve and the rates at few false alarms.

    The attack takes rows of low loss for members (Yeom, Giacomelli, Fredrikson and Jha, CSF 2018). Columns: role, metric, value, low, high,
    n (forgotten rows), others (holdout rows). A rate is NaN where it would rest on fewer than ten false alarms.
    """
    found = []
    for role in roles:
        members, others = (-rows.loc[rows["part"] == part, f"loss_{role}"].to_numpy() for part in ("forgotten", "holdout"))
        value, limits = area(members, others)
        found.append((role, "attack_auc", value, *limits, len(members), len(others)))
        for rate in RATES:
            hit = found_at(members, others, rate)
            limits = (np.nan, np.nan) if np.isnan(hit) else wilson(round(hit * len(members)), len(members))
            found.append((role, f"found_at_{rate:g}", hit, *limits, len(members), len(others)))
    return pd.DataFrame(found, columns=["role", "metric", "value", "low", "high", "n", "others"])
