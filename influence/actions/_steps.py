"""The states that unlearning went through, kept so that one of them can be taken as the result.

Of an approximate method each look of the live curves keeps the weights, as an object of the project. They come from the weights of the
model that is to forget, and saw the removed rows only through them, as the result did: each is an approximately unlearned model of its own,
claim L1. A retraining's are none: on the way it is a model that has not learnt yet. The note `steps/<run>` lists what is kept; the run and
its record do not speak of it, so that it can be dropped at any time. Until there is a run, the note `keeping` lists it, by job: a state is
listed before it is written, so that what a killed job leaves is found and dropped (`sweep`).
"""

from __future__ import annotations

import fcntl
import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from influence.actions._aside import Aside
from influence.loop import Bound
from influence.store import Project
from influence.store.formats import state_bytes
from influence.store.ledger import digests
from influence.types import Event, Report, State
from influence.workspace import LOCKS

PREFIX = "steps/"
KEEPING = "keeping"
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
        self._job = secrets.token_hex(8)
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
        written = state_bytes(state)
        digest = hashlib.sha256(written).hexdigest()
        if self.entries and self.entries[-1]["digest"] == digest:
            return  # it stands still
        self._list([*(each["digest"] for each in self.entries), digest])
        self.project.objects.put("safetensors", [written])
        at = {"step": event.done, "of": event.total, "seconds": worked}
        self.entries.append({**at, "digest": digest, "metrics": dict(event.metrics), "place": place})
        if len(self.entries) > most:
            self._stride *= 2
            self._drop([each for each in self.entries if each["place"] % self._stride])

    def _list(self, kept: list[str]) -> None:
        with self.project.transaction():
            others = {job: its for job, its in (self.project.noted(KEEPING) or {}).items() if job != self._job}
            self.project.note(KEEPING, others | ({self._job: kept} if kept else {}))

    def _drop(self, gone: list[dict[str, Any]]) -> None:
        self.entries = [each for each in self.entries if each not in gone]
        with self.project.transaction():
            self._list([each["digest"] for each in self.entries])
            discard(self.project, [each["digest"] for each in gone])

    def end(self) -> None:
        """Drop all that was kept but what a run's note lists by now."""
        self._drop(self.entries)

    def notes(self, run: str, final: str) -> dict[str, Any]:
        """Return the note of what was kept on the way to a run whose weights are `final`, by its name."""
        kept = [{k: v for k, v in each.items() if k != "place"} for each in self.entries if each["digest"] != final]
        return {note(run): kept} if kept else {}


@contextmanager
def keeping(project: Project, look: Callable[[Bound], dict[str, float]], report: Report, wanted: bool = True) -> Iterator[Kept]:
    """Watch a method, after whatever killed jobs left is dropped; what was kept goes at the end, too, unless a run's note lists it.

    Yields:
        What watches.
    """
    sweep(project)
    with _lock(project, fcntl.LOCK_SH):
        steps = Kept(project, look, report, wanted)
        try:
            yield steps
        finally:
            steps.end()


def sweep(project: Project) -> int:
    """Drop what killed jobs kept, and return how many states it was; nothing while any job is at work that keeps states."""
    if not project.noted(KEEPING):
        return 0
    with _lock(project, fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
        if not alone:
            return 0
        with project.transaction():  # what is listed is deleted before the list is
            left = list(digests(project.noted(KEEPING)))
            project.note(KEEPING, {})
            return discard(project, left)


@contextmanager
def _lock(project: Project, kind: int) -> Iterator[bool]:
    """Hold the lock that jobs share while they keep states, for as long as the process lives at most.

    Yields:
        Whether it is held: alone it can't be had while a job is at work.
    """
    path = project.path / "work" / LOCKS / "steps"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, kind)
        except BlockingIOError:
            yield False
        else:
            yield True


def note(run: str) -> str:
    """Return the name under which a run's states are kept."""
    return f"{PREFIX}{run}"


def held(project: Project, run: str) -> list[dict[str, Any]]:
    """Return the states kept of a run, in order: `step`, `of`, `seconds`, `digest`, `metrics`."""
    return [each for each in project.noted(note(run)) or [] if project.objects.find(each["digest"]) is not None]


def size(project: Project, run: str) -> int:
    """Return how many bytes the states kept of a run take."""
    paths = {project.objects.find(each["digest"]) for each in held(project, run)}
    return sum(path.stat().st_size for path in paths if path is not None)


def drop(project: Project, run: str) -> int:
    """Drop the states kept of a run, and return how many there were."""
    with project.transaction():
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


def discard(project: Project, gone: list[str]) -> int:
    """Delete objects, but those that a run, a record, the steps of a run or a job at work name; return how many."""
    if not gone:
        return 0
    with project.transaction():  # no run can come to name one between the look and the deletion
        named = set(digests([run.body.get("checkpoints") for run in project.runs()]))
        named |= set(digests([record.body.get("outputs") for record in project.records()]))
        named |= set(digests([list(project.notes(PREFIX).values()), project.noted(KEEPING) or {}]))
        for digest in set(gone) - named:
            project.objects.drop(digest)
    return len(set(gone) - named)
