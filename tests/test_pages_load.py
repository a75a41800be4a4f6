"""The page Load: what can be trained is, and what cannot is one sentence that leaves form and project as they were."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from influence import jobs
from influence.store import Project
from influence.ui import texts
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
    press(at, "Check")
    assert "Everything fits" in text(at)
    assert not jobs.listed(empty)
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
    assert "'age' holds no dates" in text(at)


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
        ({"Target": "y", "ID column": "sex"}, "ids"),
        ({"Target": "y", "Leave out": ["age", "sex"]}, "No column is left as an input"),
    ],
)
def test_bad_choices_are_one_sentence_and_the_form_stays(empty, shown, fields, sentence):
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
    assert len(at.error) == 1, [e.value for e in at.error]
    assert len(at.error[0].value) > 30
    assert not jobs.listed(empty)
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
