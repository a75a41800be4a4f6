"""Original, unlearned and retrained side by side: metrics and their changes, decisions, what is inside, and what was predicted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from influence.actions import _compared, _random_removal, _representations
from influence.actions._compared import Compared
from influence.actions._comparison import VERSION, key
from influence.actions._measures import unit_of
from influence.actions._opened import Opened, opened
from influence.actions.confirm import questions_of
from influence.actions.preview import in_units, kept, predicted
from influence.actions.verify import newest
from influence.errors import BadInput
from influence.evaluation.changes import MINUS, of_pair
from influence.evaluation.flips import flips
from influence.groups import columns_of
from influence.store import Project
from influence.types import Event, Question, Report, ignore


def compare(
    project: Project, run: str | None = None, group: str | None = None, random: bool = False, report: Report = ignore
) -> dict[str, Any]:
    """Compare an unlearned run (default: the newest) with its parent and with the model retrained without the rows, on the holdout rows.

    `random`: beside them a model retrained without as many random rows (truth same), trained if there is none yet; once made, it stands in
    every comparison of as many rows. Tables (digests): `metrics` (role, run, metric, group, value, low, high, n, better; the fairness rows
    of `column`; how each changed from the original's on the same rows: change, change_low, change_high, change_n, and of a gap the `pair`
    of groups that it is the change of), `classes` (recall and precision by class), `forgetting` (on removed rows), `flips` (holdout rows
    whose prediction differs from the original's), `rows` (forgotten, retained and holdout rows with what each model says and its loss),
    `attack` (how well the loss tells forgotten from holdout rows), `layers` (linear CKA of each two models), `places` (rows in the last
    hidden layer), `change` (per standard metric and role: predicted and realised, of a numeric target in its own unit).

    Raises:
        BadInput: there is no such run, it was not made by unlearning, there is no such group column, or the model can't be trained again.
    """
    began = time.perf_counter()
    new = opened(project, run or newest(project))
    if new.run.parent is None:
        raise BadInput(f"Run {new.run.id} was not made by unlearning, so that there is nothing to compare it with. Give an unlearned run.")
    by = (new.run.body.get("groups") or [""])[0] if group is None else group
    if by:
        columns_of(new.dataset.holdout, by)  # or that is what is wrong with it
    selection = project.selection(new.run.body["selection"])
    runs = _roles(project, new, random, report)
    tables = _tables(project, Compared(runs, selection, by), report)
    result = {
        "tables": tables,
        "runs": {role: it.run.id for role, it in runs.items()},
        "group": by,
        "n_removed": new.run.body["n_removed"],
        "n_relabelled": new.run.body.get("n_relabelled", 0),
        "version": VERSION,
    }
    with project.transaction():
        project.note(key(new.run.id, by), result)
        project.record(
            "compare",
            inputs={role: it.run.id for role, it in runs.items()},
            settings={"group": by},
            outputs=tables,
            measures={},
            seconds=time.perf_counter() - began,
        )
    return result


def _tables(project: Project, it: Compared, report: Report) -> dict[str, str]:
    """Measure everything and return the digests of the tables that have something to say."""
    makers = {
        "metrics": lambda: _compared.metrics(it),
        "classes": lambda: _compared.classes(it),
        "forgetting": lambda: _compared.forgetting(it),
        "flips": lambda: _flips(it),
        "rows": lambda: _compared.each(it),
        "layers": lambda: _representations.layers(it),
        "places": lambda: _representations.places(it),
        "change": lambda: _change(project, it),
    }
    found = {}
    for done, (name, make) in enumerate(makers.items()):
        report(Event("compare", done, len(makers), note=name))
        found[name] = make()
    found["attack"] = _compared.attack(found["rows"], list(it.runs))
    return {name: project.put_table(table) for name, table in found.items() if len(table.columns)}


def _roles(project: Project, new: Opened, random: bool, report: Report) -> dict[str, Opened]:
    """Return the models to compare by their role, the original first; a random removal takes as many rows as were really removed."""
    assert new.run.parent is not None
    original, size = opened(project, new.run.parent), new.run.body["n_removed"]
    if new.run.body.get("retrained"):
        runs = {"original": original, "unlearned": new, "retrained": opened(project, new.run.body["retrained"])}
    elif new.run.body.get("yardstick") or new.run.body.get("method", {}).get("name") == "retrain":
        runs = {"original": original, "retrained": new}
    else:
        runs = {"original": original, "unlearned": new}
    known = _random_removal.kept(project, original.run.id, size) if size else None
    if random and size and known is None:
        known = _random_removal.train(original, size, report)
    return {**runs, "random": opened(project, known)} if known else runs


def _flips(it: Compared) -> pd.DataFrame:
    rows = it.original.dataset.holdout
    if not rows.classes:
        return pd.DataFrame()
    before = it.said("original", "holdout")
    parts = [flips(before, it.said(role, "holdout"), rows)[0].assign(role=role) for role in it.runs if role != "original"]
    return pd.concat(parts, ignore_index=True)


def _said(it: Compared, role: str, questions: Mapping[str, Question]) -> dict[str, dict[str, np.ndarray]]:
    """Return what questions to the original's rows say of a model that may read them otherwise: {"value": (Q,), "measured": (Q,)}."""
    logits = {where: it.of_role(role, where) for where in questions}  # type: ignore[arg-type]
    return {
        where: {"value": question.value(logits[where]).numpy(), "measured": question.measured(logits[where]).numpy()}
        for where, question in questions.items()
    }


def _change(project: Project, it: Compared) -> pd.DataFrame:
    original = it.original
    note = kept(project, original.run.id, it.by)
    if note is None or it.selection.action == "relabel":  # scores are of removals
        return pd.DataFrame()
    expected = predicted(in_units(note, original.dataset), project.scores(note["scores"]), it.ids["forgotten"].tolist())
    units = [unit_of(original.dataset, note["queries"][label]["name"]) for label in note["labels"]]
    questions = questions_of(original, note)
    before = _said(it, "original", questions)
    rows: list[dict[str, Any]] = []
    for role in (role for role in it.runs if role not in ("original", "random")):  # nothing was predicted of random rows
        after = _said(it, role, questions)
        for where in questions:
            for i, label in enumerate(note["labels"]):
                real = {
                    kind: float(after[where][kind][i] - before[where][kind][i]) * getattr(units[i], kind) for kind in ("value", "measured")
                }
                pair = _paired(it, role, questions[where], label, units[i].measured) if "pair" in expected[label] else {}
                rows.append({"role": role, "rows": where, "label": label, **_expected(expected[label]), **real, **pair})
    return pd.DataFrame(rows)


def _paired(it: Compared, role: str, question: Question, label: str, unit: float) -> dict[str, Any]:
    """Return how a gap changed between the two groups that its query names, with 95 % limits over rows: pair, change, low, high, n."""
    query, rows = next(q for q in question.queries if label in q.labels), question.examples
    where = "holdout" if rows is it.original.dataset.holdout else "evaluation"
    logits = [it.of_role(of, where).numpy() for of in ("original", role)]  # type: ignore[arg-type]
    pair: tuple[str, str] = (query.high, query.low)  # type: ignore[attr-defined]
    positive = getattr(query, "positive", "")
    change, (low, high), n = of_pair(logits[0], logits[1], rows, query.groups(rows), query.id, pair, positive)  # type: ignore[attr-defined]
    return {
        "pair": f"{pair[0]} {MINUS} {pair[1]}",
        "paired": change * unit,
        "paired_low": low * unit,
        "paired_high": high * unit,
        "paired_n": n,
    }


def _expected(entry: dict[str, Any]) -> dict[str, Any]:
    names = ("change", "low", "high", "measured_change", "measured_low", "measured_high")
    pair = {f"predicted_paired_{name}": value for name, value in entry.get("pair", {}).items()}
    told = {f"predicted_{name}": np.nan if entry[name] is None else entry[name] for name in names}
    return {**told, **pair, "measured_label": entry["measured_label"]}
