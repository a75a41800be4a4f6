"""What was asked of a model: every question in a project's records with the ways it was asked, and the one that a report is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from influence.actions._effects import measured, read_as
from influence.actions._measures import unit_of
from influence.actions._opened import Opened
from influence.actions._scored import Described, place, short
from influence.actions.preview import kept
from influence.errors import BadInput
from influence.evidence import investigation as told
from influence.evidence import words
from influence.evidence.figures import Estimate
from influence.groups import other_than
from influence.registry import attribution, queries
from influence.store import Project, Record
from influence.types import Selection

MOST = 40
"""Questions that a report lists at most."""
WAYS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "attribute": lambda settings: f"rows scored by {method_of(settings)}",
    "suspects": lambda settings: f"patterns searched by {method_of(settings)}",
    "sources": lambda settings: f"blocks of {settings['column']} weighed by {method_of(settings)}",
    "trace": lambda settings: f"{'a changed row ' if settings.get('edit') else ''}traced by {method_of(settings)}",
    "removal_curve": lambda settings: f"retrained along the ranking of {method_of(settings)}",
    "fidelity": lambda settings: f"predictions of {method_of(settings)} checked by retraining",
    "budget": lambda settings: "fewest rows looked for",
    "helps_nobody": lambda settings: f"rows that help nobody looked for by {method_of(settings)}",
    "swayed": lambda settings: f"traced forward by {method_of(settings)}",
    "mislabelled": lambda settings: f"scored by {method_of(settings)}",
}
"""How each kind of record asked its question, in words."""
OTHERS: Mapping[str, Callable[[Record], str]] = {
    "helps_nobody": lambda record: f"Loss of every group by {record.body['settings']['group']}",
    "swayed": lambda record: f"Predictions that training row {record.body['inputs']['row']} sways",
    "mislabelled": lambda record: "Which labels are likely wrong",
}
"""Questions of records that name no query."""


@dataclass
class Asked:
    """A question of the records: what it is called, its query if it has one, the method asked last, and the ways it was asked.

    `scores`: digests of the scores by method (`_scored.short`).
    """

    label: str
    query: Described | None = None
    method: Described | None = None
    scores: dict[str, str] = field(default_factory=dict)
    ways: list[str] = field(default_factory=list)


def method_of(settings: Mapping[str, Any]) -> str:
    """Return the name of the method in a record's settings."""
    method = settings.get("method", "")
    return words.title(method["name"] if isinstance(method, Mapping) else str(method))


def asked_of(project: Project, it: Opened) -> list[Asked]:
    """Return all questions that were asked of a run, the latest last; those about single predictions after them."""
    found: dict[str, Asked] = {}
    for record in project.records():
        settings = record.body["settings"]
        if record.body["inputs"].get("run") != it.run.id or record.kind not in WAYS:
            continue
        query = settings.get("query")
        if query is None and record.kind not in OTHERS:
            continue
        key = place(project, it.run.id, query) if query else OTHERS[record.kind](record)
        one = found.pop(key, None) or Asked(read_as(query, it.dataset) if query else key, query)
        found[key] = one  # the one asked last stands last
        one.ways += [way for way in [WAYS[record.kind](settings)] if way not in one.ways]
        if query and isinstance(settings.get("method"), Mapping):
            one.method = settings["method"]
            if "scores" in record.body["outputs"]:
                one.scores[short(one.method)] = record.body["outputs"]["scores"]
    return sorted(found.values(), key=lambda one: one.query is None or one.query["name"] == "prediction")


def listed(project: Project, it: Opened, asked: Sequence[Asked]) -> tuple[told.Question, ...]:
    """Return the first questions as a report tells them, each with what was measured."""
    return tuple(told.Question(one.label, _now(project, it, one.query), tuple(one.ways)) for one in asked[:MOST])


def _now(project: Project, it: Opened, query: Described | None) -> Estimate | None:
    if query is None:
        return None
    try:
        question = it.question([queries.make(query["name"], query["given"])])
        value = float(question.measured(it.outputs("evaluation"))[0])
    except BadInput:
        return None
    unit = unit_of(it.dataset, query["name"])
    return measured(project, it.run, it.dataset, query, value * unit.measured + unit.start)


def main(project: Project, it: Opened, asked: Sequence[Asked], selection: Selection | None) -> Asked | None:
    """Return the question behind the selection, by its scores or by a pin; else that of the last pattern pinned; else the last asked."""
    reason = str(dict(selection.reason)) if selection else ""
    by_scores = [one for one in asked if any(digest in reason for digest in one.scores.values())]
    if by_scores:
        return by_scores[0]
    prepared = _prepared(project, it, selection, reason) if selection else None
    of_many = [one for one in asked if one.query and one.query["name"] != "prediction"]
    others = [*of_many[::-1], *(one for one in asked if one.query)]
    return prepared or _pinned(project, it, asked, reason) or next(iter(others), None)


def _pinned(project: Project, it: Opened, asked: Sequence[Asked], reason: str) -> Asked | None:
    """Return the question of the pin that a selection comes from, or of the last pattern pinned."""
    pins = [pin for pin in project.pins.listed() if pin.run == it.run.id and "query" in pin.made]
    told = [pin for pin in pins if pin.id in reason] or [pin for pin in pins if pin.kind == "pattern"]
    wanted = [place(project, it.run.id, pin.made["query"]) for pin in told[-1:]]
    return next((one for one in asked if one.query and place(project, it.run.id, one.query) in wanted), None)


def _prepared(project: Project, it: Opened, selection: Selection, reason: str) -> Asked | None:
    """Return the question of a preview by whose scores the rows were ranked on Plan."""
    for record in reversed(project.records()):
        settings, scores = record.body["settings"], record.body["outputs"].get("scores", "")
        if record.kind != "prepare" or record.body["inputs"].get("run") != it.run.id or scores not in reason:
            continue
        label = str(selection.reason.get("label", ""))
        note = kept(project, it.run.id, settings["group"], other_than(it.dataset.evaluation, settings.get("positive", "")))
        if note and label in note["queries"]:
            query = note["queries"][label]
            return Asked(read_as(query, it.dataset), query, settings["method"], {short(settings["method"]): scores})
    return None


def told_of(project: Project, it: Opened, one: Asked | None) -> tuple[told.Asked | None, told.Method | None]:
    """Return a question with its method as a report tells them."""
    if one is None or one.query is None:
        return None, None
    question = it.question([queries.make(one.query["name"], one.query["given"])])
    now, unit = _now(project, it, one.query), unit_of(it.dataset, one.query["name"])
    value = float(question.value(it.outputs("evaluation"))[0]) * unit.value + unit.start
    smooth = question.labels[0] if question.labels[0] != one.label else ""
    asked = told.Asked(
        one.label, question.queries[0].better, now or Estimate(None), queries.explain(one.query["name"]), smooth, value if smooth else None
    )
    if one.method is None:
        return asked, None
    scores = one.scores.get(short(one.method), "")
    calibrated = bool(scores) and project.objects.find(scores) is not None and project.scores(scores).calibrated
    return asked, told.Method(words.title(one.method["name"]), attribution.explain(one.method["name"]), one.method["given"], calibrated)
