"""What if a row were another: its cells change, what the model sees of it is made anew, and what no row can be is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from influence.data import edit
from influence.data.edit import cell, changes, edited, fields
from influence.data.tabular import prepare
from influence.data.text.prepare import prepare_texts
from influence.data.text.settings import Reading
from influence.errors import BadInput
from tests.tiny import examples

N = 600


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, N),
            "income": np.where(rng.random(N) < 0.2, np.nan, rng.normal(50, 9, N).round(1)),
            "work": rng.choice(["farm", "shop", "<b>*mine*</b>"], N),
            "grade": rng.integers(1, 4, N),
            "joined": pd.date_range("2019-01-01", periods=N).strftime("%Y-%m-%d"),
            "remote": rng.choice([True, False], N),
            "many": [f"m{k % 120}" for k in range(N)],
            "out": rng.choice(["no", "yes"], N),
        }
    )


@pytest.fixture(scope="module")
def table():
    return prepare(frame(), target="out", kinds={"joined": "date", "grade": "category", "many": "category"}, test_share=0.4)


@pytest.fixture(scope="module")
def texts():
    said = [f"a {'warm' if k % 2 else 'cold'} film seen {k % 9} times" for k in range(N)]
    return prepare_texts(pd.DataFrame({"review": said, "out": ["no", "yes"] * (N // 2)}), target="out", reading=Reading("review"))


def first(data) -> str:
    return str(data.evaluation.ids[0])


def test_the_columns_that_the_model_reads_can_be_changed(table):
    found = {field.name: field for field in fields(table)}
    assert list(found) == ["age", "income", "work", "grade", "joined", "remote", "many"]
    assert {name: field.kind for name, field in found.items()} == {
        "age": "number", "income": "number", "work": "choice", "grade": "choice", "joined": "date", "remote": "choice", "many": "choice",
    }  # fmt: skip
    assert (found["age"].whole, found["income"].whole) == (True, False)
    assert [name for name, field in found.items() if field.empty] == ["income"]
    known = pd.concat([table.train.columns["age"], table.evaluation.columns["age"]])
    assert (found["age"].low, found["age"].high) == (known.min(), known.max())
    assert set(found["many"].choices) == {*table.train.columns["many"], *table.evaluation.columns["many"]}


def test_a_row_that_is_made_equal_to_another_is_seen_as_that_one(table):
    rows = table.evaluation
    for other in range(1, 12):
        cells = {field.name: cell(table, field, other) for field in fields(table)}
        changed = changes(table, first(table), cells)
        made = edited(table, first(table), changed)
        np.testing.assert_array_equal(made.x[0], rows.x[other])
        np.testing.assert_array_equal(made.x[1:], rows.x[1:])
        names = [field.name for field in fields(table)]
        pd.testing.assert_frame_equal(
            made.columns.loc[[0], names].reset_index(drop=True), rows.columns.loc[[other], names].reset_index(drop=True)
        )
        assert made.ids.tolist() == rows.ids.tolist()


def test_what_stands_there_already_is_no_change(table):
    own = {field.name: cell(table, field, 0) for field in fields(table)}
    assert changes(table, first(table), own) == {}
    assert changes(table, first(table), {**own, "age": str(own["age"])}) == {}
    other = 40 if own["age"] != 40 else 41
    assert changes(table, first(table), {**own, "age": f" {other}.0 "}) == {"age": other}


def test_a_name_that_no_training_row_has_may_stay_and_not_come(table):
    columns = table.evaluation.columns.copy()
    columns.loc[0, "work"] = "moon"
    x = table.evaluation.x.copy()
    x[0, [table.encoding["features"].index(f"work = {level}") for level in ("farm", "shop", "<b>*mine*</b>")]] = 0
    data = replace(table, evaluation=replace(table.evaluation, columns=columns, x=x))
    other = 40 if cell(data, fields(data)[0], 0) != 40 else 41
    assert changes(data, first(data), {"work": "moon", "age": other}) == {"age": other}
    assert edited(data, first(data), {"age": other}).columns["work"].iloc[0] == "moon"


def test_an_empty_cell_is_one_where_training_rows_have_them(table):
    made = edited(table, first(table), changes(table, first(table), {"income": None}) or {"income": None})
    names = table.encoding["features"]
    assert made.x[0, names.index("income is missing")] == 1


BAD = [
    ("age", math.nan, "must be a number"), ("age", "old", "must be a number"), ("age", True, "must be a number"),
    ("age", 400, "knows no such rows"), ("age", math.inf, "must be a number"), ("age", 30.5, "a whole number"),
    ("age", None, "no training row lacks it"), ("age", "", "no training row lacks it"),
    ("income", 1e30, "knows no such rows"),
    ("work", "moon", "no value of 'work'"), ("work", 5, "no value of 'work'"), ("joined", "31.12.2019", "joined"),
    ("joined", "1850-01-01", "joined"), ("joined", "soon", "joined"), ("remote", "maybe", "no value"),
    ("out", "yes", "does not read the column"),
    ("nothing", 1, "does not read the column"), ("many", "m999", "no value"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "said"), BAD)
def test_what_no_row_can_have_is_refused_in_a_sentence(table, name, value, said):
    before = table.evaluation.columns.copy()
    with pytest.raises(BadInput, match=said) as error:
        changes(table, first(table), {name: value})
    assert len(str(error.value)) < 400
    pd.testing.assert_frame_equal(table.evaluation.columns, before)


def test_an_unknown_row_is_refused(table):
    with pytest.raises(BadInput, match="no evaluation row"):
        changes(table, "nobody", {"age": 30})


def test_texts_are_read_anew(texts):
    rows, other = texts.evaluation, 5
    said = rows.columns["review"].iloc[other]
    made = edited(texts, first(texts), changes(texts, first(texts), {"review": said}))
    np.testing.assert_array_equal(made.x[0], rows.x[other])
    assert made.columns["review"].iloc[0] == said


@pytest.mark.parametrize(
    ("value", "said"), [("", "is empty"), ("  \n", "is empty"), (None, "is empty"), (7, "is empty"), ("a " * 20_000, "Shorten")]
)
def test_texts_that_say_nothing_are_refused(texts, value, said):
    with pytest.raises(BadInput, match=said):
        changes(texts, first(texts), {"review": value})


def test_rows_without_cells_are_refused():
    rows = examples(20, (1, 4, 4), ids=range(20))
    from influence.data.dataset import Dataset

    image = Dataset("i", rows, rows, rows, "group", encoding={"kind": "image"})
    with pytest.raises(BadInput, match="image has no cells"):
        fields(image)
    with pytest.raises(BadInput, match="brought with the arrays"):
        fields(replace(image, encoding={"kind": "arrays"}))


def test_a_row_that_its_cells_do_not_make_is_refused(table):
    off = replace(table, evaluation=replace(table.evaluation, x=table.evaluation.x + 1))
    with pytest.raises(BadInput, match="cannot be made anew"):
        edited(off, first(table), {"age": 30})


@pytest.mark.parametrize("value", ["c", None])
def test_a_column_of_a_closed_list_of_names_takes_a_name_that_only_training_rows_have(value):
    put = edit._put(pd.Series(["a", "b"], dtype="category"), 0, value)
    assert put.tolist() == [value, "b"]
