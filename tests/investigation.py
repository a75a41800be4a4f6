"""A real small project with every kind of run, and what tests of the pages from Audit to Report ask of a page."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import influence.actions
from influence import jobs
from influence.actions import perform
from influence.actions.attribute import kept as kept_scores
from influence.jobs import process, worker
from influence.registry import attribution, described, queries
from influence.store import Project
from influence.types import Selection
from influence.ui import asking

ROOT = Path(__file__).parents[1]
PAGES = ("audit", "influence", "trace", "suspects", "plan", "compare", "report")


@pytest.fixture(scope="module", autouse=True)
def no_worker():
    """Nothing is started beside the tests; jobs are worked on here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "start", lambda folder: None)
        yield


def done(project: Project, action: str = "", args: dict | None = None) -> dict:
    """Ask for an action as a page does (or take the one that a page asked for), work on it as a worker does, and return the result."""
    id = jobs.submit(project, action, args or {}) if action else jobs.listed(project, 1)[0].id
    while not jobs.get(project, id).over:  # what a page asked for before, such as the places of its map, comes first
        worker.Worker(project, influence.actions, None)._work(worker.claim(project))  # type: ignore[arg-type]
    job = jobs.get(project, id)
    assert job.state == "done", job.error
    return job.result


def table(classes: int, folder: Path) -> dict:
    """Arguments to train on a table with text ids, two group columns with missing values and a tiny group, and awkward names."""
    rng = np.random.default_rng(classes)
    n = 420
    x = rng.normal(size=(n, 3))
    side = rng.choice(np.array(["left_1", "right*2*", None], dtype=object), n, p=[0.5, 0.4, 0.1])
    side[:3] = "tiny"
    score = x @ [1.0, -2.0, 0.5] + np.where(side == "left_1", 1.0, 0.2) * rng.normal(size=n)
    goal = score * 1000 if classes == 0 else pd.qcut(score, classes, labels=[f"c{i}" for i in range(classes)]).astype(str)
    frame = pd.DataFrame(
        {
            "a": x[:, 0], "score": x[:, 1], "c": x[:, 2], "side": side, "age": rng.integers(18, 80, n), "goal": goal,
            "key": [f"row {i}, old" for i in range(n)],
        }
    )  # fmt: skip
    path = folder / f"table{classes}.csv"
    frame.to_csv(path, index=False)
    given = {"data": str(path), "target": "goal", "id": "key", "protected": ["side"], "audit": ["age"]}
    return {**given, "set": {"epochs": 4}, "name": f"table of {classes}"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project and its runs by what is special about them; a copy for each file, of one that is trained once."""
    once, own = tmp_path_factory.getbasetemp() / "investigation_once", tmp_path_factory.mktemp("investigation") / "p"
    runs = trained_once(once)
    shutil.copytree(once / "p", own)
    return Project(own), dict(runs)


@cache
def trained_once(folder: Path) -> dict[str, str]:
    """Train every kind of run in a project in the folder and return them by name."""
    folder.mkdir()
    project = Project(folder / "p")
    runs = {
        "numeric": perform("train", project, table(0, folder))["run"],
        "classes": perform("train", project, table(4, folder))["run"],
        "groupless": perform("train", project, {"data": "bundled:digits", "set": {"epochs": 1}})["run"],
    }
    loans = {"data": "bundled:loans", "data_set": {"n": 1500}, "set": {"epochs": 5, "batch_size": 64}}
    runs["loans"] = run = perform("train", project, loans)["run"]
    perform("prepare", project, {"run": run, "group": "group"})
    ids = list(project.dataset(project.run(run).dataset).planted)[:20]
    unlearned = perform("unlearn", project, {"run": run, "ids": ids, "method": "finetune", "set": {"epochs": 1}})
    runs |= {"unlearned": unlearned["run"], "retrained": unlearned["retrained"]}
    perform("compare", project, {"run": runs["unlearned"], "group": "group"})
    return runs


@pytest.fixture(autouse=True)
def here(made, monkeypatch):
    monkeypatch.setenv("INFLUENCE_PROJECT", str(made[0].path))
    made[0].choose(Selection(()))


def opened(page: str, **address: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "influence" / "ui" / "main.py"), default_timeout=120)
    for name, value in address.items():
        at.query_params[name] = value
    at.switch_page(str(ROOT / "pages" / f"{page}.py"))
    return ran(at.run())


def ran(at: AppTest) -> AppTest:
    assert not at.exception, at.exception[0].value
    return at


def said(at: AppTest) -> str:
    """All text of the page, as written."""
    kinds = ("markdown", "caption", "info", "warning", "error", "success", "subheader", "title")
    return "\n".join(str(e.value) for kind in kinds for e in at.get(kind)).replace("\\", "")


def by_key(elements, key: str):
    return next(e for e in elements if e.key == key)


def shown(at: AppTest, *columns: str) -> pd.DataFrame:
    """The first table on the page that has these columns."""
    return next(e.value for e in at.dataframe if set(columns) <= set(e.value.columns))


def choose(at: AppTest, method: str, kind: str = asking.OTHERS) -> AppTest:
    """Choose a method of a kind on the page."""
    ran(at.segmented_control(key="influence.kind").set_value(kind).run())
    return ran(by_key(at.selectbox, f"influence.method.{kind}").set_value(method).run())


def asked(project: Project, run: str, query: str = "equal_opportunity_gap") -> tuple[AppTest, str]:
    """The page with the scores of a question that was asked on it, and their digest."""
    at = choose(opened("influence", run=run, query=query), "random")
    if any(b.key == "influence.score" for b in at.button):  # else they were scored before, and are found again
        ran(by_key(at.button, "influence.score").click().run())
        done(project)
        ran(at.run())
    group = next(iter(project.run(run).body["groups"]), "")
    made = queries.make(query, {"group": group} if "gap" in query else {})
    return at, kept_scores(project, run, described(made), described(attribution.make("random")))["scores"]
