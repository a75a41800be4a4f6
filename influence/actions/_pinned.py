"""Pins read again from what they were computed from: figures with intervals, rows, pictures. Never a kept picture. No PyTorch at import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from influence import conditions
from influence.actions import confirm_suspects, preview
from influence.actions.clusters import in_training, with_groups
from influence.errors import BadInput
from influence.evidence import words
from influence.evidence.investigation import Estimate, Figure, Pinned
from influence.registry import finders
from influence.store import Project, Run
from influence.store.pins import Pin
from influence.types import Selection, as_places

ROWS, COLUMNS, CELL, GROUPS = 20, 8, 120, 40
"""Rows, columns and groups that are shown of a pin, and characters of a cell."""
BINS = 40
MOST = 100
"""Pins that a report shows at most."""
ONE = "none: one retraining"
KINDS = {
    "rows": "Rows",
    "pattern": "Pattern",
    "gap": "Gap",
    "scores": "Scores",
    "prediction": "Traced prediction",
    "preview": "Preview",
    "comparison": "Comparison",
}


def read(project: Project, pin: Pin) -> Pinned:
    """Return what a pin shows; what cannot be read any more says so in `missing`."""
    name = pin.run
    try:
        run = project.run(pin.run)
        name = run.name or run.id
        found = READ[pin.kind](project, run, pin.made)
    except BadInput as error:
        found = {"missing": str(error)}
    except (KeyError, ValueError, IndexError, TypeError):
        found = {"missing": "What it was computed from is gone or of another form. Open the page where it was found, and pin it again."}
    said = " ".join(filter(None, [pin.said, found.pop("said", "")]))
    return Pinned(KINDS.get(pin.kind, pin.kind), pin.title, name, pin.created, pin.note, said, **found)


def lineage(project: Project, run: Run) -> list[Pin]:
    """Return the pins of a run and of the run it was made from, in their order."""
    return [pin for pin in project.pins.listed() if pin.run in (run.id, run.parent)]


def reported(project: Project, run: Run) -> dict[str, Any]:
    """Return what a run's report tells of pins, by its names: what the first show, and how many there are."""
    pins = lineage(project, run)
    return {"pinned": tuple(read(project, pin) for pin in pins[:MOST]), "pins": len(pins)}


def estimate(row: Mapping[str, Any], *names: str) -> Estimate:
    """Return an estimate from a row of a table; `names` of value, low, high and n."""
    *ends, n = names or ("value", "low", "high", "n")
    value, low, high = (None if row[k] is None or not np.isfinite(row[k]) else float(row[k]) for k in ends)
    return Estimate(value, low, high, int(row[n]))


def _rows(project: Project, run: Run, made: Mapping[str, Any]) -> dict[str, Any]:
    chosen = project.selection(made["selection"])
    data = project.dataset(run.dataset)
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


def _pattern(project: Project, run: Run, made: Mapping[str, Any]) -> dict[str, Any]:
    wanted, train = conditions.read(made["conditions"]), with_groups(project, run.id, project.dataset(run.dataset).train)
    seen = ~np.isin(train.ids, run.body.get("removed", ()))
    n, total = int((conditions.met(wanted, train.columns) & seen).sum()), int(seen.sum())
    said = f"{words.count(n, 'training row')}, {words.percent(n / max(1, total))} of {words.count(total)}."
    return {"said": said, "n": n, "figures": _effects(project, run, made) if "table" in made else ()}


def _effects(project: Project, run: Run, made: Mapping[str, Any]) -> tuple[Figure, ...]:
    """Return what a search predicted for a pattern, and what retraining found."""
    table, remedy = project.table(made["table"]), made["remedy"]
    row = table[table["conditions"] == made["conditions"]].iloc[0]
    done = "removed" if remedy == "remove" else "relabelled"
    label = (
        f"predicted improvement of {made['label']} if {done}"
        if made["calibrated"]
        else f"summed rank score for {made['label']}, in no unit"
    )
    figures = [Figure(label, estimate(row, "effect", "low", "high", "n"))]
    note = confirm_suspects.kept(project, run.id, made["query"], made["conditions"], remedy)
    sign = 1 if made["better"] == "higher" else -1
    return (*figures, *_confirmed(project, run, note, sign, done))


