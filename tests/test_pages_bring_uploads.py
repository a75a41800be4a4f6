"""What is uploaded on Bring a model stays as long as somebody needs it: the page on which it is chosen, or a job that reads it."""

from __future__ import annotations

import zipfile

import pytest

from influence import jobs
from influence.store import Project
from influence.ui import modelfiles
from tests import drawing
from tests.drawing import Draw, drawn, press, text, work

no_worker, empty, shown = drawing.no_worker, drawing.empty, drawing.shown

BAD, OTHER = b"no weights", b"no weights either"


def kept(project: Project) -> list[str]:
    return sorted(path.name for path in (project.path / "uploads" / "models").glob("*/*"))


def upload(at, name: str, content: bytes):
    at.file_uploader(key="bring.model.file").set_value((name, content, "application/octet-stream"))
    return drawn(at)


@pytest.fixture
def page(empty, shown: Draw):
    """The page with a bundled set for the data and bytes for the model that are refused."""
    at = shown(empty, "bring")
    at.segmented_control(key="bring.kind").set_value("table")
    return upload(drawn(at), "bad.pt", BAD)


def refused(project: Project, at) -> jobs.Job:
    press(at, "Check and bring")
    job = work(project)
    assert job.state == "failed"
    assert job.error in text(drawn(at)).replace("\\", "") or job.error in at.error[0].value.replace("\\", "")
    return job


def test_a_refused_model_may_be_tried_again_with_other_settings_and_goes_with_the_next(page, empty):
    first = refused(empty, page)
    assert kept(empty) == ["bad.pt"]
    page.text_input(key="bring.settings").set_value("activation=relu")
    again = refused(empty, drawn(page))
    assert (again.args["path"], again.args["set"]) == (first.args["path"], {"activation": "relu"})
    upload(page, "other.pt", OTHER)
    assert kept(empty) == ["bad.pt", "other.pt"], "the refusal on the page may be started again"
    refused(empty, page)
    assert kept(empty) == ["other.pt"]


def test_what_nobody_needs_goes_when_the_page_is_opened_anew(page, empty, shown):
    job = refused(empty, page)
    assert kept(drawing_of(shown, empty, job=job.id)) == ["bad.pt"], "it can be started again"
    assert kept(drawing_of(shown, empty)) == []


def test_what_a_waiting_job_reads_stays(page, empty, shown):
    press(page, "Check and bring")
    assert kept(drawing_of(shown, empty)) == ["bad.pt"]
    upload(page, "other.pt", OTHER)
    assert kept(empty) == ["bad.pt", "other.pt"]
    assert work(empty).args["path"].endswith("bad.pt")


def test_what_somebody_else_had_removed_is_there_before_the_job_is(page, empty, shown, monkeypatch):
    drawing_of(shown, empty)
    assert kept(empty) == []
    seen = []
    submit = jobs.submit
    monkeypatch.setattr(jobs, "submit", lambda *given: (seen.append(kept(empty)), submit(*given))[1])
    press(page, "Check and bring")
    assert seen == [["bad.pt"]]


def test_nothing_but_uploads_of_models_is_removed(page, empty, shown, tmp_path):
    table = empty.path / "uploads" / "0123456789abcdef" / "t.csv"
    table.parent.mkdir(parents=True)
    table.write_text("a,b\n1,2\n")
    half = empty.path / "uploads" / "models" / ".somebody else writes"
    half.mkdir()
    drawing_of(shown, empty)
    assert table.is_file()
    assert half.is_dir()


def test_arrays_may_not_be_what_was_kept_as_a_model(tmp_path):
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/record.json", "{}")
    assert modelfiles.keep(tmp_path / "kept", "m.zip", path.read_bytes()).name == "m"
    with pytest.raises(modelfiles.BadInput, match="are no arrays"):
        modelfiles.keep(tmp_path / "kept", "m.zip", path.read_bytes(), arrays=True)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "../../etc", "none"])
def test_a_name_that_is_none_is_a_sentence(empty, shown, tmp_path, monkeypatch, name):
    monkeypatch.setenv("INFLUENCE_DATA_ROOTS", str(tmp_path))
    at = shown(empty, "bring")
    at.segmented_control(key="bring.model.way").set_value("Path")
    drawn(at).text_input(key="bring.model.path").set_value(name)
    assert "is nothing inside" in drawn(at).error[0].value


def drawing_of(shown: Draw, project: Project, **params: str) -> Project:
    """Somebody opens the page with nothing chosen."""
    shown(project, "bring", **params)
    return project
