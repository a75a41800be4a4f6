"""The page Load: what can be trained is, and what cannot is one sentence that leaves form and project as they were."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from influence import jobs
from influence.store import Project
from influence.ui import checking, texts, words
from tests import drawing
from tests.drawing import Draw, address, drawn, links, press, text, to, work

no_worker, empty, shown = drawing.no_worker, drawing.empty, drawing.shown


# --- load


CSV = pd.DataFrame({"age": [*range(20, 70)] * 4, "sex": ["a", "b"] * 100, "y": [0, 0, 1, 1] * 50})


def uploaded(shown: Draw, project: Project, name: str = "people.csv", content: bytes | None = None) -> AppTest:
    at = shown(project, "load", source="Upload")
    at.file_uploader[0].set_value((name, CSV.to_csv(index=False).encode() if content is None else content, "text/csv"))
    return drawn(at)


def fill(at: AppTest, label: str, value: Any) -> AppTest:
    kinds = (at.selectbox, at.multiselect, at.number_input, at.slider)
    next(widget for kind in kinds for widget in kind if widget.label == label).set_value(value)
    return drawn(at)


def test_a_bundled_set_is_trained(empty, shown):
    at = shown(empty, "load")
    fill(fill(at, "Rows", 1000), "Epochs", 3)
    press(at, "Train")
    job = jobs.get(empty, address(at, "job"))
    assert job.args["data_set"]["n"] == 1000
    assert job.args["set"]["epochs"] == 3
    assert "batch_size" not in job.args["set"]
    assert work(empty).state == "done"
    drawn(at)
    run = empty.run()
    figures = run.body["metrics"]["intervals"]["accuracy"]
    assert f"Accuracy {figures['value']:.3f} ({figures['low']:.3f} to {figures['high']:.3f}), n = {figures['n']}" in text(at)
    assert address(at, "run") == run.id
    assert links(at)["See its groups on Audit"] == "audit"


def test_the_largest_upload_is_told_with_what_takes_larger_files(empty, shown, monkeypatch):
    monkeypatch.setenv("INFLUENCE_MAX_MB", "350")
    at = shown(empty, "load", source="Upload")
    assert "Up to 350 MB. Larger files are read by *Path*; the server's setting INFLUENCE_MAX_MB raises the limit." in text(at)


def test_an_upload_is_read_checked_and_trained(empty, shown):
    at = uploaded(shown, empty)
    kept = next((empty.path / "uploads").rglob("people.csv"))
    assert kept.read_bytes() == CSV.to_csv(index=False).encode()
    kinds = dict(zip(*(at.dataframe[1].value[name] for name in ("Column", "Kind")), strict=True))
    assert kinds == {"age": "numeric", "sex": "category", "y": "flag"}
    assert "may be protected: age, sex" in text(at)
    fill(fill(at, "Target", "y"), "Protected columns", ["sex"])
    parts = dict(zip(*(at.dataframe[1].value[name] for name in ("Column", "Part")), strict=True))
    assert parts == {"age": "input", "sex": "protected", "y": "target"}
    assert checking.UNKNOWN in text(at)
    press(at, "Check")
    job = work(empty)
    assert (job.action, job.state) == ("check", "done")
    assert not empty.runs()
    drawn(at)
    assert "can be trained" in text(at)
    assert f"Training: {words.about(job.result['costs']['train'])}" in text(at), "the price stands beside the button"
    press(at, "Train")
    job = work(empty)
    assert job.state == "done"
    run = empty.run(job.result["run"])
    assert (run.name, run.body["groups"]) == ("people", ["sex"])
    assert empty.dataset(run.dataset).target == "y"


def test_a_column_is_what_a_person_says_it_is(empty, shown):
    at = uploaded(shown, empty)
    fill(fill(at, "Target", "y"), "Change the kind of", ["age", "sex"])
    fill(fill(at, "Kind of age", "category"), "Kind of sex", "group")
    table = at.dataframe[1].value.set_index("Column")
    assert table.loc["age", ["Part", "Kind", "Note"]].tolist() == ["input", "category", "found: numeric"]
    assert table.loc["sex", ["Part", "Kind"]].tolist() == ["audit", "group"]
    press(at, "Train")
    job = work(empty)
    assert job.args["kinds"] == {"age": "category", "sex": "group"}
    dataset = empty.dataset(empty.run(job.result["run"]).dataset)
    assert dataset.audit == ("sex",)
    assert [entry["kind"] for entry in dataset.encoding["columns"]] == ["category"]
    fill(at, "Kind of age", "date")
    press(at, "Check")
    assert "'age' holds no dates" in work(empty).error
    assert "'age' holds no dates" in text(drawn(at))


BAD = {
    "empty.csv": b"",
    "header.csv": b"a,b\n",
    "pickled.csv": b"\x80\x04K\x01.",
    "noise.parquet": b"\x00\x01" * 50,
    "twice.csv": b"a,a\n1,2\n" * 30,
    "bare.csv": b"1,2,3\n4,5,6\n" * 30,
    "binary.csv": bytes(range(256)) * 20,
    "zipped.csv": b"PK\x03\x04" + b"../../evil.csv" * 20,
    "broken.parquet": b"PAR1" + b"x" * 400 + b"PAR1",
    "ragged.csv": b"a,b\n1,2\n1,2,3,4\n" * 20,
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_sentence_and_leaves_the_project_as_it_was(empty, shown, name):
    at = uploaded(shown, empty, name, BAD[name])
    assert len(at.error) == 1
    assert at.error[0].value.endswith(".")
    assert not (empty.path / "uploads").exists()
    assert [empty.runs(), empty.records(), jobs.listed(empty)] == [[], [], []]
    assert uploaded(shown, empty).selectbox  # and a good one is taken after it


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "No target is chosen"),
        ({"Target": "y", "Protected columns": ["sex"], "ID column": "sex"}, "it can be only one"),
        ({"Target": "y", "Audit columns": ["sex"], "Protected columns": ["sex"]}, "it can be only one"),
    ],
)
def test_bad_choices_are_one_sentence_at_once_and_the_form_stays(empty, shown, fields, sentence):
    at = uploaded(shown, empty)
    for label, value in fields.items():
        fill(at, label, value)
    for button in ("Check", "Train"):
        press(at, button)
        assert len(at.error) == 1
        assert sentence.lower() in at.error[0].value.replace("\\", "").lower()
    assert not jobs.listed(empty)
    for label, value in fields.items():
        assert next(w for kind in (at.selectbox, at.multiselect) for w in kind if w.label == label).value == value


@pytest.mark.parametrize("button", ["Check", "Train"])
@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"Target": "y", "ID column": "sex"}, "ids"),
        ({"Target": "y", "Leave out": ["age", "sex"]}, "No column is left as an input"),
    ],
)
def test_what_reading_shows_to_be_wrong_is_one_sentence_and_the_form_stays(empty, shown, button, fields, sentence):
    at = uploaded(shown, empty)
    for label, value in fields.items():
        fill(at, label, value)
    press(at, button)
    assert work(empty).state == "failed"
    drawn(at)
    assert len(at.error) == 1
    assert sentence.lower() in at.error[0].value.replace("\\", "").lower()
    assert not empty.runs()
    for label, value in fields.items():
        assert next(w for kind in (at.selectbox, at.multiselect) for w in kind if w.label == label).value == value


def column(**changed) -> bytes:
    return CSV.assign(**changed).to_csv(index=False).encode()


UNFIT = {
    "one class": (column(y=1), {"Target": "y"}),
    "empty target": (column(y=None), {"Target": "y"}),
    "text as target": (column(y=[f"a long remark, number {i}" for i in range(len(CSV))]), {"Text column": texts.NONE, "Target": "y"}),
    "date as target": (column(y=pd.date_range("2020-01-01", periods=len(CSV)).astype(str)), {"Target": "y"}),
    "repeated ids": (column(key=1), {"Target": "y", "ID column": "key"}),
    "one group": (column(sex="A"), {"Target": "y", "Protected columns": ["sex"]}),
    "too few rows": (CSV.head(8).to_csv(index=False).encode(), {"Target": "y"}),
    "infinite values": (column(age=[float("inf") if i % 9 == 0 else i for i in range(len(CSV))]), {"Target": "y"}),
}


@pytest.mark.parametrize("name", UNFIT)
def test_data_that_do_not_fit_are_one_sentence_and_the_form_stays(empty, shown, name):
    content, fields = UNFIT[name]
    at = uploaded(shown, empty, "people.csv", content)
    for label, value in fields.items():
        fill(at, label, value)
    press(at, "Check")
    if jobs.listed(empty):
        assert work(empty).state == "failed"
        drawn(at)
    assert len(at.error) == 1, [e.value for e in at.error]
    assert len(at.error[0].value) > 30
    assert [empty.runs(), empty.records()] == [[], []]
    assert next(w for w in at.selectbox if w.label == "Target").value == "y"


def test_the_form_is_kept_when_one_leaves_and_comes_back(empty, shown):
    at = uploaded(shown, empty)
    fill(fill(at, "Target", "y"), "Protected columns", ["sex"])
    fill(at, "Epochs", 5)
    to(at, "start")
    to(at, "load")
    values = {w.label: w.value for kind in (at.selectbox, at.multiselect, at.number_input) for w in kind}
    assert (values["Target"], values["Protected columns"], values["Epochs"]) == ("y", ["sex"], 5)


def test_a_second_browser_finds_the_uploaded_file_by_the_address(empty, shown):
    at = uploaded(shown, empty)
    other = shown(empty, "load", source="Upload", upload=address(at, "upload"))
    assert any(s.label == "Target" for s in other.selectbox)


def test_a_path_is_read_only_inside_open_folders(empty, shown, tmp_path, monkeypatch):
    assert "No folder is open" in text(shown(empty, "load", source="Path"))
    inside, outside = tmp_path / "open", tmp_path / "secret.csv"
    inside.mkdir()
    CSV.to_csv(inside / "people.csv", index=False)
    CSV.to_csv(outside, index=False)
    (inside / "link.csv").symlink_to(outside)
    monkeypatch.setenv("INFLUENCE_DATA_ROOTS", str(inside))
    at = shown(empty, "load", source="Path")
    path = next(s for s in at.selectbox if s.label.startswith("A table, or a folder"))
    assert path.options == ["link.csv", "people.csv"]
    path.set_value("people.csv")
    assert any(s.label == "Target" for s in drawn(at).selectbox)
    next(s for s in at.selectbox if s.label.startswith("A table, or a folder")).set_value("link.csv")
    drawn(at)
    assert "is no file inside an allowed folder" in text(at)
    assert not any(s.label == "Target" for s in at.selectbox)


# --- check


def leaky(**columns: Any) -> bytes:
    """Two hundred rows of which one column is the target in other words."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=400), rng.integers(0, 2, 400)
    return (
        pd.DataFrame({"x": x, "sex": ["a", "b"] * 200, "decided": np.where(y, "granted", "refused"), "y": y, **columns}).to_csv().encode()
    )


