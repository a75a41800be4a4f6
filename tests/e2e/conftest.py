"""Servers and browsers of the browser tests: each test has windows of its own, in which nothing may go wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from influence import jobs
from influence.store import Project
from scripts.drive import Server, Window, chromium, serve, window

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chrome():
    with chromium() as started:
        yield started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A fresh server on an empty project."""
    with serve(tmp_path / "project") as running:
        yield running


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on a project in which a worker has trained one small model."""
    with serve(tmp_path_factory.mktemp("trained") / "project") as running:
        project = Project(running.project)
        args = {"data": "bundled:loans", "data_set": {"n": 1500}, "name": "small loans", "set": {"epochs": 2}}
        id = jobs.submit(project, "train", args)
        yield await_job(project, id) and running


def await_job(project: Project, id: str, seconds: float = 60.0) -> jobs.Job:
    """Return the job when it is over."""
    end = time.monotonic() + seconds
    while not (job := jobs.get(project, id)).over:
        assert time.monotonic() < end, f"job {id} is still {job.state} after {seconds} s"
        time.sleep(0.05)
    return job


@pytest.fixture
def opened(chrome) -> Iterator[Callable[[Server], Window]]:
    """Opens windows, each in a browser context of its own; in none may anything have gone wrong when the test ends."""
    with ExitStack() as stack:
        windows: list[Window] = []

        def open_one(server: Server) -> Window:
            windows.append(stack.enter_context(window(chrome, server.url)))
            return windows[-1]

        yield open_one
        for each in windows:
            each.check()
