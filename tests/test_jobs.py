"""Jobs with real worker processes: done, failed, cancelled, lost, restarted; and what a page reads of them meanwhile."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from influence import jobs
from influence.errors import BadInput
from influence.jobs import process, queue, worker
from influence.store import Project
from influence.store.catalogue import job
from influence.types import Event

ROOT = Path(__file__).resolve().parents[1]

ACTIONS = '''
import os, time
from influence.errors import BadInput
from influence.types import Event

def perform(name, project, args, report):
    return globals()[name](project, report, **args)

def add(project, report, a, b):
    """Measures something at each of five steps."""
    for step in range(5):
        report(Event("count", step, 5, "counting", {"loss": 1 / (step + 1), "gap": float("nan")}))
    project.note("added", a + b)
    return {"sum": a + b, "pid": os.getpid(), "nice": os.nice(0)}

def refuse(project, report):
    raise BadInput("Got nothing; something is needed. Give it.")

def crash(project, report):
    return {}["no\\nsuch key"]

def unprintable(project, report):
    return {"an object": object()}

def wait(project, report, seconds=60, name=""):
    for step in range(int(seconds * 50)):
        time.sleep(0.02)
        report(Event("wait", step, int(seconds * 50)))
    return {}

def ignore(project, report):
    report(Event("deaf", 0, 1, metrics={"loss": 1.0}))
    time.sleep(60)

def half(project, report):
    """Is killed in the middle of a transaction."""
    with project.transaction():
        project.note("half", 1)
        project.record("half")
        (project.path / "inside").touch()
        time.sleep(60)

def swallow(project, report):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            report(Event("stubborn", 0, 1))
        except Exception:
            pass
        time.sleep(0.01)
'''


@pytest.fixture(scope="module", autouse=True)
def stub(tmp_path_factory):
    """Workers perform the actions above."""
    folder = tmp_path_factory.mktemp("stub")
    (folder / "stub_actions.py").write_text(ACTIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "ACTIONS", "stub_actions")
        patch.setenv("PYTHONPATH", str(folder))
        yield


def ended(project: Project) -> None:
    pid = process.holder(project.path)
    if pid:
        process.kill(project.path, pid)
    for child in process._started:
        if child.pid == pid:
            child.wait(5)


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A project whose worker lives."""
    project = Project(tmp_path_factory.mktemp("warm") / "p")
    jobs.wake(project)
    until(lambda: process.holder(project.path))
    yield project
    ended(project)


@pytest.fixture
def project(tmp_path):
    """A project without a worker."""
    project = Project(tmp_path / "p")
    yield project
    ended(project)


