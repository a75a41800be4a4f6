"""The process that works: `python -m influence.jobs.worker --project P`. One job at a time, warm between jobs, gone after a while idle."""

from __future__ import annotations

import argparse
import importlib
import os
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import IO

from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from influence.errors import BadInput, Cancelled
from influence.jobs import process, queue
from influence.jobs.job import Job, from_row
from influence.jobs.task import Task
from influence.store import Project
from influence.store.catalogue import job
from influence.store.formats import canonical

TICK = 0.1  # seconds between looks at the queue, and between writes of progress
PATIENCE = 1.5  # seconds that work has to notice a cancel
IDLE = 300.0
BUSY = 600.0  # seconds after which a catalogue that takes no writes is an error


class Worker:
    """Works on a project's queue.

    `actions`: a module with `perform(name, project, args, report)`. `lock`: the file whose lock makes this the project's only worker.
    """

    def __init__(self, project: Project, actions: ModuleType, lock: IO[str], idle: float = IDLE) -> None:
        self.project, self.actions, self.lock, self.idle = project, actions, lock, idle
        self._task: Task | None = None
        self._changing = threading.Lock()

    def run(self) -> None:
        """Work until there has been nothing to do for `idle` seconds, or the project is gone."""
        threading.Thread(target=self._watch, daemon=True).start()
        warm, last = False, time.monotonic()
        while self._at_home() and time.monotonic() - last < self.idle:
            claimed = claim(self.project)
            if claimed is not None:
                self._work(claimed)
                warm, last = True, time.monotonic()
            elif not warm:
                warm_up(self.actions)
                warm, last = True, time.monotonic()
            else:
                time.sleep(TICK)

    def _work(self, claimed: Job) -> None:
        task = self._task = Task(self.project, claimed)
        state, error, result = "failed", "", None
        try:
            result = canonical(self.actions.perform(claimed.action, self.project, dict(claimed.args), task.hear))
            state = "done"
        except Cancelled:
            state = "cancelled"
        except BadInput as refusal:
            error = str(refusal)
        except Exception as fault:
            error = self._logged(claimed.id, fault)
        with self._changing:
            self._task = None
        self._insist(task.write)
        self._insist(lambda: queue.finish(self.project, claimed.id, state, error, result))  # type: ignore[arg-type]

    def _insist(self, write: Callable[[], object]) -> None:
        """Write, again and again while the catalogue is busy for longer than a writer waits: the work is done all the same.

        Raises:
            OperationalError: it is busy for too long.
        """
        end = time.monotonic() + BUSY
        while True:
            try:
                write()
                return
            except OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(TICK)

    def _logged(self, id: str, fault: Exception) -> str:
        path = self.project.path / "logs" / f"{id}.log"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(traceback.format_exception(fault)), encoding="utf-8")
        what = f"{type(fault).__name__}: {' '.join(str(fault).split())[:200]}".rstrip(": .")
        return f"The work stopped unexpectedly: {what}. The log is in {path}."

    def _watch(self) -> None:
        while True:
            time.sleep(TICK)
            task = self._task
            if task is not None:
                with suppress(SQLAlchemyError):  # a busy catalogue: look again
                    self._look(task)

    def _look(self, task: Task) -> None:
        task.write()
        since = task.listen()
        if since > PATIENCE:
            with self._changing:
                if self._task is task:
                    self._end(task)

    def _end(self, task: Task) -> None:
        """End the process with the job that does not stop; nothing of it is half-written, and a new worker takes the next job."""
        queue.finish(self.project, task.job.id, "cancelled")
        with self.project.catalogue.read() as connection:
            waiting = connection.execute(select(job.c.id).where(job.c.state == "queued")).first()
        if waiting:
            self.lock.close()
            process.start(self.project.path)
        os._exit(1)

    def _at_home(self) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self.lock.fileno()), (self.project.path / process.LOCK).stat())
        return False


def claim(project: Project) -> Job | None:
    """Take the job that has waited longest, or None."""
    longest = select(job.c.id).where(job.c.state == "queued").order_by(job.c.seq).limit(1)
    with project.catalogue.read() as connection:  # idle workers look often, and must not keep writers waiting
        if connection.execute(longest).scalar() is None:
            return None
    now = time.time()
    with project.catalogue.write() as connection:
        id = connection.execute(longest).scalar()
        if id is None:
            return None
        begun = {"state": "running", "stage": "start", "pid": os.getpid(), "started": now, "staged": now, "heartbeat": now}
        connection.execute(update(job).where(job.c.id == id).values(**begun))
        return from_row(connection.execute(queue.FACTS.where(job.c.id == id)).one())


def warm_up(actions: ModuleType) -> None:
    """Import what actions need, so that the first job does not wait for it; what cannot be imported says so when it is asked for."""
    for name in getattr(actions, "names", list)():
        with suppress(Exception):
            importlib.import_module(f"{actions.__name__}.{name}")


def main() -> None:
    """Work, if no other process does so already."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--actions", default=process.ACTIONS)
    parser.add_argument("--idle", type=float, default=IDLE, help="seconds without work after which it ends")
    given = parser.parse_args()
    lock = process.hold(given.project)
    if lock is None:
        return
    os.nice(10)
    process.ACTIONS = given.actions
    project = Project(given.project)
    project.objects.sweep()
    Worker(project, importlib.import_module(given.actions), lock, given.idle).run()


if __name__ == "__main__":
    main()