def checked(at: AppTest, project: Project) -> jobs.Job:
    press(at, "Check")
    job = work(project)
    assert job.state == "done", job.error
    drawn(at)
    return job


def test_classes_and_groups_stand_first_and_a_leak_is_mended_by_a_button(empty, shown):
    at = uploaded(shown, empty, content=leaky())
    fill(fill(at, "Target", "y"), "Protected columns", ["sex"])
    checked(at, empty)
    sizes = at.dataframe[-1].value
    assert sizes["Column"].tolist() == ["y", "y", "sex", "sex"]
    assert sizes[["Train", "Evaluation", "Holdout"]].to_numpy()[:2].sum() == 400
    assert "The column decided is y in other words" in text(at)
    press(at, "Leave decided out as a leak")
    assert next(w for w in at.selectbox if w.label == "Kind of decided").value == "leak"
    assert "decided is left out now" in text(at)
    assert "found with other choices" in text(at)
    assert checking.UNKNOWN in text(at), "what was checked is not what would be trained"
    again = checked(at, empty)
    assert again.args["kinds"] == {"decided": "leak"}
    assert "other words" not in text(at)
    assert "Left out of the inputs, since they give the target away: decided" in text(at)
    press(at, "Train")
    job = work(empty)
    inputs = empty.dataset(empty.run(job.result["run"]).dataset).encoding["columns"]
    assert "decided" not in {entry["name"] for entry in inputs}


