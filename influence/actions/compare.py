"""Original, unlearned and retrained side by side: every standard metric, flipped predictions, and what was predicted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd
import torch

from influence.actions._measures import tables, unit_of
from influence.actions._opened import Opened, opened
from influence.actions.confirm import questions_of
from influence.actions.preview import in_units, kept, predicted
from influence.data.dataset import Role
from influence.errors import BadInput
from influence.evaluation.flips import flips
from influence.groups import columns_of
from influence.registry import evaluation
from influence.store import Project
from influence.types import Event, Question, Report, Selection, ignore

OWN = "own"
"""What a comparison says that tells a numeric target in its own unit, as older ones do not."""


def compare(project: Project, run: str, group: str | None = None, report: Report = ignore) -> dict[str, Any]:
    """Compare an unlearned run with its parent and with the model retrained without the same rows, on the holdout rows.

    Tables (digests): `metrics` (role, run, metric, group, value, low, high, n, better; the fairness rows of `column`), `forgetting` (on the
    removed rows), `flips` (holdout rows whose prediction differs from the original's), `change` (per standard metric and role: predicted
    and realised, of a numeric target in its own unit).

    Raises:
        BadInput: there is no such run, it was not made by unlearning, or there is no such group column.
    """
    began = time.perf_counter()
    new = opened(project, run)
    if new.run.parent is None:
        raise BadInput(f"Run {new.run.id} was not made by unlearning, so that there is nothing to compare it with. Give an unlearned run.")
    runs = {"original": opened(project, new.run.parent), "unlearned": new}
    if new.run.body.get("retrained"):
        runs["retrained"] = opened(project, new.run.body["retrained"])
    elif new.run.body.get("yardstick") or new.run.body.get("method", {}).get("name") == "retrain":
        runs = {"original": runs["original"], "retrained": new}
    by = (new.run.body.get("groups") or [""])[0] if group is None else group
    if by:
        columns_of(new.dataset.holdout, by)  # or that is what is wrong with it
    selection = project.selection(new.run.body["selection"])
    found = {
        "metrics": _metrics(runs, by),
        "forgetting": _forgetting(runs, selection),
        "flips": _flips(runs),
        "change": _change(project, runs, selection, by),
    }
    report(Event("compare", 1, 1))
    digests = {name: project.put_table(table) for name, table in found.items() if len(table.columns)}
    result = {
        "tables": digests,
        "runs": {role: it.run.id for role, it in runs.items()},
        "group": by,
        "n_removed": len(selection),
        "units": OWN,
    }
    with project.transaction():
        project.note(f"compare/{new.run.id}/{by}", result)
        project.record(
            "compare",
            inputs={role: it.run.id for role, it in runs.items()},
            settings={"group": by},
            outputs=digests,
            measures={},
            seconds=time.perf_counter() - began,
        )
    return result


def _metrics(runs: dict[str, Opened], by: str) -> pd.DataFrame:
    parts = []
    for role, it in runs.items():
        utility, fairness = tables(it.outputs("holdout").numpy(), it.dataset, "holdout", by)
        for column, table in {"": utility, **fairness}.items():
            parts.append(table.assign(role=role, run=it.run.id, column=column))
    return pd.concat(parts, ignore_index=True)


def _forgetting(runs: dict[str, Opened], selection: Selection) -> pd.DataFrame:
    first = next(iter(runs.values()))
    rows = first.dataset.train.mask(selection.ids)
    forget = first.dataset.train.take(rows)
    logits = {role: _answers(first, it, "train").numpy()[rows] for role, it in runs.items()}
    measure = evaluation.make("forgetting")
    parts = [
        measure(values, forget, None if role == "retrained" else logits.get("retrained")).assign(role=role)
        for role, values in logits.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _answers(original: Opened, it: Opened, role: Role) -> torch.Tensor:
    """Return a model's outputs on its own reading of a role's rows, in the target's units of the original's data."""
    logits = it.outputs(role)
    own, wanted = (dict(of.dataset.encoding.get("target") or {}) for of in (it, original))
    if original.dataset.train.classes or own == wanted:
        return logits
    return (logits * own["sd"] + own["mean"] - wanted["mean"]) / wanted["sd"]


def _said(original: Opened, it: Opened, questions: Mapping[str, Question]) -> dict[str, dict[str, np.ndarray]]:
    """Return what questions to the original's rows say of a model that may read them otherwise: {"value": (Q,), "measured": (Q,)}."""
    logits = {where: _answers(original, it, cast(Role, where)) for where in questions}
    return {
        where: {"value": question.value(logits[where]).numpy(), "measured": question.measured(logits[where]).numpy()}
        for where, question in questions.items()
    }


def _flips(runs: dict[str, Opened]) -> pd.DataFrame:
    it = runs["original"]
    if not it.dataset.holdout.classes:
        return pd.DataFrame()
    before = it.outputs("holdout").numpy()
    parts = []
    for role, other in runs.items():
        if role != "original":
            table, _ = flips(before, other.outputs("holdout").numpy(), it.dataset.holdout)
            parts.append(table.assign(role=role))
    return pd.concat(parts, ignore_index=True)


def _change(project: Project, runs: dict[str, Opened], selection: Selection, group: str) -> pd.DataFrame:
    original = runs["original"]
    note = kept(project, original.run.id, group)
    if note is None:
        return pd.DataFrame()
    expected = predicted(in_units(note, original.dataset), project.scores(note["scores"]), selection.ids)
    units = [unit_of(original.dataset, note["queries"][label]["name"]) for label in note["labels"]]
    questions = questions_of(original, note)
    before = _said(original, original, questions)
    rows: list[dict[str, Any]] = []
    for role, it in runs.items():
        if role == "original":
            continue
        after = _said(original, it, questions)
        for where in questions:
            for i, label in enumerate(note["labels"]):
                real = {
                    kind: float(after[where][kind][i] - before[where][kind][i]) * getattr(units[i], kind) for kind in ("value", "measured")
                }
                rows.append({"role": role, "rows": where, "label": label, **_expected(expected[label]), **real})
    return pd.DataFrame(rows)


def _expected(entry: dict[str, Any]) -> dict[str, Any]:
    names = ("change", "low", "high", "measured_change", "measured_low", "measured_high")
    return {f"predicted_{name}": np.nan if entry[name] is None else entry[name] for name in names} | {
        "measured_label": entry["measured_label"]
    }
