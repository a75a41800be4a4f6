"""The states that unlearning went through, kept so that one of them can be taken as the result.

Of an approximate method each look of the live curves keeps the weights, as an object of the project. They come from the weights of the
model that is to forget, and saw the removed rows only through them, as the result did: each is an approximately unlearned model of its own,
claim L1. A retraining's are none: on the way it is a model that has not learnt yet. The note `steps/<run>` lists what is kept; the run and
its record do not speak of it, so that it can be dropped at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from influence.actions._aside import Aside
from influence.loop import Bound
from influence.store import Project
from influence.store.ledger import digests
from influence.types import Event, Report, State

PREFIX = "steps/"
MOST = 24
"""States kept of a run."""
ROOM = 1024
"""MiB that they may take: of large models fewer are kept, of those above half of it none."""
RUNS = 10
"""Runs, the newest, whose states are kept."""


class Kept:
    """Watches a method at work: keeps a state at each look, at most so many, evenly spread over the way.

    `wanted`: whether any is kept.
    """

    def __init__(self, project: Project, look: Callable[[Bound], dict[str, float]], report: Report, wanted: bool = True) -> None:
        self.project, self._wanted = project, wanted
        self._look, self._report, self.look, self.report = look, report, Aside(self._looked), Aside(self._heard)
        self.entries: list[dict[str, Any]] = []
        self._state: State | None = None
        self._count, self._stride, self._began = 0, 1, time.perf_counter()

    @property
    def worked(self) -> float:
        """Seconds of work so far, without looks and reports."""
        return time.perf_counter() - self._began - self.look.seconds - self.report.seconds

    def _looked(self, bound: Bound) -> dict[str, float]:
        self._state = bound.state() if self._wanted else None
        return self._look(bound)

    def _heard(self, event: Event) -> None:
        state, self._state, worked = self._state, None, self.worked
        if state is not None and event.metrics and 0 < event.done < event.total:
            self._keep(event, state, worked)  # the event says which step it is of
        self._report(event)

    def _keep(self, event: Event, state: State, worked: float) -> None:
        place, self._count = self._count, self._count + 1
        most = min(MOST, ROOM * 2**20 // max(1, sum(value.nbytes for value in state.values())))
        if most < 2 or place % self._stride:
            return
        digest = self.project.put_state(state)
        if self.entries and self.entries[-1]["digest"] == digest:
            return  # it stands still
        at = {"step": event.done, "of": event.total, "seconds": worked}
        self.entries.append({**at, "digest": digest, "metrics": dict(event.metrics), "place": place})
        if len(self.entries) > most:
            self._stride *= 2
            self._drop([each for each in self.entries if each["place"] % self._stride])

    def _drop(self, gone: list[dict[str, Any]]) -> None:
        self.entries = [each for each in self.entries if each not in gone]
        discard(self.project, [each["digest"] for each in gone])

    def end(self) -> None:
        """Drop all that was kept: the work did not come to an end."""
        self._drop(self.entries)

    def notes(self, run: str, final: str) -> dict[str, Any]:
        """Return the note of what was kept on the way to a run whose weights are `final`, by its name."""
        kept = [{k: v for k, v in each.items() if k != "place"} for each in self.entries if each["digest"] != final]
        return {note(run): kept} if kept else {}


def note(run: str) -> str:
    """Return the name under which a run's states are kept."""
    return f"{PREFIX}{run}"


def held(project: Project, run: str) -> list[dict[str, Any]]:
    """Return the states kept of a run, in order: `step`, `of`, `seconds`, `digest`, `metrics`."""
    return [each for each in project.noted(note(run)) or [] if project.objects.find(each["digest"]) is not None]


def drop(project: Project, run: str) -> int:
    """Drop the states kept of a run, and return how many there were."""
    before = held(project, run)
    project.note(note(run), [])
    discard(project, [each["digest"] for each in before])
    return len(before)


def fade(project: Project) -> None:
    """Drop the states of all runs but the newest that have some."""
    kept = {name for name, entries in project.notes(PREFIX).items() if entries}
    having = [run.id for run in project.runs() if note(run.id) in kept]
    for run in having[RUNS:]:
        drop(project, run)


def discard(project: Project, gone: list[str]) -> None:
    """Delete objects, but those that a run, a record or the steps of a run name."""
    if not gone:
        return
    with project.transaction():  # no run can come to name one between the look and the deletion
        named = set(digests([run.body.get("checkpoints") for run in project.runs()]))
        named |= set(digests([record.body.get("outputs") for record in project.records()]))
        named |= set(digests(list(project.notes(PREFIX).values())))
        for digest in set(gone) - named:
            project.objects.drop(digest)
