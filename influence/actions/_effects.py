"""What is predicted of leaving a pattern's rows out, and what retraining found, as figures that people read. No PyTorch at import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, cast

import numpy as np

from influence import conditions
from influence.actions import confirm_suspects
from influence.actions._measures import evaluated, unit_of
from influence.actions._scored import Described
from influence.data.dataset import Dataset, Role
from influence.errors import BadInput
from influence.evidence.figures import Estimate, Figure, Retrained
from influence.registry import queries
from influence.store import Project, Run

ROLES: tuple[Role, ...] = ("evaluation", "holdout")
ONE = "one retraining"
OWN = "own"
"""What a pin says whose table tells a numeric target in its own unit."""
SMOOTH = "Its smooth version"
MARGIN = "Mean margin, which previews take for accuracy, is the mean log-odds of the right class: another metric, in another unit."
SAID = (
    "The smooth version, which scores predict, takes probabilities for decisions and squared errors for errors, and of a gap the two "
    "groups that are furthest apart in it."
)


def smooth_said(dataset: Dataset) -> str:
    """Return what the smooth version of a metric is; the mean margin only where there is an accuracy that it stands for."""
    return f"{SAID} {MARGIN}" if dataset.train.classes else SAID


def read_as(query: Described, dataset: Dataset) -> str:
    """Return what people call a question's metric."""
    asked = queries.make(query["name"], {k: v for k, v in query["given"].items() if v != ""})
    if not dataset.train.classes and any(field.name == "numeric" for field in fields(asked)):
        asked = replace(asked, numeric=True)
    own = query["given"].get("positive", "")
    return asked.measured_label + (f" of the class “{own}”" if own not in ("", dataset.train.favourable) else "")


def estimate(row: Mapping[str, Any], *names: str) -> Estimate:
    """Return an estimate from a row of a table; `names` of value, low, high and n."""
    *ends, n = names or ("value", "low", "high", "n")
    value, low, high = (None if row[k] is None or not np.isfinite(row[k]) else float(row[k]) for k in ends)
    return Estimate(value, low, high, int(row[n]))


def measured(project: Project, run: Run, dataset: Dataset, query: Described, value: float, role: Role = "evaluation") -> Estimate:
    """Return what a question measured of a role's rows, `value` in the target's own unit, with the interval of the run's measures."""
    n = 1 if query["name"] == "prediction" else len(dataset.split(role))
    found = evaluated(run, dataset, query, value, project.table(run.body["predictions"]), role)
    return Estimate(**found) if found else Estimate(value, n=n, lacks="one row" if n == 1 else "no interval")


def counted(project: Project, run: Run, dataset: Dataset, note: Mapping[str, Any]) -> dict[str, int]:
    """Return how many evaluation rows each metric of a preview rests on: a gap of rates on those of its kind alone."""
    before = note["before"]
    return {label: measured(project, run, dataset, query, before[label]["measured"]).n for label, query in note["queries"].items()}


def predicted(row: Mapping[str, Any], made: Mapping[str, Any], metric: str, unit: float) -> Figure:
    """Return what a search predicted for a pattern, a row of its table in this `unit`: the change of what scores predict."""
    done = "without these rows" if made["remedy"] == "remove" else "with these rows relabelled"
    found = estimate(row, "effect", "low", "high", "n")
    if not made["calibrated"]:
        return Figure(f"summed rank score for {made['label']}, in no unit", found)
    change = _times(found, unit if made["better"] == "higher" else -unit)
    return Figure(f"{_of(made['label'], metric)}, predicted change {done}", change, change=True)


def _of(label: str, metric: str) -> str:
    return label if label == metric else SMOOTH


def _times(found: Estimate, factor: float) -> Estimate:
    value, low, high = (None if part is None else part * factor for part in (found.value, found.low, found.high))
    return Estimate(value, low, high, found.n) if factor > 0 else Estimate(value, high, low, found.n)


def realised(project: Project, run: Run, dataset: Dataset, query: Described, label: str, note: Mapping[str, Any]) -> list[Figure]:
    """Return what retraining found for a pattern: the metric before and after, with random rows, with new seeds; its smooth version last.

    `label`: what scores predict; "": without its smooth version. `note`: of `confirm_suspects`.
    """
    metric = read_as(query, dataset)
    done = "retrained without these rows" if note["remedy"] == "remove" else "retrained with these rows relabelled"
    ways = (("same", done), ("random", "retrained without as many random rows"))
    found = [
        Figure(f"{metric}, {role} rows, {way}", *_levels(project, run, dataset, query, note[truth][role]["measured"], role))
        for truth, way in ways for role in ROLES if role in note.get(truth, {})
    ]  # fmt: skip
    ns = {role: measured(project, run, dataset, query, 0.0, role).n for role in ROLES if role in note.get("fresh", {})}
    found += [_fresh(metric, role, done, note["fresh"][role]["measured"], n) for role, n in ns.items()]
    if label and label != metric:
        found += [
            Figure(f"{_of(label, metric)}, {role} rows, {done}", *_smooth(note["same"][role]["value"], len(dataset.split(role))))
            for role in ROLES if role in note.get("same", {})
        ]  # fmt: skip
    return found


def _levels(project: Project, run: Run, dataset: Dataset, query: Described, told: Mapping[str, float], role: Role) -> tuple[Any, ...]:
    before = measured(project, run, dataset, query, told["before"], role)
    return Estimate(told["before"] + told["change"], n=before.n), ONE, "", before


def _smooth(told: Mapping[str, float], n: int) -> tuple[Any, ...]:
    return Estimate(told["before"] + told["change"], n=n), ONE, "", Estimate(told["before"], n=n)


def _fresh(metric: str, role: Role, done: str, told: Mapping[str, Any], n: int) -> Figure:
    found = Estimate(told["change"], told["low"], told["high"], n)
    return Figure(f"{metric}, {role} rows, mean change over {told['n']} new seeds, {done}", found, "one new seed", change=True)


def retrained(project: Project, run: Run, dataset: Dataset, asked: Sequence[Described]) -> list[Retrained]:
    """Return all patterns that models were retrained without, of the questions `asked`."""
    found = []
    for query in asked:
        for note in confirm_suspects.every(project, run.id, query):
            figures = tuple(realised(project, run, dataset, query, "", note))
            found.append(Retrained(cast(str, note["rule"]), note["n"], figures))
    return found


def effects(project: Project, run: Run, dataset: Dataset, made: Mapping[str, Any]) -> tuple[Figure, ...]:
    """Return the figures of a pinned pattern: what retraining found if anything, and what was predicted.

    Raises:
        BadInput: the search does not hold the pattern any more.
    """
    table = project.table(made["table"])
    rows = table[table["conditions"] == made["conditions"]]
    if not len(rows):
        raise BadInput(
            f"The search no longer holds the pattern {conditions.rule(conditions.read(made['conditions']))}. Search anew, and pin it."
        )
    metric = read_as(made["query"], dataset)
    note = confirm_suspects.kept(project, run.id, made["query"], made["conditions"], made["remedy"])
    done = realised(project, run, dataset, made["query"], made["label"], note) if note else []
    first = [figure for figure in done if not figure.label.startswith(SMOOTH)]
    smooth = [figure for figure in done if figure.label.startswith(SMOOTH)]
    own = made.get("units") == OWN  # tables of pins from before were standardised as the model's target is
    unit = 1.0 if own else unit_of(dataset, made["query"]["name"]).value
    return (*first, predicted(rows.iloc[0], made, metric, unit), *smooth)