def until(true: Callable[[], object], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def over(project: Project, id: str) -> jobs.Job:
    until(lambda: jobs.get(project, id).over)
    return jobs.get(project, id)


def running(project: Project, id: str) -> jobs.Job:
    until(lambda: jobs.get(project, id).done or jobs.get(project, id).stage in ("deaf", "stubborn"))
    return jobs.get(project, id)


def test_a_job_is_done_and_its_metrics_stay(warm):
    began = time.time()
    id = jobs.submit(warm, "add", {"b": 2, "a": 1})
    until(lambda: jobs.get(warm, id).state != "queued", 1.0)
    done = over(warm, id)
    assert (done.state, done.action, done.args, done.error) == ("done", "add", {"a": 1, "b": 2}, "")
    assert done.result is not None
    assert (done.result["sum"], warm.noted("added")) == (3, 3)
    assert done.result["pid"] == done.pid == process.holder(warm.path) != os.getpid()
    assert done.result["nice"] == os.nice(0) + 10
    assert began <= done.created <= done.started <= done.ended <= time.time()
    assert 0 <= done.seconds < 5
    table = jobs.metrics(warm, id)
    assert table.columns.tolist() == ["step", "stage", "name", "value", "seconds"]
    loss = table[table["name"] == "loss"]
    assert loss["value"].tolist() == [1 / (step + 1) for step in range(5)]
    assert loss["step"].tolist() == list(range(5))
    assert table.loc[table["name"] == "gap", "value"].isna().all()
    assert (done.stage, done.done, done.total, done.note) == ("count", 4, 5, "counting")
    assert jobs.metrics(warm, "no such job").dtypes.equals(table.dtypes)


def test_bad_input_is_a_sentence(warm):
    failed = over(warm, jobs.submit(warm, "refuse", {}))
    assert (failed.state, failed.error, failed.result) == ("failed", "Got nothing; something is needed. Give it.", None)
    assert not (warm.path / "logs" / f"{failed.id}.log").exists()


@pytest.mark.parametrize(("action", "what"), [("crash", "KeyError: 'no\\nsuch key'"), ("unprintable", "TypeError: object is no JSON")])
def test_a_fault_is_a_sentence_and_a_log(warm, action, what):
    failed = over(warm, jobs.submit(warm, action, {}))
    log = warm.path / "logs" / f"{failed.id}.log"
    assert failed.state == "failed"
    assert failed.error == f"The work stopped unexpectedly: {what}. The log is in {log}."
    assert log.read_text().startswith("Traceback")
    assert jobs.submit(warm, action, {}) != failed.id  # what failed can be asked again


def test_work_that_listens_is_cancelled_within_two_seconds(warm):
    id = jobs.submit(warm, "wait", {})
    seen = running(warm, id)
    assert seen.state == "running"
    until(lambda: jobs.get(warm, id).done > 20)
    eta = jobs.get(warm, id).eta
    assert eta is not None
    assert 40 < eta < 120  # 60 s of sleep, and overhead
    began = time.monotonic()
    jobs.cancel(warm, id)
    assert over(warm, id).state == "cancelled"
    assert time.monotonic() - began < 2
    assert process.holder(warm.path) == seen.pid  # the worker stays warm
    jobs.cancel(warm, id)
    assert jobs.get(warm, id).state == "cancelled"


def test_work_stands_still_while_it_is_paused_and_the_pause_is_not_counted(warm):
    id = jobs.submit(warm, "wait", {"seconds": 1.0, "name": "paused"})
    running(warm, id)
    jobs.pause(warm, id)
    jobs.pause(Project(warm.path), id)  # a second browser: one pause all the same
    time.sleep(0.3)
    still = jobs.get(warm, id)
    assert (still.state, still.over, still.eta) == ("running", False, None)
    assert still.paused is not None
    time.sleep(1.2)
    assert jobs.get(warm, id).done == still.done < 50
    assert jobs.get(warm, id).seconds == still.seconds
    jobs.resume(warm, id)
    assert jobs.get(warm, id).paused is None
    done = over(warm, id)
    assert (done.state, done.done) == ("done", 49)
    assert done.waited > 1.4
    assert done.seconds == pytest.approx(done.ended - done.started - done.waited)
    jobs.pause(warm, id)
    assert jobs.get(warm, id).paused is None  # what is over cannot stand still


def test_a_paused_job_is_cancelled_as_fast_as_any_and_waits_no_more(warm):
    id = jobs.submit(warm, "wait", {"name": "paused, cancelled"})
    pid = running(warm, id).pid
    jobs.pause(warm, id)
    time.sleep(0.3)
    began = time.monotonic()
    jobs.cancel(warm, id)
    ended_one = over(warm, id)
    assert time.monotonic() - began < 1.5  # it listened: the worker was not ended
    assert (ended_one.state, ended_one.paused) == ("cancelled", None)
    assert process.holder(warm.path) == pid


def test_a_measure_made_after_a_pause_tells_seconds_without_it(project, monkeypatch):
    monkeypatch.setattr(process, "start", lambda folder: None)
    id = queue.submit(project, "wait", {})
    task = worker.Task(project, worker.claim(project))
    task._stood = 100.0
    task._note(Event("wait", 1, 2, metrics={"loss": 1.0}))
    task.write()
    assert jobs.metrics(project, id)["seconds"].iloc[0] == pytest.approx(-100, abs=2)


def test_the_same_question_is_one_job(warm):
    first = jobs.submit(warm, "wait", {"seconds": 30, "name": "a"})
    assert jobs.submit(warm, "wait", {"name": "a", "seconds": 30}) == first
    other = jobs.submit(warm, "wait", {"seconds": 30, "name": "b"})
    assert other != first
    assert jobs.submit(Project(warm.path), "wait", {"seconds": 30, "name": "b"}) == other
    running(warm, first)
    assert jobs.get(warm, other).state == "queued"
    assert [found.id for found in jobs.listed(warm, 2)] == [other, first]
    jobs.cancel(warm, other)
    assert jobs.get(warm, other).state == "cancelled"
    jobs.cancel(warm, first)
    again = jobs.submit(warm, "wait", {"seconds": 30, "name": "a"})
    assert again != first  # what is being cancelled answers nobody
    jobs.cancel(warm, again)
    over(warm, first)
    assert over(warm, again).state == "cancelled"


def test_unknown_jobs_are_refused(warm):
    for ask in (jobs.get, jobs.cancel, jobs.pause, jobs.resume, jobs.restart):
        with pytest.raises(BadInput, match="no job"):
            ask(warm, "nonsense")


@pytest.mark.parametrize("action", ["ignore", "swallow"])
def test_work_that_does_not_listen_is_ended_and_the_next_job_runs(project, action):
    id = jobs.submit(project, action, {})
    running(project, id)
    following = jobs.submit(project, "add", {"a": 1, "b": 1})
    began = time.monotonic()
    jobs.cancel(project, id)
    assert over(project, id).state == "cancelled"
    assert time.monotonic() - began < 2.5
    assert over(project, following).state == "done"


def test_a_catalogue_that_is_busy_when_work_ends_does_not_lose_it(project, monkeypatch):
    monkeypatch.setattr(process, "start", lambda folder: None)
    id = jobs.submit(project, "add", {"a": 1, "b": 1})
    finish, refused = queue.finish, []

    def busy(*args, **rest):
        if len(refused) < 3:
            refused.append(args)
            raise OperationalError("UPDATE job", {}, Exception("database is locked"))
        return finish(*args, **rest)

    monkeypatch.setattr(queue, "finish", busy)
    monkeypatch.syspath_prepend(os.environ["PYTHONPATH"])
    worker.Worker(project, importlib.import_module("stub_actions"), None)._work(worker.claim(project))  # type: ignore[arg-type]
    assert len(refused) == 3
    assert jobs.get(project, id).state == "done"


def test_a_worker_killed_in_a_transaction_leaves_nothing_of_it(project):
    id = jobs.submit(project, "half", {})
    until((project.path / "inside").exists)
    pid = jobs.get(project, id).pid
    assert pid == process.holder(project.path)
    os.kill(pid, signal.SIGKILL)
    assert over(project, id).state == "lost"
    assert (project.noted("half"), project.records(), project.check()) == (None, [], [])
    project.note("half", "the catalogue takes writes again")


def test_a_killed_worker_is_noticed_and_its_job_started_again(project):
    id = jobs.submit(project, "wait", {"seconds": 0.5})
    pid = running(project, id).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: process.holder(project.path) is None)
    lost = jobs.listed(project)[0]
    assert (lost.id, lost.state) == (id, "lost")
    assert lost.error.endswith("Start the job again.")
    again = jobs.restart(project, id)
    done = over(project, again)
    assert (done.state, done.action, done.args) == ("done", "wait", {"seconds": 0.5})
    assert done.pid != pid
    assert jobs.get(project, id).state == "lost"


