"""Which patterns of training rows does a question's value come from? No PyTorch at import: pages ask `kept`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from influence.actions._measures import unit_of
from influence.actions._scored import Described, best, place, scored, short
from influence.actions.clusters import beside, clusters
from influence.conditions import written
from influence.data.dataset import Dataset
from influence.errors import BadInput
from influence.registry import attribution, described
from influence.store import Project
from influence.store.catalogue import now
from influence.types import Examples, Report, Scores, ignore

if TYPE_CHECKING:
    from influence.actions._opened import Opened

VERSION = 3
"""Of what is kept: older searches are not found again."""
Remedy = Literal["remove", "relabel"]
NEVER = ("weight", "leak", "id")
"""Kinds of columns that are no conditions."""
COLUMNS = ["rule", "conditions", "n", "effect", "low", "high", "effect_per_row"]


def suspects(
    project: Project,
    query: str,
    method: str = "",
    run: str | None = None,
    query_set: Mapping[str, Any] | None = None,
    set: Mapping[str, Any] | None = None,
    max_conditions: int = 2,
    with_label: bool = False,
    remedy: Remedy = "remove",
    least: float = 0.01,
    most: float = 0.5,
    limit: int = 20,
    alike: int = 0,
    check: int = 0,
    seeds: int = 0,
    again: bool = False,
    report: Report = ignore,
) -> dict[str, Any]:
    """Search for patterns of training rows, ranked by the summed improvement of the question that removing them is predicted to bring.

    `suspects`: rule, conditions (JSON, for the finder `pattern`), n, effect (positive: the question improves), its 95 % interval low and
    high, effect_per_row, in the question's unit (squared errors of a numeric target in the square of its own); how they are found and
    listed is in `influence.patterns.search`. `method`: "" takes the best that is open.
    `with_label`: the target may be a condition beside another. `remedy`: "relabel" predicts giving the rows the model's likeliest other
    class instead. `least`, `most`: share of the training rows that a pattern holds. `alike`: put the rows into so many groups that look
    alike to the model (`influence.actions.clusters`), of which patterns may speak; 0: none. `check`: retrain without each of the first so
    many (`influence.actions.confirm_suspects`); each then says what is `realised`, with `seeds` also for fresh seeds. `again`: search even
    if it is kept.

    Raises:
        BadInput: a setting cannot be used, the question does not fit the data, or the method is not open to this model.
    """
    from influence.actions._opened import asked, opened

    began = time.perf_counter()
    it = opened(project, run)
    wanted = asked(query, query_set, it.run)
    scorer = attribution.make(method or best(it.trained), set)
    _refuse(max_conditions, least, most, limit, check, seeds, remedy, it.dataset.train, scorer)
    settings = {"max_conditions": max_conditions, "with_label": with_label, "remedy": remedy, "least": least, "most": most, "limit": limit}
    settings |= {"alike": alike} if alike else {}
    question, told = scored(it, wanted, scorer, report)
    name = key(project, it.run.id, told["query"], told["method"], settings)
    found = None if again else _whole(project, name)
    if found is None:
        scores = project.scores(told["scores"]) if remedy == "remove" else _relabelled(it, told["query"], question, scorer, report)
        found = _searched(it, scores, told, settings, report)
        with project.transaction():
            project.note(name, found)
            project.record(
                "suspects",
                inputs={"run": it.run.id, "dataset": it.run.dataset, "question": question.digest},
                settings={"query": told["query"], "method": told["method"], **settings},
                outputs={"suspects": found["table"]},
                measures={"looked_at": found["looked_at"], "found": found["found"]},
                seconds=time.perf_counter() - began,
            )
    listed = project.table(found["table"]).to_dict("records")
    if check and listed:
        from influence.actions.confirm_suspects import confirm_suspects

        patterns = [suspect["conditions"] for suspect in listed[:check]]
        told = confirm_suspects(project, query, patterns, it.run.id, query_set, remedy, seeds, report=report)
        for suspect, realised in zip(listed, told["confirmed"], strict=False):
            suspect["realised"] = realised
    return {**found, "suspects": listed, "seconds": time.perf_counter() - began}


def key(project: Project, run: str, query: Described, method: Described, settings: Mapping[str, Any]) -> str:
    """Return the name of the note under which a search is kept."""
    return f"suspects/{place(project, run, query)}/{short(method)}/{short(settings)}/{VERSION}"


def kept(project: Project, run: str, query: Described, method: Described, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a search with these settings found, or None; whoever deleted the table gets it searched for again."""
    return _whole(project, key(project, run, query, method, settings))


def _whole(project: Project, name: str) -> dict[str, Any] | None:
    found = project.noted(name)
    return found if found and project.objects.find(found["table"]) else None


