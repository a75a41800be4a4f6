"""One investigation as an HTML page that stands alone: what was asked, found, done and measured, with the records that say so."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from influence.actions import fidelity
from influence.actions._measures import evaluated
from influence.actions._opened import Opened, opened
from influence.actions._pinned import reported
from influence.actions.compare import compare
from influence.actions.preview import kept, predicted
from influence.errors import BadInput
from influence.evidence import investigation as told
from influence.evidence.report import render
from influence.groups import other_than
from influence.registry import attribution, described, queries
from influence.store import Project, Record
from influence.types import Event, Report, Selection, ignore

HEADLINES = ("accuracy", "mae", "equal_opportunity_gap", "demographic_parity_gap", "group_loss_gap")
IDS_KEPT = 10_000


def report(project: Project, run: str | None = None, group: str | None = None, report: Report = ignore) -> dict[str, Any]:
    """Write the report of a run; of an unlearned one, with its comparison. The page lies in the project's folder `reports`.

    Raises:
        BadInput: there is no such run.
    """
    began = time.perf_counter()
    it = opened(project, run)
    unlearned = it.run.parent is not None
    first = opened(project, it.run.parent) if unlearned else it
    by = (it.run.body.get("groups") or [""])[0] if group is None else group
    compared = compare(project, it.run.id, by, report) if unlearned else None
    selection = project.selection(it.run.body["selection"]) if unlearned else _own(it, project.current())
    page = render(_investigation(project, it, first, by, compared, selection))
    path = project.path / "reports" / f"{it.run.id}.html"
    path.parent.mkdir(exist_ok=True)
    half = path.with_suffix(".html.part")
    half.write_text(page, encoding="utf-8")
    half.replace(path)
    digest = project.put_json({"html": page})
    report(Event("report", 1, 1))
    seconds = time.perf_counter() - began
    with project.transaction():
        project.record("report", inputs={"run": it.run.id}, settings={"group": by}, outputs={"page": digest}, measures={}, seconds=seconds)
    return {"html": str(path.relative_to(project.path)), "page": digest, "run": it.run.id, "seconds": seconds}


def _investigation(
    project: Project, it: Opened, first: Opened, group: str, compared: dict[str, Any] | None, selection: Selection | None
) -> told.Investigation:
    asked = _asked(project, first, selection)
    note = kept(project, first.run.id, group)
    records = project.records()
    return told.Investigation(
        title=f"{first.dataset.name}: {it.run.name}",
        project=project.path.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        data=data_of(first),
        model=model_of(first),
        question=asked[0],
        method=asked[1],
        selection=_chosen(first, selection, group) if selection else None,
        preview=_preview(project, first.run.id, note, selection),
        unlearning=_unlearned(it) if compared else None,
        comparison=_comparison(project.table(compared["tables"]["metrics"]), group) if compared else (),
        flips=_flips(project, compared, first) if compared else (),
        changes=_changes(project, note, compared) if compared else (),
        **reported(project, it.run),
        records=tuple(told.Entry(r.seq, r.kind, r.created, r.hash, r.prev) for r in records),
        findings=tuple(project.check()),
        versions=_versions(records),
    )


def _own(it: Opened, selection: Selection | None) -> Selection | None:
    """Return the selection if it names rows of this run's data."""
    try:
        theirs = selection is not None and selection.reason.get("dataset", it.run.dataset) == it.run.dataset
        return selection if selection and theirs and it.dataset.train.mask(selection.ids).any() else None
    except BadInput:
        return None


def data_of(it: Opened) -> told.Data:
    """Return what is told of a run's data."""
    d = it.dataset
    bundled = d.source.get("bundled")
    source = f"{bundled['name']}, bundled" if isinstance(bundled, Mapping) else bundled or d.source.get("path") or d.source.get("arrays")
    rows = {role: len(d.split(role)) for role in ("train", "evaluation", "holdout")}
    groups = tuple(d.protected), tuple(d.audit)
    return told.Data(d.name, rows, d.target, str(source or d.name), *groups, d.simulated, d.notes, d.digest, d.train.favourable)


