"""Preprocessing that was stated is used as it is: exactly what was fitted if that is what is stated, and refused where it cannot be."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from influence.actions import perform
from influence.data.stated import read_encoding, stated
from influence.data.tabular import prepare
from influence.errors import BadInput
from influence.store import Project


def table(n: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({
        "age": rng.integers(18, 80, n), "pay": np.where(rng.random(n) < 0.2, np.nan, rng.normal(30, 9, n)),
        "work": rng.choice(["state", "private", None], n), "size": rng.choice(["low", "medium", "high"], n), "flag": rng.choice([0, 1], n),
        "day": rng.choice(pd.date_range("2020-01-01", periods=50).strftime("%Y-%m-%d"), n), "sex": rng.choice(["f", "m"], n),
        "grade": rng.choice(["low", "mid", "high"], n), "price": rng.normal(100, 20, n),
    })  # fmt: skip


GIVEN = {"target": "grade", "protected": ["sex"], "drop": ["price"], "kinds": {"day": "date", "size": "ordered"}}


def test_what_was_fitted_makes_the_same_inputs_when_it_is_stated():
    fitted = prepare(table(), **GIVEN)
    kinds = {entry["kind"] for entry in fitted.encoding["columns"]}
    assert kinds == {"numeric", "category", "ordered", "flag", "date"}
    again = prepare(table(), **GIVEN, encoding=stated(json.loads(json.dumps(fitted.encoding))))
    for role in ("train", "evaluation", "holdout"):
        np.testing.assert_array_equal(again.split(role).x, fitted.split(role).x)
        np.testing.assert_array_equal(again.split(role).y, fitted.split(role).y)
    assert "brought, not fitted" in again.notes
    assert "brought, not fitted" not in fitted.notes
    assert again.digest != fitted.digest


def test_a_numeric_target_keeps_its_mean_and_sd_and_few_whole_numbers_stay_numbers():
    rows = table().assign(price=np.arange(120) % 7)
    encoding = stated({"columns": [{"name": "age", "kind": "numeric"}], "target": {"name": "price", "kind": "number", "mean": 3, "sd": 2}})
    made = prepare(rows, target="price", encoding=encoding)
    assert made.train.classes == ()
    np.testing.assert_allclose(made.train.y, (made.train.columns["price"] - 3) / 2)
    np.testing.assert_array_equal(made.train.x[:, 0], made.train.columns["age"])


def test_classes_keep_the_order_that_is_stated():
    goal = {"name": "grade", "kind": "classes", "classes": ["mid", "low", "high"]}
    made = prepare(table(), target="grade", encoding=stated({**wrong(), "target": goal}))
    assert made.train.classes == ("mid", "low", "high")
    assert [made.train.classes[y] for y in made.train.y] == made.train.columns["grade"].tolist()


def test_missing_cells_and_unknown_levels():
    told = {"name": "work", "kind": "category", "levels": ["state"], "other": True, "missing": True}
    encoding = stated({"columns": [told, {"name": "pay", "kind": "numeric", "mean": 30, "sd": 10, "median": 20, "missing": True}]})
    made = prepare(table(), target="grade", encoding=encoding).train
    work, pay = made.columns["work"], made.columns["pay"]
    expected = np.stack([work == "state", work == "private", work.isna(), (pay.fillna(20) - 30) / 10, pay.isna()], axis=1)
    np.testing.assert_allclose(made.x, expected.astype(np.float32))


def wrong(**change):
    return {"columns": [{"name": "age", "kind": "numeric", **change}]}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([], "needs"), ({"columns": {}}, "needs"), ({"kind": "image", "columns": []}, "needs"), ({"columns": []}, "no column"),
        ({"columns": [3]}, "needs a name"), (wrong(name=""), "needs a name"), (wrong(kind="number"), "must be one of numeric"),
        (wrong(std=3), "'std', which is not known"), (wrong(mean=True), "`mean` of 'age'"), (wrong(mean="3"), "`mean` of 'age'"),
        (wrong(mean=float("inf")), "`mean` of 'age'"), (wrong(sd=-1), "`sd` of 'age'"), (wrong(sd=0), "sd of 'age' is 0"),
        (wrong(missing=1), "true or false"), (wrong(kind="category"), "`levels` of 'age' in the preprocessing is missing"),
        (wrong(kind="category", levels=["a", "a"]), "different texts"), (wrong(kind="category", levels=[1, 2]), "different texts"),
        (wrong(kind="category", levels=[]), "different texts"), (wrong(kind="ordered"), "`levels`"),
        (wrong(kind="date", format="%c", first="2020-01-01"), "`format`"), (wrong(kind="date", format="", first="soon"), "`first`"),
        ({"columns": [{"name": "age", "kind": "numeric"}] * 2}, "'age' twice"), ({**wrong(), "code": "x"}, "'code', which is not known"),
        ({**wrong(), "features": ["years"]}, "`features`"), ({**wrong(), "target": 3}, "`target`"),
        ({**wrong(), "target": {"name": "t", "kind": "classes", "classes": ["a"]}}, "2 to 100"),
        ({**wrong(), "target": {"name": "t", "kind": "number", "mean": 0, "sd": 0}}, "sd of the target"),
        ({**wrong(), "target": {"name": "t", "kind": "number", "mean": 0}}, "`sd` of 't'"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_name(told, said):
    with pytest.raises(BadInput, match=said):
        stated(told)


@pytest.mark.parametrize(
    ("encoding", "given", "said"),
    [
        (wrong(name="years"), {}, "needs the column 'years'"),
        (wrong(name="grade", kind="category", levels=["mid"]), {}, "chosen as target"),
        (wrong(), {"audit": ["age"]}, "chosen as audit"), (wrong(), {"drop": ["age"]}, "chosen as dropped"),
        (wrong(name="work"), {}, "No cell of 'work' is a number"), (wrong(sd=1e-300), {}, "far too small"),
        (wrong(name="work", kind="category", levels=["x"]), {}, "No cell of 'work' is one of x"),
        ({**wrong(), "target": {"name": "price", "kind": "number", "mean": 0, "sd": 1}}, {}, "for the target 'price'"),
        ({**wrong(), "target": {"name": "grade", "kind": "classes", "classes": ["low", "mid"]}}, {}, "none of the model's classes"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_table_is_refused(encoding, given, said):
    with pytest.raises(BadInput, match=said):
        prepare(table(), target="grade", **given, encoding=stated(encoding))


def test_files_that_are_none_are_refused_and_a_bundled_set_brings_its_own(tmp_path):
    for text in ("", "[", "nothing", '{"columns": [NaN]}', "[" * 100_000):
        (tmp_path / "e.json").write_text(text)
        with pytest.raises(BadInput, match=r"no JSON|needs"):
            read_encoding(tmp_path / "e.json")
    with pytest.raises(BadInput, match="does not exist"):
        read_encoding(tmp_path / "none.json")
    (tmp_path / "e.json").write_text(json.dumps(wrong()))
    project = Project(tmp_path / "p")
    with pytest.raises(BadInput, match="bring their own"):
        perform("train", project, {"data": "bundled:breast_cancer", "preprocessing": str(tmp_path / "e.json"), "set": {"epochs": 1}})
    assert project.runs() == []


def test_unlearning_from_brought_preprocessing_claims_no_more_than_it_knows(tmp_path):
    table(200).to_parquet(tmp_path / "t.parquet")
    (tmp_path / "e.json").write_text(json.dumps(wrong(mean=45, sd=20)))
    project = Project(tmp_path / "p")
    given = {"data": str(tmp_path / "t.parquet"), "target": "grade", "preprocessing": str(tmp_path / "e.json"), "set": {"epochs": 1}}
    run = perform("train", project, given)["run"]
    data = project.dataset(project.run(run).dataset)
    assert data.encoding["features"] == ["age"]
    assert "work (not in the preprocessing)" in data.notes
    made = perform("unlearn", project, {"ids": data.train.ids[:3].tolist(), "method": "retrain"})
    assert made["claim"] == "L1"
    assert "Preprocessing brought" in made["claim_note"]