def test_a_check_is_done_once_and_found_again_after_a_reload(empty, shown):
    at = uploaded(shown, empty)
    fill(at, "Target", "y")
    job = checked(at, empty)
    press(at, "Check")
    fill(at, "Epochs", 3)
    fill(at, "Epochs", None)
    assert [other.id for other in jobs.listed(empty)] == [job.id], "neither a second press nor other runs of the page ask again"
    assert "can be trained" in text(at)
    other = shown(empty, "load", source="Upload", upload=address(at, "upload"), job=job.id)
    assert "found with other choices" in text(other), "a reload forgets the form and keeps what was found"
    assert "**people**" in text(other)


def test_a_check_of_a_file_that_changed_since_is_not_shown(empty, shown, tmp_path, monkeypatch):
    monkeypatch.setenv("INFLUENCE_DATA_ROOTS", str(tmp_path))
    CSV.to_csv(tmp_path / "people.csv", index=False)
    at = shown(empty, "load", source="Path")
    next(s for s in at.selectbox if s.label.startswith("A table, or a folder")).set_value("people.csv")
    fill(drawn(at), "Target", "y")
    checked(at, empty)
    assert "can be trained" in text(at)
    later = time.time() + 60
    os.utime(tmp_path / "people.csv", (later, later))
    assert "can be trained" not in text(drawn(at))


