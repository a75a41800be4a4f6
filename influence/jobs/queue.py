"""Ask for work, watch it, stop it. Every process that opens the project may; none of these compute."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

import pandas as pd
from sqlalchemy import ColumnElement, Connection, Row, func, select, update

from influence.errors import BadInput
from influence.jobs import process
from influence.jobs.job import Job, State, from_row
from influence.store import Project
from influence.store.catalogue import happened, job
from influence.store.catalogue import pause as pauses
from influence.store.formats import canonical

STALE = 10.0  # seconds without a sign of life after which a job counts as lost
DEAF = 3.0  # seconds after which a worker whose watchdog did not see to a cancel is ended from here
GONE = "The process that worked on it ended before the work did: it was stopped, or ran out of memory. Start the job again."
SILENT = f"The process that works on it has given no sign of life for {STALE:.0f} seconds. Start the job again."

_OF_JOB = pauses.c.job == job.c.id
PAUSED = select(func.max(pauses.c.began)).where(_OF_JOB, pauses.c.ended.is_(None)).scalar_subquery().label("paused")
WAITED = select(func.coalesce(func.sum(pauses.c.ended - pauses.c.began), 0.0)).where(_OF_JOB).scalar_subquery().label("waited")
FACTS = select(job, PAUSED, WAITED)
"""All that is known of jobs: their rows, since when each stands still, and the seconds of its pauses that are over."""


def submit(project: Project, action: str, args: Mapping[str, Any]) -> str:
    """Ask for an action, and return the job's id; the same question while it waits or runs is the same job."""
    _sweep(project)
    text = canonical(args)
    same = select(job.c.id).where(
        job.c.action == action, job.c.args == text, job.c.state.in_(("queued", "running")), job.c.cancelled.is_(None)
    )
    with project.catalogue.write() as connection:
        id = connection.execute(same).scalar()
        if id is None:
            id = secrets.token_hex(6)
            connection.execute(job.insert().values(id=id, action=action, args=text, state="queued", created=time.time()))
    wake(project)
    return str(id)


def get(project: Project, id: str) -> Job:
    """Return a job.

    Raises:
        BadInput: there is no such job.
    """
    _sweep(project)
    with project.catalogue.read() as connection:
        row = connection.execute(FACTS.where(job.c.id == id)).first()
    if row is None:
        raise BadInput(f"There is no job {id!r} in this project. Choose one from the list of jobs.")
    return from_row(row)


def listed(project: Project, limit: int = 20) -> list[Job]:
    """Return the newest jobs, newest first."""
    _sweep(project)
    with project.catalogue.read() as connection:
        return [from_row(row) for row in connection.execute(FACTS.order_by(job.c.seq.desc()).limit(limit))]


def cancel(project: Project, id: str) -> None:
    """Stop a job: at once if it waits, within two seconds if it runs; one that is over stays as it is.

    Raises:
        BadInput: there is no such job.
    """
    get(project, id)
    with project.catalogue.write() as connection:
        connection.execute(update(job).where(job.c.id == id, job.c.state == "queued").values(state="cancelled", ended=time.time()))
        running = (job.c.id == id, job.c.state == "running", job.c.cancelled.is_(None))
        connection.execute(update(job).where(*running).values(cancelled=time.time()))


def pause(project: Project, id: str) -> None:
    """Let a job that runs stand still at its next report; it keeps its worker, so that others wait, too. Any other stays as it is.

    It stands still until `resume` or `cancel`, whoever looks meanwhile: a reload, another browser, a restarted app.

    Raises:
        BadInput: there is no such job.
    """
    get(project, id)
    with project.catalogue.write() as connection:
        at = connection.execute(FACTS.where(job.c.id == id)).one()
        if at.state == "running" and at.paused is None and at.cancelled is None:
            connection.execute(pauses.insert().values(job=id, began=time.time()))


def resume(project: Project, id: str) -> None:
    """Let a job that stands still go on.

    Raises:
        BadInput: there is no such job.
    """
    get(project, id)
    with project.catalogue.write() as connection:
        _go_on(connection, id)


def _go_on(connection: Connection, id: str) -> None:
    connection.execute(update(pauses).where(pauses.c.job == id, pauses.c.ended.is_(None)).values(ended=time.time()))


def restart(project: Project, id: str) -> str:
    """Ask for the same again, and return the new job's id.

    Raises:
        BadInput: there is no such job.
    """
    old = get(project, id)
    return submit(project, old.action, old.args)


def metrics(project: Project, id: str) -> pd.DataFrame:
    """Return what a job measured while it ran: step (in its stage), stage, name, value, seconds (since it began)."""
    table = happened.c
    wanted = select(table.step, table.stage, table.name, table.value, table.seconds).where(table.job == id).order_by(table.seq)
    with project.catalogue.read() as connection:
        rows = connection.execute(wanted).all()
    frame = pd.DataFrame(rows, columns=["step", "stage", "name", "value", "seconds"])
    return frame.astype({"step": "int64", "stage": "str", "name": "str", "value": "float64", "seconds": "float64"})


def wake(project: Project) -> None:
    """See to it that a worker lives: a page calls it ahead of the first job, so that PyTorch is loaded by then."""
    pid = process.holder(project.path)
    if pid:
        with project.catalogue.read() as connection:
            stuck = connection.execute(select(job.c.id).where(job.c.state == "lost", job.c.pid == pid)).first()
        if stuck:  # it holds the lock, but gives no sign of life
            process.kill(project.path, pid)
    process.start(project.path)


def finish(
    project: Project, id: str, state: State, error: str = "", result: str | None = None, only_if: ColumnElement[bool] | None = None
) -> bool:
    """Say how a job ended, unless that was said already; return whether it was not."""
    values = {"state": state, "ended": time.time(), "error": error, "result": result}
    open_ones = [job.c.id == id, job.c.state.in_(("running", "lost"))]
    with project.catalogue.write() as connection:
        done = connection.execute(update(job).where(*open_ones, *([] if only_if is None else [only_if])).values(**values))
        if done.rowcount and error != SILENT:  # a worker that was asleep with its machine may live, and then stands still as before
            _go_on(connection, id)
    return done.rowcount > 0


def _sweep(project: Project) -> None:
    """Notice workers that died, and start one where work waits."""
    with project.catalogue.read() as connection:
        rows = connection.execute(select(job).where(job.c.state.in_(("queued", "running")))).all()
    if not rows:
        return
    pid = process.holder(project.path)
    for row in rows:
        if row.state == "running":
            _judge(project, row, pid)
    if pid is None and any(row.state == "queued" for row in rows):
        wake(project)


def _judge(project: Project, row: Row[Any], pid: int | None) -> None:
    unchanged = job.c.heartbeat == row.heartbeat
    if row.pid != pid:
        finish(project, row.id, *(("cancelled", "") if row.cancelled else ("lost", GONE)), only_if=unchanged)
    elif row.cancelled and time.time() - row.cancelled > DEAF:
        process.kill(project.path, row.pid)
        finish(project, row.id, "cancelled")
    elif time.time() - row.heartbeat > STALE:
        finish(project, row.id, "lost", SILENT, only_if=unchanged)
