"""Trace one prediction: the training rows that speak for it and against it, those that merely look like it, and when they counted.

No PyTorch at import: pages ask `kept`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from influence.actions._scored import Described, asked_of, best, place, scored, short
from influence.data.edit import changes, edited, place_of
from influence.errors import BadInput
from influence.registry import attribution, described
from influence.store import Project
from influence.store.catalogue import now
from influence.types import Event, Examples, Report, Scores, ignore

if TYPE_CHECKING:
    from influence.actions._opened import Opened
    from influence.types import Query, Question

TOP = 20
"""Rows of each list that are compared."""
HIDDEN, GRADIENTS = "cosine in the model's last hidden layer", "cosine of gradients"
VERSION = 1
"""Of what is computed: older traces are not found again."""


def trace(
    project: Project,
    id: str,
    run: str | None = None,
    method: str = "",
    set: Mapping[str, Any] | None = None,
    edit: Mapping[str, Any] | None = None,
    again: bool = False,
    report: Report = ignore,
) -> dict[str, Any]:
    """Score every training row by what its removal does to what the model says of one evaluation row, and say which look like that row.

    The question is `prediction` of the class that the model says (of a number: the number). `method`: "" takes the best that is open.
    `scores`, `value`, `calibrated`: as of `attribute`, whose scores are found again. `similar`: digest of how alike each training row is,
    by `alike`, labels aside. `steps`: digest of TracIn's terms (N, K), one column per kept checkpoint. `shared`: how many of the `TOP`
    strongest rows are among the `TOP` most alike; by `chance` there would be so many. Rows that the model was made without take no part.

    `edit`: cells of the row by column that are others than they are (`data/edit.py`): what if? All that is told is then of the changed
    row, and the same class is asked about; `edit` holds what really changed, `before` the trace of the row as it is, `says` the class
    that the model now says, with probability `p`.

    Raises:
        BadInput: there is no such run or evaluation row, a cell cannot be so, or the method is not open to this model.
    """
    from influence.actions._opened import opened

    began = time.perf_counter()
    it = opened(project, run)
    wanted, scorer = _asked(it, str(id)), attribution.make(method or best(it.trained), set)
    changed = changes(it.dataset, str(id), edit) if edit else {}
    question, told = scored(it, wanted, scorer, report, again and not changed)
    found = None if again and not changed else kept(project, it.run.id, told["query"], told["method"])
    if found is None:
        found = {**_looked(it, question, project.scores(told["scores"]), report), "id": str(id), "run": it.run.id, "computed": now()}
        _keep(it, question, told, found, time.perf_counter() - began)
    if changed:
        told, found = _edited(it, question, scorer, changed, again, report), {"before": {**told, **found}}
    result = {**told, **found}
    of = {"proponents": "scores", "opponents": "scores", "nearest": "similar"}
    first = {side: told_first(project.scores(result[name]), side) for side, name in of.items()}
    return {**result, **first, "seconds": time.perf_counter() - began}


def _edited(it: Opened, question: Question, scorer: Any, changed: Mapping[str, Any], again: bool, report: Report) -> dict[str, Any]:
    """Return the scores of the changed row, and what stands beside them, from the project if it has them.

    They are no scores of a question to the evaluation rows, so nothing else finds them: both are in one note.
    """
    began, query = time.perf_counter(), question.queries[0]
    found = None if again else kept_edited(it.project, it.run.id, described(query), described(scorer), changed)
    if found is not None:
        return {**found, "found": True}
    other = replace(question, examples=edited(it.dataset, query.id, changed))  # type: ignore[attr-defined]
    told = asked_of(it, other, scorer, report, it.workspace)
    logits = it.answers(other.examples)[place_of(other.examples, query.id)]  # type: ignore[attr-defined]
    classes = other.examples.classes
    says = {"says": classes[int(logits.argmax())], "p": float(logits.softmax(0).max())} if classes else {}
    beside = {"id": query.id, "run": it.run.id, "edit": dict(changed), **says, "computed": now()}  # type: ignore[attr-defined]
    found = {**told, **_looked(it, other, it.project.scores(told["scores"]), report), **beside}
    _keep(it, other, told, found, time.perf_counter() - began, changed)
    return {**found, "found": False}


def _keep(
    it: Opened, question: Question, told: Mapping[str, Any], found: Mapping[str, Any], seconds: float, edit: Mapping[str, Any] | None = None
) -> None:
    with it.project.transaction():
        it.project.note(_name(it.project, it.run.id, told["query"], told["method"], edit), found)
        it.project.record(
            "trace",
            inputs={"run": it.run.id, "dataset": it.run.dataset, "question": question.digest, "scores": told["scores"]},
            settings={"query": told["query"], "method": told["method"], "version": VERSION, **({"edit": dict(edit)} if edit else {})},
            outputs={"similar": found["similar"], "steps": found["steps"]},
            measures={"shared": found["shared"]},
            seconds=seconds,
        )


def kept(project: Project, run: str, query: Described, method: Described) -> dict[str, Any] | None:
    """Return what was found of one prediction beside its scores, or None; whoever deleted a part gets it computed again."""
    found = project.noted(_name(project, run, query, method))
    return found if found and all(project.objects.find(found[name]) for name in ("similar", "steps")) else None


def kept_edited(project: Project, run: str, query: Described, method: Described, edit: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what was found of the changed row, its scores too, or None; `edit` is what `changes` returned."""
    found = project.noted(_name(project, run, query, method, edit))
    return found if found and all(project.objects.find(found[name]) for name in ("scores", "similar", "steps")) else None


