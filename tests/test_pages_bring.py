"""The page on which a model from elsewhere is brought: by path and by upload, with every check and a way on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import influence.actions
from influence import jobs
from influence.jobs import process, worker
from influence.store import Project
from tests.test_exchange import outside

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("brought")
    outside(place)
    return place


@pytest.fixture(autouse=True)
def project(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("INFLUENCE_PROJECT", str(tmp_path / "p"))
    monkeypatch.setenv("INFLUENCE_DATA_ROOTS", str(folder))
    monkeypatch.setattr(process, "start", lambda folder: None)
    return Project(tmp_path / "p")


def opened() -> AppTest:
    at = AppTest.from_file(str(ROOT / "influence" / "ui" / "main.py"), default_timeout=120)
    at.switch_page(str(ROOT / "pages" / "bring.py"))
    return ran(at.run())


def ran(at: AppTest) -> AppTest:
    assert not at.exception, at.exception[0].value
    return at


def said(at: AppTest) -> str:
    return "\n".join(str(e.value) for kind in ("markdown", "caption", "success", "error", "info") for e in at.get(kind)).replace("\\", "")


def by_path(at: AppTest, model: str, data: str = "data") -> AppTest:
    for key in ("model", "data"):
        ran(at.segmented_control(key=f"bring.{key}.way").set_value("Path").run())
    ran(at.text_input(key="bring.model.path").set_value(model).run())
    return ran(at.text_input(key="bring.data.path").set_value(data).run())


def worked(project: Project) -> jobs.Job:
    worker.Worker(project, influence.actions, None)._work(worker.claim(project))  # type: ignore[arg-type]
    return jobs.listed(project, 1)[0]


def test_the_page_says_how_and_waits_for_both():
    at = opened()
    assert any("influence.Recorder(model, optimizer, ids)" in code.value for code in at.code)
    assert "Choose the model's files and its data to go on." in said(at)
    assert not [b for b in at.button if b.key == "bring.start"]


def test_a_model_is_brought_by_path_and_every_check_is_told(project):
    at = by_path(opened(), "model")
    ran(at.number_input(key="bring.accuracy").set_value(0.2).run())
    ran(at.button(key="bring.start").click().run())
    job = worked(project)
    assert job.state == "done", job.error
    ran(at.run())
    at.query_params["job"] = job.id
    text = said(ran(at.run()))
    assert "is in the project" in text
    assert "**1 check to look at**" in text
    assert "Right as often as known" in text
    assert "stated was 20.0%" in text
    assert project.run(job.result["run"]).kind == "import"


def test_settings_that_weights_do_not_tell_are_given(project):
    at = by_path(opened(), "model")
    at = ran(at.text_input(key="bring.settings").set_value("relu").run())
    assert "Settings are NAME=VALUE" in said(at)
    ran(at.text_input(key="bring.settings").set_value("activation=gelu dropout=0.2").run())
    ran(at.button(key="bring.start").click().run())
    assert jobs.listed(project, 1)[0].args["set"] == {"activation": "gelu", "dropout": "0.2"}


def test_a_damaged_table_is_a_sentence(folder):
    (folder / "cut.csv").write_text("a,b\n" + "1,2\n" * 300 + "1,2,3\n")
    at = opened()
    ran(at.segmented_control(key="bring.kind").set_value("table").run())
    at.query_params["source"] = "Path"
    ran(at.run())
    at = ran(at.selectbox(key="load.path.path").set_value("cut.csv").run())
    assert "has 3 cells" in said(at)


def test_what_is_outside_the_open_folders_is_not_found(folder):
    at = opened()
    ran(at.segmented_control(key="bring.model.way").set_value("Path").run())
    at = ran(at.text_input(key="bring.model.path").set_value("../../etc").run())
    assert "is nothing inside" in said(at)


def test_what_cannot_be_brought_is_said_and_nothing_is_kept(project, folder):
    shutil.rmtree(folder / "other", ignore_errors=True)
    shutil.copytree(folder / "model", folder / "other")
    (folder / "other" / "course.npz").write_bytes(b"")
    at = by_path(opened(), "other")
    ran(at.button(key="bring.start").click().run())
    assert worked(project).state == "failed"
    assert "'course.npz' is no zip archive, or damaged" in said(ran(at.run()))
    assert not project.runs()