def model_of(it: Opened) -> told.Model:
    """Return what is told of a run's model."""
    body = it.run.body
    described = body["model"]
    recipe = {name: value for name, value in (body.get("recipe") or {}).items() if name != "course"}
    return told.Model(described["name"], it.run.id, described["given"], recipe, body["checkpoints"][-1]["digest"])


def _asked(project: Project, it: Opened, selection: Selection | None) -> tuple[told.Asked | None, told.Method | None]:
    """Return the question and method whose scores led to the selection; without a selection, the last ones asked of this model."""
    led = _led(project, it, selection)
    if led is None:
        return None, None
    query, method, scores = led
    calibrated = project.objects.find(scores) is not None and project.scores(scores).calibrated
    question = it.question([queries.make(**query)])
    oriented, logits = question.queries[0], it.outputs("evaluation")
    now = float(question.measured(logits)[0])
    measured = told.Estimate(**(evaluated(it.run, it.dataset, query, now) or {"value": now, "n": len(question.examples)}))
    value = told.Estimate(float(question.value(logits)[0]), n=len(question.examples))
    own = getattr(oriented, "positive", "")
    of = f" of the class “{own}”" if own not in ("", it.dataset.train.favourable) else ""
    return (
        told.Asked(question.labels[0] + of, oriented.better, measured, value, oriented.measured_label + of, queries.explain(query["name"])),
        told.Method(method["name"], attribution.explain(method["name"]), method["given"], calibrated),
    )


def _led(project: Project, it: Opened, selection: Selection | None) -> tuple[dict[str, Any], dict[str, Any], str] | None:
    """Return the query and the method by whose scores the rows were ranked, and these: asked on Influence, or prepared for Plan."""
    mine = [r for r in reversed(project.records()) if r.body["inputs"].get("run") == it.run.id and "scores" in r.body["outputs"]]
    if selection is None:
        mine = [r for r in mine if r.kind == "attribute"][:1]
    else:
        reason = str(dict(selection.reason))
        mine = [r for r in mine if r.body["outputs"]["scores"] in reason][:1]
    if not mine:
        return None
    settings, scores = mine[0].body["settings"], mine[0].body["outputs"]["scores"]
    if mine[0].kind == "attribute":
        return settings["query"], settings["method"], scores
    label = str(selection.reason.get("label", "")) if selection else ""
    note = kept(project, it.run.id, settings["group"], other_than(it.dataset.evaluation, settings.get("positive", "")))
    return (note["queries"][label], settings["method"], scores) if note and label in note["queries"] else None


def _chosen(it: Opened, selection: Selection, group: str) -> told.Chosen:
    train = it.dataset.train
    mask = train.mask(selection.ids)
    columns = [c for c in dict.fromkeys((group, it.dataset.target)) if c and c in train.columns and train.columns[c].nunique() <= 12]
    parts = tuple(part for column in columns for part in _parts(train.columns[column], mask, column))
    return told.Chosen(len(selection), in_words(selection.reason), selection.digest, tuple(selection.ids[:IDS_KEPT]), parts)


def _parts(values: pd.Series, mask: np.ndarray, column: str) -> list[told.Part]:
    names = values.astype(object).where(values.notna(), "missing").astype(str)
    return [told.Part(column, str(v), int((names[mask] == v).sum()), int(n)) for v, n in names.value_counts().sort_index().items()]


def in_words(reason: Mapping[str, Any]) -> str:
    """Return a selection's rule as one sentence."""
    if "words" in reason:
        return str(reason["words"])
    shown = [f"{k} {v}" for k, v in reason.items() if k != "rule" and isinstance(v, str | int | float) and len(str(v)) < 60]
    return str(reason.get("rule", "chosen by hand")) + (f" ({', '.join(shown)})" if shown else "")


