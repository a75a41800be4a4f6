"""What is uploaded on Bring a model stays as long as somebody needs it: for an hour after a page showed it, and while a job may read it."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from influence import jobs
from influence.data.arrays import save_data
from influence.errors import BadInput
from influence.store import Project
from influence.ui import modelfiles, uploaded
from tests import drawing
from tests.drawing import Draw, drawn, press, text, work

no_worker, empty, shown = drawing.no_worker, drawing.empty, drawing.shown

BAD, OTHER = b"no weights", b"no weights either"


def kept(project: Project) -> list[str]:
    return sorted(path.name for path in (project.path / "uploads" / "models").glob("*/*"))


def age(project: Project, name: str = "*") -> None:
    """Let more than an hour pass since a page showed these uploads."""
    for path in (project.path / "uploads" / "models").glob(f"*/{name}"):
        put_back(path.parent)


def put_back(place: Path) -> None:
    then = time.time() - uploaded.HOUR - 60
    os.utime(place, (then, then))


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


def test_a_refused_model_may_be_tried_again_with_other_settings_and_goes_some_time_after_the_next(page, empty):
    first = refused(empty, page)
    assert kept(empty) == ["bad.pt"]
    page.text_input(key="bring.settings").set_value("activation=relu")
    again = refused(empty, drawn(page))
    assert (again.args["path"], again.args["set"]) == (first.args["path"], {"activation": "relu"})
    age(empty)
    upload(page, "other.pt", OTHER)
    assert kept(empty) == ["bad.pt", "other.pt"], "the refusal on the page may be started again"
    refused(empty, page)
    age(empty, "bad.pt")
    drawn(page)
    assert kept(empty) == ["other.pt"]


def test_what_no_page_showed_for_an_hour_goes_when_one_is_opened(page, empty, shown):
    job = refused(empty, page)
    assert kept(drawing_of(shown, empty)) == ["bad.pt"], "somebody else may be about to use it"
    age(empty)
    assert kept(drawing_of(shown, empty, job=job.id)) == ["bad.pt"], "it can be started again"
    assert kept(drawing_of(shown, empty)) == ["bad.pt"], "and that page showed it now"
    age(empty)
    assert kept(drawing_of(shown, empty)) == []


def test_a_page_that_is_drawn_keeps_what_is_chosen_on_it_and_hashes_it_once(page, empty, shown, monkeypatch):
    age(empty)
    monkeypatch.setattr(hashlib, "sha256", lambda *given: pytest.fail("it was hashed again"))
    monkeypatch.setattr(modelfiles, "tidy", lambda needed: None)
    drawn(page)  # and is at work yet when
    monkeypatch.undo()
    monkeypatch.setenv("INFLUENCE_PROJECT", str(empty.path))
    assert kept(drawing_of(shown, empty)) == ["bad.pt"], "somebody else opens theirs"


def test_a_refused_model_that_is_gone_is_to_be_uploaded_again(page, empty, shown):
    job = refused(empty, page)
    assert "upload it again" not in text(page)
    age(empty)
    drawing_of(shown, empty)
    at = shown(empty, "bring", job=job.id)
    assert "bad.pt is no longer on this server" in text(at)
    upload(at, "bad.pt", BAD)
    assert "no longer" not in text(at)
    assert Path(job.args["path"]).is_file()


def test_a_disk_does_not_fill_and_what_a_page_shows_stays(empty, shown, tmp_path, monkeypatch):
    save_data(tmp_path / "arrays", np.eye(40, 3, dtype=np.float32), np.arange(40) % 2, test=np.arange(40) < 10)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for file in (tmp_path / "arrays").iterdir():
            archive.write(file, f"arrays/{file.name}")
    at = upload(shown(empty, "bring"), "older.pt", OTHER)
    upload(at, "bad.pt", BAD)
    at.file_uploader(key="bring.data.file").set_value(("arrays.zip", data.getvalue(), "application/zip"))
    drawn(at)
    held = [path.name for path in (empty.path / "uploads" / "models").glob("*/*")]
    assert sorted(held) == ["arrays", "bad.pt", "older.pt"]
    monkeypatch.setattr(modelfiles, "MOST", 0)
    assert kept(at and drawn(at) and empty) == ["arrays", "bad.pt"]


def test_those_not_shown_for_longest_go_first(empty, shown, monkeypatch):
    monkeypatch.setenv("INFLUENCE_MAX_MB", "1")
    monkeypatch.setattr(modelfiles, "MOST", 2)
    folder = empty.path / "uploads" / "models"
    for at, name in enumerate(("one", "two", "three")):
        path = modelfiles.keep(folder, name, bytes([at]) * 900_000)
        os.utime(path.parent, (time.time() - 10 + at,) * 2)
    assert kept(drawing_of(shown, empty)) == ["three", "two"]


def test_what_a_waiting_job_reads_stays(page, empty, shown, monkeypatch):
    press(page, "Check and bring")
    age(empty)
    monkeypatch.setattr(modelfiles, "MOST", 0)
    assert kept(drawing_of(shown, empty)) == ["bad.pt"]
    upload(page, "other.pt", OTHER)
    age(empty, "bad.pt")
    assert kept(drawn(page) and empty) == ["bad.pt", "other.pt"]
    assert work(empty).args["path"].endswith("bad.pt")


def test_what_is_asked_for_while_somebody_tidies_stays(page, empty, shown, monkeypatch):
    """Jobs were listed, and this one is not among them; what it reads is old, and shown at this moment."""
    age(empty)
    monkeypatch.setattr(modelfiles, "_size", lambda place: uploaded.touched(place) and 0)
    assert kept(drawing_of(shown, empty)) == ["bad.pt"]


def test_what_somebody_else_had_removed_is_there_before_the_job_is(page, empty, shown, monkeypatch):
    age(empty)
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
    put_back(table.parent)
    put_back(half)
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


def test_the_same_file_may_be_kept_twice_at_once(tmp_path):
    def brought_by_somebody_else(file: Path) -> None:
        uploaded.keep(tmp_path, "b.pt", BAD, lambda file: None)

    assert uploaded.keep(tmp_path, "a.pt", BAD, brought_by_somebody_else).name == "b.pt"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_removed_while_it_is_kept_is_written_again_or_told(tmp_path, monkeypatch):
    path = modelfiles.keep(tmp_path, "a.pt", BAD)
    path.unlink()
    assert modelfiles.keep(tmp_path, "a.pt", BAD).read_bytes() == BAD, "its folder was empty"
    shutil.rmtree(path.parent)
    monkeypatch.setattr(os, "replace", lambda half, place: None)
    with pytest.raises(BadInput, match="Upload it again"):
        modelfiles.keep(tmp_path, "a.pt", BAD)


def test_an_upload_shown_at_the_moment_it_is_removed_stays(tmp_path):
    place = modelfiles.keep(tmp_path, "a.pt", BAD).parent
    uploaded.remove(place, place.stat().st_mtime - 1)
    assert (place / "a.pt").read_bytes() == BAD
    uploaded.remove(place, place.stat().st_mtime)
    uploaded.remove(place, 0.0)  # somebody else did
    assert not list(tmp_path.iterdir())


def test_what_a_server_left_that_was_ended_while_it_wrote_goes_with_the_next_upload(tmp_path):
    left, now = tmp_path / ".0123456789ab", tmp_path / ".ba9876543210"
    for half in (left, now):
        half.mkdir()
    put_back(left)
    modelfiles.keep(tmp_path, "a.pt", BAD)
    assert (left.exists(), now.exists()) == (False, True)


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
