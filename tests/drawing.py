"""Pages drawn as Streamlit draws them, on small projects, and what tests ask of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from influence import actions, jobs
from influence.actions import perform
from influence.jobs import process, worker
from influence.store import Project
from influence.types import Selection
from influence.ui import site

MAIN = Path(__file__).parents[1] / "influence/ui/main.py"
SMALL = {"data": "bundled:loans", "data_set": {"n": 1500}, "set": {"epochs": 4, "batch_size": 64}}
PAGES = sorted(path.stem for path in site.PAGES.glob("*.py"))
Draw = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def no_worker(monkeypatch):
    """Jobs are queued by the pages, and done here by `work`: no process is started."""
    monkeypatch.setattr(process, "start", lambda folder: None)
    monkeypatch.delenv("INFLUENCE_DEMO", raising=False)


@pytest.fixture
def empty(tmp_path) -> Project:
    return Project(tmp_path / "empty")


@pytest.fixture
def fresh(tmp_path_factory, tmp_path) -> Project:
    """A project with one small model and 40 rows selected."""
    return choose_rows(Project(shutil.copytree(trained_once(tmp_path_factory.getbasetemp()), tmp_path / "fresh")))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Project:
    """As `fresh`; tests do not change it."""
    return choose_rows(Project(shutil.copytree(trained_once(tmp_path_factory.getbasetemp()), tmp_path_factory.mktemp("trained") / "p")))


@cache
def trained_once(folder: Path) -> Path:
    """Train the small model of `fresh` in a project in the folder; tests have copies of it."""
    perform("train", Project(folder / "drawn_once"), SMALL)
    return folder / "drawn_once"


def choose_rows(project: Project, n: int = 40) -> Project:
    run = project.run()
    ids = project.dataset(run.dataset).train.ids[:n].tolist()
    project.choose(Selection(tuple(ids), reason={"rule": "first", "words": f"the first {n} rows", "dataset": run.dataset}))
    return project


@pytest.fixture
def shown(monkeypatch) -> Iterator[Draw]:
    """Draws a page of a project."""

    def draw(project: Project, page: str = "start", **params: str) -> AppTest:
        monkeypatch.setenv("INFLUENCE_PROJECT", str(project.path))
        at = AppTest.from_file(str(MAIN), default_timeout=60)
        for name, value in params.items():
            at.query_params[name] = value
        if page != "start":
            at.switch_page(str(site.PAGES / f"{page}.py"))
        return drawn(at)

    yield draw
    st.cache_resource.clear()


def drawn(at: AppTest) -> AppTest:
    at.run()
    assert not at.exception, at.exception
    return at


def to(at: AppTest, page: str) -> AppTest:
    at.switch_page(str(site.PAGES / f"{page}.py"))
    return drawn(at)


def text(at: AppTest) -> str:
    kinds = (at.title, at.markdown, at.caption, at.info, at.warning, at.error, at.success, at.subheader)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\\", "")


def address(at: AppTest, name: str) -> str:
    return "".join(at.query_params.get(name, ""))


def press(at: AppTest, label: str) -> AppTest:
    next(b for b in at.main.button if b.label == label).click()
    return drawn(at)


def links(at: AppTest) -> dict[str, str]:
    return {link.proto.label: link.proto.page for link in at.main.get("page_link")}


def claim(project: Project) -> worker.Task:
    claimed = worker.claim(project)
    assert claimed is not None
    return worker.Task(project, claimed)


def work(project: Project) -> jobs.Job:
    """Do the job that waits longest, as a worker does."""
    claimed = worker.claim(project)
    assert claimed is not None
    with process.hold(project.path) as lock:  # type: ignore[union-attr]
        worker.Worker(project, actions, lock)._work(claimed)
    return jobs.get(project, claimed.id)