def test_the_column_that_says_train_or_test_is_chosen(empty, shown):
    at = uploaded(shown, empty, content=column(part=["train", "test", "dev", "train"] * 50, kind=["train", "bus"] * 100))
    assert next(w for w in at.segmented_control if w.label == "Test rows").value == "split"
    assert next(w for w in at.selectbox if w.label == "Column that says train or test").value == "part"
    assert "says which rows" not in text(at)
    next(w for w in at.segmented_control if w.label == "Test rows").set_value("share")
    assert "part says which rows are train and which test: choose A column" in text(drawn(at)).replace("*", "")


def test_of_several_columns_that_say_train_or_test_none_is_chosen(empty, shown):
    at = uploaded(shown, empty, content=column(part=["train", "test", "dev", "train"] * 50, other=["train", "test"] * 100))
    assert next(w for w in at.segmented_control if w.label == "Test rows").value == "share"
    next(w for w in at.segmented_control if w.label == "Test rows").set_value("split")
    box = next(w for w in drawn(at).selectbox if w.label == "Column that says train or test")
    assert (box.options[:2], box.value) == (["part", "other"], None)


def test_a_table_of_a_database_is_chosen(empty, shown, tmp_path):
    with closing(sqlite3.connect(tmp_path / "t.db")) as database:
        CSV.head(30).to_sql("few", database, index=False)
        CSV.to_sql("people", database, index=False)
    at = uploaded(shown, empty, "t.db", (tmp_path / "t.db").read_bytes())
    fill(fill(at, "Table, one of 2", "people"), "Target", "y")
    assert sum(checked(at, empty).result["n"].values()) == len(CSV)


def test_a_sheet_of_a_workbook_is_chosen(empty, shown, tmp_path):
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        pd.DataFrame({"note": ["see the other sheet"]}).to_excel(book, sheet_name="About", index=False)
        CSV.to_excel(book, sheet_name="People", index=False)
    at = uploaded(shown, empty, "t.xlsx", (tmp_path / "t.xlsx").read_bytes())
    assert next(s for s in at.selectbox if s.label.startswith("Table, one of 2")).options == ["About", "People"]
    fill(at, "Table, one of 2", "People")
    fill(at, "Target", "y")
    job = checked(at, empty)
    assert job.args["sheet"] == "People"
    assert sum(job.result["n"].values()) == len(CSV)
    press(at, "Train")
    run = empty.run(work(empty).result["run"])
    assert sum(run.body["n"].values()) == len(CSV)
