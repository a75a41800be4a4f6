"""Scores are computed once per run, question and method, and found again. No PyTorch at import: pages look here.

Notes: `asked/<run>/<question as asked>` names the question as the model turns it (its positive class, its groups);
`scores/<run>/<question>/<method>` holds what was found. Questions and methods stand there as digests of their names and settings.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from influence.digest import digest
from influence.errors import BadInput
from influence.registry import attribution, described, queries, settings
from influence.store import Project, Run
from influence.store.catalogue import now
from influence.types import Event, Question, Report
from influence.workspace import Workspace

if TYPE_CHECKING:
    from influence.actions._opened import Opened
    from influence.types import Query, Trained

BEST = ("metagradient", "influence_function", "tracin", "retraining")
"""The method that is asked where none is named: the first of these that is open to the model."""
Described = Mapping[str, Any]
"""Name and settings of a query or a method, as `registry.described` gives them."""


def best(trained: Trained) -> str:
    """Return the method that is asked where none is named."""
    return next(name for name in BEST if not attribution.make(name).unavailable(trained))


def completed(query: str, given: Mapping[str, Any] | None, run: Run | None = None) -> dict[str, Any]:
    """Return a question's settings by the names that it knows; one about groups that names none is of the run's first group column."""
    named = {("class_" if key == "class" else key): value for key, value in (given or {}).items()}
    own = (run.body.get("groups") or [""])[0] if run else ""
    if own and query in queries.classes and any(s.name == "group" for s in settings(queries.classes[query])):
        named.setdefault("group", own)
    return named


def short(of: Described) -> str:
    """Return how a question or a method is named in notes."""
    return digest(dict(of))[:24]


def place(project: Project, run: str, query: Described) -> str:
    """Return the part of a note's name that says which run and which question, however the question was asked."""
    name = f"{run}/{short(query)}"
    return str(project.noted(f"asked/{name}") or name)


def kept(project: Project, run: str, query: Described, method: Described) -> dict[str, Any] | None:
    """Return what `attribute` found for a run, a question and a method, or None; whoever deleted the scores gets them computed again."""
    found = project.noted(f"scores/{place(project, run, query)}/{short(method)}")
    return found if found and project.objects.find(found["scores"]) else None


def every(project: Project, run: str, query: Described) -> list[dict[str, Any]]:
    """Return what was found for a run and a question by all methods so far, oldest first; only what they would be asked again today."""
    notes = project.notes(f"scores/{place(project, run, query)}/").values()
    return sorted((n for n in notes if _current(n["method"]) and project.objects.find(n["scores"])), key=lambda n: n["computed"])


def _current(method: Described) -> bool:
    """Whether a method still has exactly these settings: an older version may have had fewer, or others."""
    try:
        return short(described(attribution.make(method["name"], method["given"]))) == short(method)
    except BadInput:
        return False


def scored(it: Opened, query: Query, scorer: Any, report: Report, again: bool = False) -> tuple[Question, dict[str, Any]]:
    """Return the question and what the method finds: scores that are kept (`found`) or new ones.

    `again`: new ones in any case, from nothing that is kept, so that they can be timed.

    Raises:
        BadInput: the question does not fit the data, or the method is not open to this model.
    """
    reason = scorer.unavailable(it.trained)
    if reason:
        raise BadInput(reason)
    question = it.question([query])
    found = None if again else kept(it.project, it.run.id, described(query), described(scorer))
    return question, {
        **(found or _computed(it, query, question, scorer, report, Workspace() if again else it.workspace)),
        "found": found is not None,
    }


def asked_of(it: Opened, question: Question, scorer: Any, report: Report, workspace: Workspace) -> dict[str, Any]:
    """Return what a method finds for an oriented question of one query, whose scores are kept as an object; nothing is noted or recorded.

    The question's examples may be others than the evaluation rows: a row that was changed.
    """
    stages: set[str] = set()
    told = ""

    def heard(event: Event) -> None:
        nonlocal told
        stages.add(event.stage)
        told = event.note  # of the last event: what a method says of how it went
        report(event)

    began = time.perf_counter()
    scores = scorer(it.trained, it.dataset.train, question, heard, workspace)
    walked = time.perf_counter() - began
    logits = it.answers(question.examples)
    oriented = question.queries[0]
    return {
        "scores": it.project.put_scores(scores),
        "labels": list(scores.labels),
        "measured_label": oriented.measured_label,
        "calibrated": scores.calibrated,
        "better": oriented.better,
        "value": {"value": float(question.value(logits)[0]), "measured": float(question.measured(logits)[0])},
        "replayed": "replay" in stages,
        "told": told,
        "walk_seconds": walked,
        "n": len(scores.ids),
        "run": it.run.id,
        "query": described(oriented),
        "method": described(scorer),
        "computed": now(),
    }


def _computed(it: Opened, query: Query, question: Question, scorer: Any, report: Report, workspace: Workspace) -> dict[str, Any]:
    began = time.perf_counter()
    found = asked_of(it, question, scorer, report, workspace)
    where = f"{it.run.id}/{short(found['query'])}"
    with it.project.transaction():
        for way in {short(described(query)), short(found["query"])}:
            it.project.note(f"asked/{it.run.id}/{way}", where)
        it.project.note(f"scores/{where}/{short(found['method'])}", found)
        it.project.record(
            "attribute",
            inputs={"run": it.run.id, "dataset": it.run.dataset, "question": question.digest},
            settings={"query": found["query"], "method": found["method"]},
            outputs={"scores": found["scores"]},
            measures={"replayed": found["replayed"]},
            seconds=time.perf_counter() - began,
        )
    return found
