"""Pins read again from what they were computed from: figures with intervals, rows, pictures. Never a kept picture. No PyTorch at import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from influence import conditions
from influence.actions import preview
from influence.actions._effects import SMOOTH as NAMED
from influence.actions._effects import counted, effects, estimate, smooth_said
from influence.actions._measures import unit_of
from influence.actions.clusters import in_training, with_groups
from influence.data.dataset import Dataset
from influence.errors import BadInput
from influence.evidence import words
from influence.evidence.figures import Estimate, Figure, Pinned
from influence.registry import finders
from influence.store import Project, Run
from influence.store.pins import Pin
from influence.types import Scores, Selection, as_places

ROWS, COLUMNS, CELL, GROUPS = 20, 8, 120, 40
"""Rows, columns and groups that are shown of a pin, and characters of a cell."""
BINS = 40
MOST = 100
"""Pins that a report shows at most."""
KINDS = {
    "rows": "Rows",
    "pattern": "Pattern",
    "gap": "Gap",
    "scores": "Scores",
    "prediction": "Traced prediction",
    "preview": "Preview",
    "comparison": "Comparison",
}


def read(project: Project, pin: Pin, dataset: Callable[[Run], Dataset] | None = None) -> Pinned:
    """Return what a pin shows; what cannot be read any more says so in `missing`.

    `dataset`: where a run's data are open already.
    """
    name = pin.run
    try:
        run = project.run(pin.run)
        name = words.called(run)
        data = dataset(run) if dataset else project.dataset(run.dataset)
        found = READ[pin.kind](project, run, data, pin.made)
    except BadInput as error:
        found = {"missing": str(error)}
    except (KeyError, ValueError, IndexError, TypeError):
        found = {"missing": "What it was computed from is gone or of another form. Open the page where it was found, and pin it again."}
    said = " ".join(filter(None, [pin.said, found.pop("said", "")]))
    return Pinned(KINDS.get(pin.kind, pin.kind), pin.title, name, pin.created, pin.note, said, **found)


def lineage(project: Project, run: Run) -> list[Pin]:
    """Return the pins of a run and of the run it was made from, in their order."""
    return [pin for pin in project.pins.listed() if pin.run in (run.id, run.parent)]


def reported(project: Project, run: Run, rows: bool) -> dict[str, Any]:
    """Return what a run's report tells of pins, by its names: what the first show, with or without single rows, and how many there are."""
    pins = lineage(project, run)
    found = [read(project, pin) for pin in pins[:MOST]]
    return {"pinned": tuple(found if rows else [replace(one, columns=(), rows=()) for one in found]), "pins": len(pins)}


def _rows(project: Project, run: Run, data: Dataset, made: Mapping[str, Any]) -> dict[str, Any]:
    chosen = project.selection(made["selection"])
    n = int(data.train.mask(chosen.ids).sum())
    share = f"{words.count(n, 'training row')} ({words.percent(n / len(data.train))} of {words.count(len(data.train))})"
    said = f"{share}: {chosen.reason.get('words', chosen.reason.get('rule', 'chosen by hand'))}."
    scores: dict[str, Any] = {}
    if made.get("scores"):
        kept = project.scores(made["scores"])
        values = kept.column()[as_places(chosen.ids, kept.ids)]
        unit = "change if removed" if kept.calibrated else "rank score"
        scores = {f"{unit}: {kept.labels[0]}" if len(kept.labels) > 1 else unit: values}  # of several questions the first
        if kept.calibrated and len(chosen) > 1:
            total = words.signed(float(values.sum()))
            said += f" Their predicted changes of {kept.labels[0]} add up to {total}, a sum that has no interval."
    return {"said": said, **cells(data.train, data.target, chosen.ids, scores)}