def _preview(project: Project, run: str, note: dict[str, Any] | None, selection: Selection | None) -> told.Preview | None:
    if note is None or selection is None:
        return None
    found = predicted(note, project.scores(note["scores"]), selection.ids)
    changes = tuple(told.Change(label, note["better"][label], e["change"], e["low"], e["high"], e["before"]) for label, e in found.items())
    n = next(iter(note["calibration"].values()))["value"]["n"] if note["calibration"] else 0
    words = f"Slope and width come from {n} real retrainings without other sets of rows." if n else "Not calibrated: good for ranking only."
    return told.Preview(changes, f"{words} {_trust(project, run, note)}".strip())


def _trust(project: Project, run: str, note: dict[str, Any]) -> str:
    """Say how well the predictions agree with retraining, for each metric for which it was measured (the first share of rows)."""
    method = described(attribution.make(project.scores(note["scores"]).method))
    found = ((label, fidelity.kept(project, run, note["queries"][label], method)) for label in note["labels"])
    said = [f"{label}: {fidelity.in_words(r[0])}; as read: {fidelity.lds_in_words(r[0], 'lds_measured')}" for label, r in found if r]
    all_of_it = f"Rank correlation with real retraining without random sets of rows (LDS, 95 % interval): {'. '.join(said)}."
    return all_of_it if said else "How true the predictions are was not measured."


def _unlearned(it: Opened) -> told.Unlearned:
    body = it.run.body
    method = body["method"]
    whole = None if method["name"] == "retrain" else body.get("retrain_seconds")
    return told.Unlearned(
        method["name"],
        body["claim"],
        body["seconds"],
        settings=method["given"],
        claim_note=body["claim_note"],
        retrain_seconds=whole,
        run=it.run.id,
    )


def _comparison(table: pd.DataFrame, column: str) -> tuple[told.Measure, ...]:
    found = []
    for (where, metric, group), rows in table.groupby(["column", "metric", "group"], sort=False):
        better = rows["better"].iloc[0]
        values = {
            r["role"]: told.Estimate(_number(r["value"]), _number(r["low"]), _number(r["high"]), int(r["n"]))
            for r in rows.to_dict("records")
        }
        headline = group == "" and where in ("", column) and metric in HEADLINES
        found.append(told.Measure(metric.replace("_", " "), better, values, where, group, headline))
    return tuple(found)


def _flips(project: Project, compared: dict[str, Any], it: Opened) -> tuple[told.Flips, ...]:
    if "flips" not in compared["tables"]:
        return ()
    table = project.table(compared["tables"]["flips"])
    roles = [role for role in compared["runs"] if role != "original"]
    n = len(it.dataset.holdout)
    return tuple(_flip(role, table[table["role"] == role], n) for role in roles)


def _flip(role: str, rows: pd.DataFrame, n: int) -> told.Flips:
    return told.Flips(role, n, len(rows), int((rows["after"] == rows["target"]).sum()), int((rows["before"] == rows["target"]).sum()))


def _changes(project: Project, note: dict[str, Any] | None, compared: dict[str, Any]) -> tuple[told.Change, ...]:
    if note is None or "change" not in compared["tables"]:
        return ()
    table = project.table(compared["tables"]["change"])
    table = table[table["rows"] == "evaluation"]
    found = []
    for label, rows in table.groupby("label", sort=False):
        first = rows.iloc[0]
        change, low, high = (_number(first[f"predicted_{name}"]) for name in ("change", "low", "high"))
        realised = {r["role"]: _number(r["value"]) for r in rows.to_dict("records")}
        found.append(told.Change(label, note["better"][label], change, low, high, note["before"][label]["value"], realised))
    return tuple(found)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _versions(records: list[Record]) -> dict[str, str]:
    return {str(k): str(v) for k, v in records[-1].body["environment"].items() if isinstance(v, str | int | float)} if records else {}