def _refuse(
    max_conditions: int, least: float, most: float, limit: int, check: int, seeds: int, remedy: str, train: Examples, scorer: Any
) -> None:
    if not 1 <= max_conditions <= 4:
        raise BadInput(f"A pattern has 1 to 4 conditions; got {max_conditions}.")
    if not 0 < least < most <= 1:
        raise BadInput(f"A pattern's share of the rows must lie between 0 and 1, the least below the most; got {least:g} and {most:g}.")
    if check < 0 or seeds < 0:
        raise BadInput(f"So many patterns and seeds cannot be retrained: {check} and {seeds}. Give 0 or more.")
    if not 1 <= limit <= 1000:
        raise BadInput(f"1 to 1,000 patterns can be listed; got {limit}.")
    if remedy not in ("remove", "relabel"):
        raise BadInput(f"Rows can be removed or relabelled; got {remedy!r}. Give remove or relabel.")
    if remedy == "relabel" and not train.classes:
        raise BadInput("Only rows with a class can be relabelled; this target is a number. Search for rows to remove.")
    if remedy == "relabel" and not hasattr(scorer, "replaced"):
        able = ", ".join(name for name, cls in attribution.classes.items() if hasattr(cls, "replaced"))
        raise BadInput(f"{scorer.id} cannot say what other labels would do. Choose one of: {able}.")


def conditioned(dataset: Dataset, with_label: bool) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the columns of the training rows that may be conditions, and their kinds; the target only `with_label`."""
    kinds = {str(column["name"]): str(column.get("kind", "")) for column in dataset.columns}
    labelled = with_label and bool(dataset.train.classes)
    columns = dataset.train.columns
    names = [name for name in columns if (labelled if name == dataset.target else kinds.get(name) not in NEVER)]
    return columns[names], kinds | ({dataset.target: "category"} if labelled else {})


def other_class(it: Opened) -> Examples:
    """Return the training rows with the class, other than their own, that the model holds likeliest."""
    from influence import grads
    from influence.loop import threads

    train = it.dataset.train
    with threads(it.trained.recipe.threads if it.trained.recipe else 1):
        logits = grads.outputs(it.bound, train).numpy().copy()
    logits[np.arange(len(train)), train.y] = -np.inf
    return replace(train, y=logits.argmax(1).astype(train.y.dtype))


def _relabelled(it: Opened, query: Described, question: Any, scorer: Any, report: Report) -> Scores:
    """Return what giving each row another label is predicted to change; kept like scores."""
    name = f"relabelled/{place(it.project, it.run.id, query)}/{short(described(scorer))}"
    digest = it.project.noted(name)
    if digest is None or not it.project.objects.find(digest):
        second = other_class(it)
        digest = it.project.put_scores(scorer.replaced(it.trained, it.dataset.train, second, question, report, it.workspace))
        it.project.note(name, digest)
    return it.project.scores(digest)


def _alike(it: Opened, groups: int, report: Report) -> dict[str, Any]:
    """Return the training rows grouped by what looks alike, or nothing if that is not wished."""
    return clusters(it.project, it.run.id, groups, report=report) if groups else {}


def _searched(it: Opened, scores: Scores, told: Mapping[str, Any], settings: Mapping[str, Any], report: Report) -> dict[str, Any]:
    from influence.patterns import suspects as search

    seen, better = it.seen, told["better"]
    unit = unit_of(it.dataset, told["query"]["name"])
    effect = scores.column()[seen] * (1 if better == "higher" else -1) * (unit.value if scores.calibrated else 1.0)
    table, kinds = conditioned(it.dataset, settings["with_label"])
    groups = _alike(it, settings.get("alike", 0), report)
    if groups:
        table = beside(table, groups, it.project.scores(groups["clusters"]))
    found, looked_at = search(
        table[seen].reset_index(drop=True),
        effect,
        kinds,
        **{name: settings[name] for name in ("max_conditions", "least", "most", "limit")},
        beside=it.dataset.target if settings["with_label"] else "",
        report=report,
    )
    rows = [[s.rule, written(s.pattern), s.n, s.effect, s.low, s.high, s.effect_per_row] for s in found]
    return {
        "table": it.project.put_table(pd.DataFrame(rows, columns=COLUMNS)),
        "found": len(rows),
        "looked_at": looked_at,
        "n": int(seen.sum()),
        "label": told["labels"][0],
        "measured_label": told["measured_label"],
        "value": {kind: value * getattr(unit, kind) + unit.start for kind, value in told["value"].items()},
        "better": better,
        "calibrated": scores.calibrated,
        "run": it.run.id,
        "query": told["query"],
        "method": told["method"],
        "settings": dict(settings),
        "clusters": groups.get("clusters", ""),
        "computed": now(),
    }
