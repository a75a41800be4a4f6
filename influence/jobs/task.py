"""One job in the worker's hands: what it tells is written down, and it stops or stands still when somebody asks for it."""

from __future__ import annotations

import threading
import time
from typing import Any

from sqlalchemy import select, update

from influence.errors import Cancelled
from influence.jobs import queue
from influence.jobs.job import Job
from influence.store import Project
from influence.store.catalogue import happened, job
from influence.types import Event

BEAT = 0.5  # seconds between signs of life


class Task:
    """One job being worked on: hears its events, and writes them down when told."""

    def __init__(self, project: Project, claimed: Job) -> None:
        self.project, self.job = project, claimed
        self.cancelled = threading.Event()
        self.going = threading.Event()
        self.going.set()
        self._hearing, self._writing = threading.Lock(), threading.Lock()
        self._progress: dict[str, Any] = {}
        self._stage = ""
        self._staged = self._heard = time.time()
        self._written = self._stood = 0.0
        self._metrics: list[dict[str, Any]] = []

    def hear(self, event: Event) -> None:
        """Take note of an event; costs no more than a few assignments. Stands still while the job is paused.

        Raises:
            Cancelled: somebody asked to stop.
        """
        if self.cancelled.is_set():
            raise Cancelled
        self._note(event)
        if not self.going.is_set():
            self._stand_still()

    def _note(self, event: Event) -> None:
        now = time.time()
        with self._hearing:
            self._heard = now
            if event.stage != self._stage:
                self._stage, self._staged = event.stage, now
            place = {"stage": event.stage, "done": int(event.done), "total": int(event.total), "note": event.note}
            self._progress = {**place, "staged": self._staged, "reported": now}
            same = {
                "job": self.job.id,
                "step": int(event.done),
                "stage": event.stage,
                "seconds": now - (self.job.started or now) - self._stood,
            }
            self._metrics += [{**same, "name": name, "value": float(value)} for name, value in event.metrics.items()]

    def _stand_still(self) -> None:
        """Wait until the job may go on.

        Raises:
            Cancelled: it may not.
        """
        began = time.time()
        self.going.wait()
        stood = time.time() - began
        with self._hearing:
            self._stood += stood
            self._staged += stood  # or the pause would slow the stage down
        if self.cancelled.is_set():
            raise Cancelled

    def write(self) -> None:
        """Beat the heart, and write down what was heard since the last time."""
        with self._writing:
            now = time.time()
            if self._heard < self._written and now - self._written < BEAT:
                return
            with self._hearing:
                progress, metrics = self._progress, list(self._metrics)
            mine = (job.c.id == self.job.id, job.c.state.in_(("running", "lost")))  # a silence can have been taken for death
            with self.project.catalogue.write() as connection:
                connection.execute(update(job).where(*mine).values(state="running", error="", ended=None, heartbeat=now, **progress))
                if metrics:
                    connection.execute(happened.insert(), metrics)
            with self._hearing:
                del self._metrics[: len(metrics)]
            self._written = now

    def since_cancel(self) -> float:
        """Return for how many seconds the job has been meant to stop; 0 if it is not."""
        with self.project.catalogue.read() as connection:
            asked = connection.execute(select(job.c.cancelled).where(job.c.id == self.job.id)).scalar()
        return 0.0 if asked is None else time.time() - asked

    def listen(self) -> float:
        """See whether the job is to stand still or go on; return for how many seconds it has been meant to stop, as `since_cancel`."""
        since = self.since_cancel()
        with self.project.catalogue.read() as connection:
            still = connection.execute(select(queue.PAUSED).where(job.c.id == self.job.id)).scalar() is not None
        if since:
            self.cancelled.set()
        if still and not since:
            self.going.clear()
        else:
            self.going.set()  # after `cancelled`: what stands still looks at it first
        return since