def _confirmed(project: Project, run: Run, note: Mapping[str, Any] | None, sign: int, done: str) -> list[Figure]:
    """Return what retraining found for a pattern, positive: better."""
    found, data = [], project.dataset(run.dataset)
    for truth, name in (("same", f"realised with these rows {done}"), ("random", f"with as many random rows {done}")):
        for role in ("evaluation", "holdout"):
            told = (note or {}).get(truth, {}).get(role)
            if told:
                value = sign * told["value"]["change"]
                found.append(Figure(f"{name}, {role} rows", Estimate(value, n=len(data.split(role))), ONE))
    fresh = (note or {}).get("fresh", {}).get("holdout", {}).get("value")
    if fresh:
        low, high = sorted(sign * fresh[k] for k in ("low", "high")) if fresh["low"] is not None else (None, None)
        label = f"realised with these rows {done}, {fresh['n']} new seeds, holdout rows"
        found.append(Figure(label, Estimate(sign * fresh["change"], low, high, len(data.holdout))))
    return found


def _gap(project: Project, run: Run, made: Mapping[str, Any]) -> dict[str, Any]:
    table = project.table(made["kept"])
    gap = table[(table["metric"] == made["gap"]) & (table["group"] == "")].to_dict("records")
    rates = table[(table["metric"] == made["metric"]) & (table["group"] != "")]
    largest = rates.loc[rates["n"].nlargest(GROUPS).index.sort_values()].to_dict("records")
    figures = [Figure(f"{words.title(made['gap'])} by {made['group']}", estimate(row)) for row in gap]
    figures += [Figure(f"{words.title(made['metric'])}, {row['group']}", estimate(row)) for row in largest]
    few = {"said": f"The {GROUPS} largest of {len(rates):,} groups."} if len(rates) > GROUPS else {}
    return {"figures": tuple(figures), "drawn": True, **few}


def _scores(project: Project, run: Run, made: Mapping[str, Any]) -> dict[str, Any]:
    scores = project.scores(made["scores"])
    counts, edges = np.histogram(scores.column(), BINS)
    axis = f"predicted change of {scores.labels[0]} if the row is removed" if scores.calibrated else f"rank score for {scores.labels[0]}"
    return {"edges": tuple(map(float, edges)), "counts": tuple(map(int, counts)), "axis": axis, "n": len(scores.ids)}


def _prediction(project: Project, run: Run, made: Mapping[str, Any]) -> dict[str, Any]:
    scores, data = project.scores(made["scores"]), project.dataset(run.dataset)
    values = scores.column()
    order = np.argsort(values, kind="stable")
    at = [k for k in order[: ROWS // 2] if values[k] < 0] + [k for k in order[::-1][: ROWS // 2] if values[k] > 0]
    unit = "change if removed" if scores.calibrated else "rank score"
    side = np.array(["for it" if values[k] < 0 else "against it" for k in at], dtype=object)
    return {**cells(data.train, data.target, scores.ids[at].tolist(), {"speaks": side, unit: values[at].astype(float)}), "n": len(values)}


def _preview(project: Project, run: Run, made: Mapping[str, Any]) -> dict[str, Any]:
    note = preview.kept(project, run.id, made["group"])
    if note is None or note["scores"] != made["scores"]:
        raise BadInput("The preview was prepared anew since. Open Plan, and pin it again.")
    chosen = project.selection(made["selection"])
    found = preview.predicted(note, project.scores(note["scores"]), chosen.ids)
    figures = [_foretold(e, note["n_evaluation"]) for e in found.values()]
    asked = words.count(note["n_evaluation"], "evaluation row")
    said = f"Without {words.count(len(chosen), 'training row')}, on {asked}. Predicted, not realised."
    return {"figures": tuple(figures), "said": said, "n": len(chosen)}


def _foretold(entry: Mapping[str, Any], n: int) -> Figure:
    before = entry["measured_before"]
    if not entry["calibrated"]:
        return Figure(f"{entry['measured_label']}, now", Estimate(before, n=n), "these scores rank only: no change is predicted")
    change = {k: entry[f"measured_{k}"] for k in ("change", "low", "high")}
    level = {k: None if v is None else before + v for k, v in change.items()}
    label = f"{entry['measured_label']}, now {words.number(before)}, predicted"
    return Figure(label, Estimate(level["change"], level["low"], level["high"], n))


def _comparison(project: Project, run: Run, made: Mapping[str, Any]) -> dict[str, Any]:
    table = project.table(made["table"])
    rows = table[(table["metric"] == made["metric"]) & table["column"].isin(("", made["column"]))].to_dict("records")
    name = words.title(made["metric"])
    figures = [Figure(f"{name}, {r['group'] or 'all groups'}", estimate(r), series=r["role"]) for r in rows]
    return {"figures": tuple(figures), "drawn": True}


READ: Mapping[str, Callable[[Project, Run, Mapping[str, Any]], dict[str, Any]]] = {
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