def cells(examples: Any, target: str, ids: Sequence[Any], figures: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the first rows of these ids as text: id, `figures` (N,) by name, then their columns, the target first."""
    first = list(ids[:ROWS])
    table = examples.columns.iloc[as_places(first, examples.ids)].reset_index(drop=True)
    names = [c for c in (target, *(c for c in table if c != target)) if c in table][:COLUMNS]
    parts = {"id": first, **{name: values[:ROWS] for name, values in figures.items()}}
    rows = zip(*(map(_cell, column) for column in (*parts.values(), *(table[c] for c in names))), strict=True)
    return {"columns": (*parts, *map(str, names)), "rows": tuple(rows), "n": len(ids)}


def _cell(value: Any) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    text = f"{value:.4g}".replace("-", words.MINUS) if isinstance(value, float | np.floating) else " ".join(str(value).split())
    return text if len(text) <= CELL else text[: CELL - 1] + "…"


def _pattern(project: Project, run: Run, data: Dataset, made: Mapping[str, Any]) -> dict[str, Any]:
    wanted, train = conditions.read(made["conditions"]), with_groups(project, run.id, data.train)
    seen = ~np.isin(train.ids, run.body.get("removed", ()))
    n, total = int((conditions.met(wanted, train.columns) & seen).sum()), int(seen.sum())
    said = f"{words.count(n, 'training row')}, {words.percent(n / max(1, total))} of {words.count(total)}."
    figures = effects(project, run, data, made) if "table" in made else ()
    smooth = f" {smooth_said(data)} Here: {made['label']}." if any(figure.label.startswith(NAMED) for figure in figures) else ""
    return {"said": said + smooth, "n": n, "figures": figures}


def _gap(project: Project, run: Run, data: Dataset, made: Mapping[str, Any]) -> dict[str, Any]:
    table = project.table(made["kept"])
    gap = table[(table["metric"] == made["gap"]) & (table["group"] == "")].to_dict("records")
    rates = table[(table["metric"] == made["metric"]) & (table["group"] != "")]
    largest = rates.loc[rates["n"].nlargest(GROUPS).index.sort_values()].to_dict("records")
    figures = [Figure(f"{words.title(made['gap'])} by {made['group']}", estimate(row)) for row in gap]
    figures += [Figure(f"{words.title(made['metric'])}, {row['group']}", estimate(row)) for row in largest]
    few = {"said": f"The {GROUPS} largest of {len(rates):,} groups."} if len(rates) > GROUPS else {}
    return {"figures": tuple(figures), "drawn": True, **few}


def _scores(project: Project, run: Run, data: Dataset, made: Mapping[str, Any]) -> dict[str, Any]:
    scores = project.scores(made["scores"])
    counts, edges = np.histogram(scores.column() * _unit(data, made, scores), BINS)
    axis = f"predicted change of {scores.labels[0]} if the row is removed" if scores.calibrated else f"rank score for {scores.labels[0]}"
    return {"edges": tuple(map(float, edges)), "counts": tuple(map(int, counts)), "axis": axis, "n": len(scores.ids)}


def _unit(data: Dataset, made: Mapping[str, Any], scores: Scores) -> float:
    """Return what one of a question's scores is in the target's own unit; ranks are in none."""
    return unit_of(data, made["query"]["name"]).value if scores.calibrated and "query" in made else 1.0


def _prediction(project: Project, run: Run, data: Dataset, made: Mapping[str, Any]) -> dict[str, Any]:
    scores = project.scores(made["scores"])
    values = scores.column() * _unit(data, made, scores)
    order = np.argsort(values, kind="stable")
    at = [k for k in order[: ROWS // 2] if values[k] < 0] + [k for k in order[::-1][: ROWS // 2] if values[k] > 0]
    unit = "change if removed" if scores.calibrated else "rank score"
    side = np.array(["for it" if values[k] < 0 else "against it" for k in at], dtype=object)
    return {**cells(data.train, data.target, scores.ids[at].tolist(), {"speaks": side, unit: values[at].astype(float)}), "n": len(values)}


def _preview(project: Project, run: Run, data: Dataset, made: Mapping[str, Any]) -> dict[str, Any]:
    note = preview.kept(project, run.id, made["group"])
    if note is None or note["scores"] != made["scores"]:
        raise BadInput("The preview was prepared anew since. Open Plan, and pin it again.")
    chosen = project.selection(made["selection"])
    found = preview.predicted(preview.in_units(note, data), project.scores(note["scores"]), chosen.ids)
    lacks = preview.unbanded(note, len(chosen))
    n = counted(project, run, data, note)
    figures = [_foretold(e, n[label], lacks) for label, e in found.items()]
    asked = words.count(note["n_evaluation"], "evaluation row")
    said = f"Without {words.count(len(chosen), 'training row')}, on {asked}. Predicted, not realised."
    return {"figures": tuple(figures), "said": said, "n": len(chosen)}


def _foretold(entry: Mapping[str, Any], n: int, lacks: str) -> Figure:
    before = Estimate(entry["measured_before"], n=n)
    if not entry["calibrated"]:
        return Figure(f"{entry['measured_label']}, now", before, "these scores rank only: no change is predicted")
    change = {k: entry[f"measured_{k}"] for k in ("change", "low", "high")}
    level = {k: None if v is None else entry["measured_before"] + v for k, v in change.items()}
    return Figure(f"{entry['measured_label']}, predicted", Estimate(level["change"], level["low"], level["high"], n), lacks, before=before)


def _comparison(project: Project, run: Run, data: Dataset, made: Mapping[str, Any]) -> dict[str, Any]:
    table = project.table(made["table"])
    rows = table[(table["metric"] == made["metric"]) & table["column"].isin(("", made["column"]))].to_dict("records")
    name = words.title(made["metric"])
    figures = [Figure(f"{name}, {r['group'] or 'all groups'}", estimate(r), series=r["role"]) for r in rows]
    return {"figures": tuple(figures), "drawn": True}


READ: Mapping[str, Callable[[Project, Run, Dataset, Mapping[str, Any]], dict[str, Any]]] = {
    "rows": _rows,
    "pattern": _pattern,
    "gap": _gap,
    "scores": _scores,
    "prediction": _prediction,
    "preview": _preview,
    "comparison": _comparison,
}


def found(project: Project, run: Run, pin: Pin) -> Selection:
    """Return the training rows that a pin of rows or of a pattern names in a run's data; the reason says from which pin they come.

    Raises:
        BadInput: the pin names no rows, or belongs to other data.
    """
    if pin.dataset != run.dataset:
        raise BadInput(f"“{pin.title}” belongs to other data. Choose the model that it was pinned for.")
    if pin.kind == "pattern":
        train = with_groups(project, run.id, project.dataset(run.dataset).train)
        chosen = in_training(run, finders.make("pattern", {"conditions": pin.made["conditions"]})(None, train))
        if not len(chosen):
            raise BadInput(f"All rows of “{pin.title}” were removed from this model already. Choose other pins.")
    elif pin.kind == "rows":
        chosen = project.selection(pin.made["selection"])
    else:
        raise BadInput(f"“{pin.title}” names no rows. Choose pins of rows or of patterns.")
    where = f", pinned on {pin.page.capitalize()}" if pin.page else ", pinned"
    said = f"{chosen.reason.get('words', chosen.reason.get('rule', 'rows'))}{where}"
    return replace(chosen, reason={**chosen.reason, "words": said, "pin": pin.id, "n": len(chosen)})
