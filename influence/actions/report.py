"""One investigation as an HTML page that stands alone: what was asked, found, done and measured, with the records that say so."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from influence.actions import _questions, _verified, fidelity, verify
from influence.actions._effects import counted, retrained, smooth_said
from influence.actions._measured import changes, comparison, flips, measured
from influence.actions._opened import Opened, opened
from influence.actions._pinned import reported
from influence.actions._requests import requests
from influence.actions._untouched import step, touched
from influence.actions.compare import compare
from influence.actions.preview import in_units, kept, predicted, retrainings, unbanded
from influence.digest import digest
from influence.errors import BadInput
from influence.evidence import investigation as told
from influence.evidence import words
from influence.evidence.report import render
from influence.registry import attribution, described
from influence.store import Project, Record
from influence.types import Event, Examples, Report, Selection, as_places, ignore

IDS_KEPT = 10_000


def report(
    project: Project, run: str | None = None, group: str | None = None, rows: bool = False, report: Report = ignore
) -> dict[str, Any]:
    """Write the report of a run; of an unlearned one, with its comparison. The page lies in the project's folder `reports`.

    `rows`: with single rows, the cells of pinned ones and the ids of selected ones, which can be personal data.

    Raises:
        BadInput: there is no such run.
    """
    began = time.perf_counter()
    it = opened(project, run)
    unlearned = it.run.parent is not None
    first = opened(project, it.run.parent) if unlearned else it
    by = (it.run.body.get("groups") or [""])[0] if group is None else group
    compared = compare(project, it.run.id, by, report=report) if unlearned else None
    selection = project.selection(it.run.body["selection"]) if unlearned else _own(it, project.current(it.run.dataset))
    page = render(_investigation(project, it, first, by, compared, selection, rows))
    path = project.path / "reports" / file_name(it.run.id, by, rows)
    path.parent.mkdir(exist_ok=True)
    half = path.with_suffix(".html.part")
    half.write_text(page, encoding="utf-8")
    half.replace(path)
    kept_page = project.put_json({"html": page})
    report(Event("report", 1, 1))
    seconds = time.perf_counter() - began
    with project.transaction():
        project.record(
            "report",
            inputs={"run": it.run.id},
            settings={"group": by, "rows": rows},
            outputs={"page": kept_page},
            measures={},
            seconds=seconds,
        )
    return {"html": str(path.relative_to(project.path)), "page": kept_page, "run": it.run.id, "seconds": seconds}


def file_name(run: str, group: str, rows: bool) -> str:
    """Return the name of a report's file: one for each run, group column and choice of rows, so that none stands in for another.

    Of a group it has what is readable, and the beginning of its digest, since names that differ can read alike.
    """
    readable = re.sub(r"\W+", "-", group).strip("-")[:40]
    by = f"-by-{readable}-{digest(group)[:6]}" if group else ""
    return f"{run}{by}{'-with-single-rows' if rows else ''}.html"


def _investigation(
    project: Project, it: Opened, first: Opened, group: str, compared: dict[str, Any] | None, selection: Selection | None, rows: bool
) -> told.Investigation:
    asked = _questions.asked_of(project, first)
    main = _questions.main(project, first, asked, selection)
    question, method = _questions.told_of(project, first, main)
    note = kept(project, first.run.id, group)
    note = in_units(note, first.dataset) if note else None
    table = project.table(compared["tables"]["metrics"]) if compared else measured(project, it, group)
    confirmed = tuple(retrained(project, first.run, first.dataset, [one.query for one in asked if one.query]))
    foretold = _preview(project, first, note, selection)
    records = project.records()
    return told.Investigation(
        title=first.dataset.name if it.run.name in ("", first.dataset.name) else f"{first.dataset.name}: {words.called(it.run)}",
        project=project.path.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        data=data_of(first),
        model=model_of(first),
        question=question,
        questions=_questions.listed(project, first, asked),
        asked=len(asked),
        method=method,
        selection=_chosen(it, first, selection, group, rows) if selection else None,
        preview=foretold,
        unlearning=_unlearned(it) if compared else None,
        comparison=comparison(table, group, dict(main.query or {}) if main else {}, bool(first.dataset.train.classes)),
        flips=flips(project, compared, first) if compared else (),
        changes=changes(project, note, compared) if compared else (),
        retrained=confirmed,
        smooth=smooth_said(first.dataset) if foretold or (question and question.smooth) else "",
        **reported(project, it.run, rows),
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


def _chosen(it: Opened, first: Opened, selection: Selection, group: str, rows: bool) -> told.Chosen:
    """Return what is told of the rows of a request: of those to remove, the ones that no earlier request had removed."""
    train, relabel = first.dataset.train, selection.action == "relabel"
    gone = set() if relabel else set(first.run.body.get("removed", ()))
    chosen = [id for id in selection.ids if id not in gone]
    seen, target = ~np.isin(train.ids, list(gone)), first.dataset.target
    mask, table = train.mask(chosen)[seen], train.columns[seen]
    told_by = {c: table[c] for c in dict.fromkeys((group, target)) if c and c in table}
    ids: tuple[Any, ...] = tuple(chosen[:IDS_KEPT]) if rows else ()
    if relabel:
        old, new = _labels(train, target, selection)
        told_by = {
            **{c: v for c, v in told_by.items() if c != target},
            f"{target}, old label": old[seen],
            f"{target}, new label": new[seen],
        }
        ids = tuple(f"{id}: {old[k]} → {new[k]}" for id, k in zip(ids, as_places(ids, train.ids), strict=True))
    parts = tuple(part for c, values in told_by.items() if values.nunique() <= 12 for part in _parts(values, mask, c))
    in_all = 0 if relabel else len(it.run.body.get("removed", ()))
    why = in_words(selection.reason)
    why = f"what the model still had of {why}" if in_all > len(chosen) else why  # which can name rows that earlier requests removed
    return told.Chosen(len(chosen), why, selection.digest, ids, parts, relabel, in_all)


def _labels(train: Examples, target: str, selection: Selection) -> tuple[pd.Series, pd.Series]:
    """Return the target of all training rows as people read it, as it was and with the new labels of the selected rows."""
    old = train.columns[target].astype(object).reset_index(drop=True)
    new = old.copy()
    new.iloc[as_places(selection.ids, train.ids)] = list(selection.labels)
    return old, new


def _parts(values: pd.Series, mask: np.ndarray, column: str) -> list[told.Part]:
    names = values.astype(object).where(values.notna(), "missing").astype(str)
    return [told.Part(column, str(v), int((names[mask] == v).sum()), int(n)) for v, n in names.value_counts().sort_index().items()]


def in_words(reason: Mapping[str, Any]) -> str:
    """Return a selection's rule as one sentence."""
    if "words" in reason:
        return str(reason["words"])
    shown = [f"{k} {v}" for k, v in reason.items() if k != "rule" and isinstance(v, str | int | float) and len(str(v)) < 60]
    return str(reason.get("rule", "chosen by hand")) + (f" ({', '.join(shown)})" if shown else "")