def moved(before: Sequence[Any], now: Sequence[Any]) -> tuple[list[str], list[Any]]:
    """Return how each row of a list came to its place ("new", "=", or places up and down: "+2", "-1"), and the rows that left the list."""
    was = {id: place for place, id in enumerate(before)}
    up = [was[id] - place if id in was else None for place, id in enumerate(now)]
    return ["new" if n is None else f"{n:+d}" if n else "=" for n in up], [id for id in before if id not in {*now}]


def rail(values: np.ndarray, side: str, count: int = TOP) -> np.ndarray:
    """Return places of the first rows of a list, strongest first: "proponents" (removal lowers the value), "opponents", "nearest" (most).

    values: (N,). Rows that would move it the other way, or not at all, stand in neither rail.
    """
    order = np.argsort(values if side == "proponents" else -values, kind="stable")[:count]
    if side == "nearest":
        return order[values[order] > -1]  # what no cosine is below: the model was made without the row
    return order[values[order] < 0 if side == "proponents" else values[order] > 0]


def told_first(scores: Scores, side: str, count: int = 10) -> list[dict[str, Any]]:
    """Return id and score of the first rows of a list."""
    at = rail(scores.column(), side, count)
    return [{"id": id, "score": score} for id, score in zip(scores.ids[at].tolist(), scores.column()[at].tolist(), strict=True)]


def _asked(it: Opened, id: str) -> Query:
    """Return the question of what the model says of a row.

    Raises:
        BadInput: there is no such evaluation row.
    """
    from influence.actions._opened import asked

    query, examples = asked("prediction", {"id": id}), it.dataset.evaluation
    logits = it.outputs("evaluation")
    query.oriented(logits, examples)  # refuses an unknown row
    if not examples.classes:
        return query
    return asked("prediction", {"id": id, "class_": examples.classes[int(logits[examples.ids.astype(str) == id][0].argmax())]})


def _looked(it: Opened, question: Question, scores: Scores, report: Report) -> dict[str, Any]:
    """Find what stands beside the scores: rows that look like the one traced, and TracIn's terms."""
    from influence.attribution.tracin import TracIn

    train = it.dataset.train
    terms = TracIn().by_checkpoint(it.trained, train, question, report, it.workspace)[:, :, 0].T
    labels = tuple(f"checkpoint {k} (step {c.step})" for k, c in enumerate(it.trained.checkpoints, 1))
    alike, by = _alike(it, question, report)
    alike[~it.seen] = -1.0  # the least that a cosine can be: these rows take no part
    top = min(TOP, int(it.seen.sum()))
    near = np.argsort(-alike, kind="stable")[:top]
    strong = np.argsort(-np.where(it.seen, np.abs(scores.column()), -1.0), kind="stable")[:top]
    return {
        "similar": it.project.put_scores(Scores(alike[:, None], train.ids, ("alike",), by, False)),
        "steps": it.project.put_scores(Scores(terms, train.ids, labels, "tracin", False)),
        "alike": by,
        "shared": len(np.intersect1d(near, strong)),
        "chance": len(near) * len(strong) / max(1, int(it.seen.sum())),
        "top": top,
        "steps_at": [c.step for c in it.trained.checkpoints],
    }


def _alike(it: Opened, question: Question, report: Report) -> tuple[np.ndarray, str]:
    """Return how alike each training row is to the one traced, (N,), and by what.

    A model without a last hidden layer is asked for gradients: rows on which a step would be most like one towards what it says.
    """
    from influence.attribution.activation_similarity import ActivationSimilarity
    from influence.attribution.gradient_similarity import GradientSimilarity

    train, asked = it.dataset.train, question.examples
    one: Examples = asked.take(asked.ids.astype(str) == question.queries[0].id)  # type: ignore[attr-defined]
    if not ActivationSimilarity().unavailable(it.trained):
        try:
            return ActivationSimilarity().alike(it.trained, train, one, report)[:, 0], HIDDEN
        except BadInput:
            report(Event("similarity", 0, 1, "The last Linear layer is not the end: gradients are compared"))
    return -GradientSimilarity(normalise="cosine")(it.trained, train, question, report, it.workspace).column(), GRADIENTS


def _name(project: Project, run: str, query: Described, method: Described, edit: Mapping[str, Any] | None = None) -> str:
    of = f"{place(project, run, query)}/{short(method)}"
    return f"edited/{of}/{short(dict(edit))}/{VERSION}" if edit else f"trace/{of}/{VERSION}"
