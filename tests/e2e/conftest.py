"""Servers and browsers of the browser tests: each test has windows of its own, in which nothing may go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from influence.actions import perform
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
    """A server on a project with one small model."""
    folder = tmp_path_factory.mktemp("trained") / "project"
    args = {"data": "bundled:loans", "data_set": {"n": 1500}, "name": "small loans", "set": {"epochs": 2}}
    perform("train", Project(folder), args, lambda event: None)
    with serve(folder) as running:
        yield running


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