def test_a_silent_worker_is_lost_and_replaced_and_one_that_speaks_again_is_found(project, monkeypatch):
    monkeypatch.setattr(queue, "STALE", 1.0)
    id = jobs.submit(project, "wait", {})
    pid = running(project, id).pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    until(lambda: jobs.get(project, id).state == "lost")
    os.kill(pid, signal.SIGCONT)
    until(lambda: jobs.get(project, id).state == "running")
    assert jobs.get(project, id).error == ""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: jobs.get(project, id).state == "lost")
    assert over(project, jobs.submit(project, "add", {"a": 2, "b": 2})).state == "done"
    assert process.holder(project.path) != pid


def test_submitters_in_many_processes_have_one_worker(project):
    code = """
    import sys
    from influence import jobs
    from influence.jobs import process
    from influence.store import Project
    process.ACTIONS = "stub_actions"
    project = Project(sys.argv[1])
    print(*[jobs.submit(project, "add", {"a": i, "b": 0}) for i in range(3)])
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])}
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), str(project.path)]
    started = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    ids = {id for asked in started for id in asked.communicate()[0].split()}
    found = [over(project, id) for id in ids]
    assert {done.state for done in found} == {"done"}
    assert len({done.pid for done in found}) == 1
    with project.catalogue.read() as connection:
        spans = sorted((row.started, row.ended) for row in connection.execute(job.select()))
    assert all(before[1] <= after[0] for before, after in pairwise(spans))  # one at a time


def by_hand(project: Project, idle: float) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "influence.jobs.worker",
        "--project",
        str(project.path),
        "--actions",
        "stub_actions",
        "--idle",
        str(idle),
    ]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])})


def test_an_idle_worker_ends(project):
    first = by_hand(project, 0.5)
    until(lambda: process.holder(project.path) == first.pid)
    assert first.wait(10) == 0
    assert process.holder(project.path) is None


def test_a_second_worker_gives_way(warm):
    living = process.holder(warm.path)
    assert by_hand(warm, 60).wait(10) == 0
    assert living
    assert process.holder(warm.path) == living


def test_a_worker_whose_project_was_deleted_ends(project):
    worker = by_hand(project, 60)
    until(lambda: process.holder(project.path) == worker.pid)
    assert over(project, jobs.submit(project, "add", {"a": 0, "b": 0})).pid == worker.pid
    project.close()
    try:
        shutil.rmtree(project.path, ignore_errors=True)
        worker.wait(10)
    finally:
        worker.kill()
        project.path.mkdir(exist_ok=True)


def test_clients_load_no_torch():
    code = "import sys, influence.jobs; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == "False"
