"""The way out on the pages: models, data and scores are written by jobs and offered, and are those of the run that is shown."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import influence
from influence.actions import perform
from influence.exchange.packed import unpacked
from influence.store import Project
from influence.types import Selection
from tests import hugging, investigation
from tests.investigation import asked, by_key, done, opened, ran, said

made, here, no_worker = investigation.made, investigation.here, investigation.no_worker


def downloads(at) -> list[str]:
    return [e.key for e in at.get("download_button")]


def test_the_report_page_writes_the_unlearned_model_and_its_original(made, tmp_path):
    project, runs = made
    at = opened("report", run=runs["unlearned"])
    assert "leaving.model.file" not in downloads(at)
    ran(by_key(at.selectbox, "leaving.form").set_value("record").run())
    ran(by_key(at.button, "leaving.model").click().run())
    result = done(project)
    assert (result["run"], result["claim"]) == (runs["unlearned"], "L1")
    ran(at.run())
    assert "leaving.model.file" in downloads(at)
    assert influence.load_model(unpacked(Path(result["path"]), tmp_path / "m")).claim == {"level": "L1", "removed": 20}
    which = by_key(at.selectbox, f"leaving.which.{runs['unlearned']}")
    ran(which.set_value(runs["loans"]).run())
    assert "leaving.model.file" not in downloads(at)
    assert "none is selected" in said(at)
    ran(by_key(at.button, "leaving.model").click().run())
    assert done(project)["run"] == runs["loans"]


def test_the_report_page_writes_the_data_with_corrected_labels(made):
    project, runs = made
    train = project.dataset(project.run(runs["loans"]).dataset).train
    first = int(np.flatnonzero(train.y == 0)[0])
    args = {"run": runs["loans"], "ids": [train.ids[first].item()], "labels": [train.classes[1]], "method": "influence_step"}
    at = opened("report", run=perform("unlearn", project, args)["run"])
    assert "with 1 corrected label, and the list of these" in said(at)
    ran(by_key(at.button, "leaving.data").click().run())
    assert done(project)["n_relabelled"] == 1


def test_the_report_page_writes_the_data_that_are_left(made):
    project, runs = made
    at = opened("report", run=runs["unlearned"])
    assert "the list of 20 removed rows" in said(at)
    ran(by_key(at.button, "leaving.data").click().run())
    result = done(project)
    train = project.dataset(project.run(runs["loans"]).dataset).train
    with zipfile.ZipFile(result["path"]) as archive:
        name = next(n for n in archive.namelist() if n.endswith("removed.csv"))
        gone = pd.read_csv(archive.open(name))
        left = pd.read_csv(archive.open(name.replace("removed", "train")))
    assert sorted(gone["id"]) == sorted(project.trained(runs["unlearned"]).removed)
    assert len(left) == len(train) - 20
    ran(at.run())
    assert "leaving.data.file" in downloads(at)
    Path(result["path"]).unlink()
    ran(at.run())
    assert "leaving.data.file" not in downloads(at)
    assert "its file is gone" in said(at)


def test_a_selection_can_be_left_out_before_anything_is_unlearned(made):
    project, runs = made
    ids = project.dataset(project.run(runs["classes"]).dataset).train.ids[:3].tolist()
    project.choose(Selection(tuple(ids), reason={"rule": "by hand", "dataset": project.run(runs["classes"]).dataset}))
    at = opened("report", run=runs["classes"])
    assert "the list of 3 selected rows" in said(at)
    ran(by_key(at.button, "leaving.data").click().run())
    with zipfile.ZipFile(done(project)["path"]) as archive:
        gone = pd.read_csv(archive.open(next(n for n in archive.namelist() if n.endswith("removed.csv"))))
    assert gone["id"].tolist() == ids
    assert set(gone["rule"]) == {"by hand"}


def test_scores_leave_as_they_are_shown(made):
    project, runs = made
    at, digest = asked(project, runs["loans"])
    ran(by_key(at.button, "leaving.scores").click().run())
    result = done(project)
    scores = project.scores(digest)
    table = pd.read_csv(result["path"])
    assert table["id"].tolist() == scores.ids.tolist()
    np.testing.assert_array_equal(table[scores.labels[0]], scores.column())
    ran(at.run())
    assert "leaving.scores.file" in downloads(at)
    ran(at.segmented_control(key="leaving.kind").set_value("parquet").run())
    assert "leaving.scores.file" not in downloads(at)


def test_a_model_of_hugging_face_may_go_out_for_its_library_and_no_other(made, tmp_path, monkeypatch):
    pytest.importorskip("transformers", exc_type=ImportError)
    hugging.write(tmp_path)
    project = Project(tmp_path / "p")
    given = {"path": str(tmp_path / "bert"), "data": str(tmp_path / "rows.parquet"), "target": "label", "data_set": {"text": "text"}}
    run = perform("import_model", project, given)["run"]
    perform(
        "train", project, {"data": str(tmp_path / "rows.parquet"), "target": "label", "data_set": {"text": "text"}, "set": {"epochs": 1}}
    )
    other = project.run().id
    monkeypatch.setenv("INFLUENCE_PROJECT", str(project.path))
    at = opened("report", run=run)
    assert "For the transformers library" in by_key(at.selectbox, "leaving.form").options
    ran(by_key(at.selectbox, "leaving.form").set_value("huggingface").run())
    ran(by_key(at.button, "leaving.model").click().run())
    with zipfile.ZipFile(done(project)["path"]) as archive:
        assert {Path(name).name for name in archive.namelist()} >= {"config.json", "model.safetensors", "tokenizer.json", "README.md"}
    at = opened("report", run=other)
    assert by_key(at.selectbox, "leaving.form").options == ["Weights and model card", "and a graph that PyTorch runs alone",
                                                            "and the training, to be followed elsewhere"]  # fmt: skip