def _preview(project: Project, first: Opened, note: dict[str, Any] | None, selection: Selection | None) -> told.Preview | None:
    if note is None or selection is None or selection.action == "relabel":  # scores are of removals
        return None
    rows = selection.without(first.trained.removed)
    found = predicted(note, project.scores(note["scores"]), rows.ids)
    rests = counted(project, first.run, first.dataset, note)
    changes = tuple(replace(_foretold(label, note["better"][label], entry), n=rests[label]) for label, entry in found.items())
    n = retrainings(note)
    said = f"Slope and width come from {n} real retrainings without other sets of rows." if n else "Not calibrated: good for ranking only."
    said = unbanded(note, len(rows)) or said
    return told.Preview(changes, f"{said} {_trust(project, first.run.id, note)}".strip(), note["n_evaluation"])


def _foretold(label: str, better: Any, entry: Mapping[str, Any]) -> told.Change:
    own, smooth = (
        told.Change(name, better, *(entry[f"{prefix}{part}"] for part in ("change", "low", "high", "before")))
        for name, prefix in ((entry["measured_label"], "measured_"), (label, ""))
    )
    return own if own.label == label else replace(own, smooth=smooth)


def _trust(project: Project, run: str, note: dict[str, Any]) -> str:
    """Say how well the predictions agree with retraining, for each metric for which it was measured (the first share of rows)."""
    method = described(attribution.make(project.scores(note["scores"]).method))
    found = ((label, fidelity.kept(project, run, note["queries"][label], method)) for label in note["labels"])
    said = [
        f"{label}: {fidelity.in_words(r[0])}; of {note['measured_labels'][label]}: {fidelity.lds_in_words(r[0], 'lds_measured')}"
        for label, r in found if r
    ]  # fmt: skip
    all_of_it = f"Rank correlation with real retraining without random sets of rows (LDS, 95 % interval): {'. '.join(said)}."
    return all_of_it if said else "How true the predictions are was not measured."


def _unlearned(it: Opened) -> told.Unlearned:
    body = it.run.body
    method = body["method"]
    whole = None if method["name"] == "retrain" else body.get("retrain_seconds")
    return told.Unlearned(
        words.title(method["name"]),
        body["claim"],
        body["seconds"],
        settings=method["given"],
        claim_note=body["claim_note"],
        retrain_seconds=whole,
        run=it.run.id,
        verified=verify.told(judged) if (judged := verify.kept(it.project, it.run.id)) else "",
        measures=_verified.judged(judged) if judged else (),
        judged_on=_verified.measured_on(judged) if judged else "",
        beside=_beside(judged),
        **_method(judged),
        step=step(it.run),
        touched=touched(it.project, it.run),
        requests=requests(it.project, it.run),
    )


def _method(judged: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is told of a method that was judged, not of one model of it alone."""
    if not judged or not judged.get("method"):
        return {}
    found_at = tuple(_verified.method_in_words(judged))
    return {"tests": _verified.judged(judged, "method"), "tested": _verified.tested(judged), "found_at": found_at}


def _beside(judged: Mapping[str, Any] | None) -> tuple[told.Beside, ...]:
    """Return the figures of all rows and of groups beside models that never saw the rows, as `verify` found them."""
    names = ("metric", "column", "group", "n", "original", "value", "null_low", "null_high", "verdict")
    return tuple(told.Beside(*(each[name] for name in names)) for each in judged["fairness"]["rows"]) if judged else ()


def _versions(records: list[Record]) -> dict[str, str]:
    return {str(k): str(v) for k, v in records[-1].body["environment"].items() if isinstance(v, str | int | float)} if records else {}
