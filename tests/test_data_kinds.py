"""Kinds that a person gives: what they change is what they say, fitted on training rows alone, and what cannot be is one clear message."""

import json

import numpy as np
import pandas as pd
import pytest

from influence.data.dates import days, moments, written
from influence.data.encoding import encode
from influence.data.kinds import KINDS
from influence.data.order import natural
from influence.data.tabular import prepare
from influence.errors import BadInput

N = 400


def table(seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, N),
            "code": rng.integers(1, 5, N),
            "size": rng.choice(["small", "large", "medium"], N),
            "grade": rng.choice(["B", "A", "D"], N),
            "agreed": rng.choice(["yes", "no"], N),
            "since": pd.to_datetime("2001-03-04") + pd.to_timedelta(rng.integers(0, 3000, N), unit="D"),
            "written": [f"{day}.{month}.2010" for day, month in zip(rng.integers(1, 28, N), rng.integers(1, 13, N), strict=True)],
            "worth": rng.uniform(0, 3, N),
            "house": rng.integers(0, 90, N),
            "text": rng.choice(["3", "4.5", "n.a."], N),
            "empty": None,
            "y": rng.choice(["a", "b"], N),
        }
    )


FRAME = table()


def made(**kinds):
    return prepare(FRAME, target="y", kinds=kinds)


def entry(data, name):
    return next(entry for entry in data.encoding["columns"] if entry["name"] == name)


def feature(data, name, role="holdout"):
    return data.split(role).x[:, data.encoding["features"].index(name)]


def described(data, name):
    return next(column for column in data.columns if column["name"] == name)


def test_no_kinds_change_nothing():
    assert prepare(FRAME, target="y", kinds={}).digest == prepare(FRAME, target="y").digest


def test_a_number_becomes_a_category():
    data = made(code="category")
    assert [name for name in data.encoding["features"] if name.startswith("code")] == [f"code = {level}" for level in (1, 2, 3, 4)]
    assert {key: described(data, "code")[key] for key in ("kind", "chosen", "note")} == {
        "kind": "category",
        "chosen": True,
        "note": "found: numeric",
    }
    np.testing.assert_array_equal(feature(data, "code = 2"), data.holdout.columns["code"] == 2)


def test_text_becomes_a_number():
    data = made(text="numeric")
    raw = pd.to_numeric(data.train.columns["text"], errors="coerce")
    filled = raw.fillna(raw.median())
    np.testing.assert_allclose(feature(data, "text", "train"), (filled - filled.mean()) / filled.std(ddof=0), rtol=1e-5)
    np.testing.assert_array_equal(feature(data, "text is missing", "train"), raw.isna())
    assert described(data, "text")["missing"] == (FRAME["text"] == "n.a.").sum()


def test_two_words_become_a_flag():
    data = made(agreed="flag")
    np.testing.assert_array_equal(feature(data, "agreed"), data.holdout.columns["agreed"] == "yes")
    assert described(data, "agreed")["note"] == "1 stands for 'yes'"


@pytest.mark.parametrize(
    ("kind", "column", "order"),
    [
        ("ordered", "size", ["small", "medium", "large"]),
        ("ordered:D,C,B,A", "grade", ["D", "C", "B", "A"]),
        ("ordered", "code", list("1234")),
    ],
)
def test_an_order_is_one_number(kind, column, order):
    data = made(**{column: kind})
    assert entry(data, column)["levels"] == order
    rank = data.train.columns[column].astype(str).map(order.index)
    np.testing.assert_allclose(feature(data, column, "train"), (rank - rank.mean()) / rank.std(ddof=0), rtol=1e-4, atol=1e-6)
    assert [name for name in data.encoding["features"] if name.startswith(column)] == [column]


def test_a_step_that_no_training_row_has_counts_as_missing():
    plain = prepare(FRAME, target="y")
    late = FRAME.index.isin(plain.evaluation.ids)
    frame = FRAME.assign(size=FRAME["size"].mask(late, "tiny"))
    data = prepare(frame, target="y", kinds={"size": "ordered"})
    assert entry(data, "size") == entry(made(size="ordered"), "size")
    assert (feature(data, "size", "evaluation") == feature(data, "size", "evaluation")[0]).all()
    given = prepare(frame, target="y", kinds={"size": "ordered:tiny,small,medium,large"})
    assert feature(given, "size", "evaluation").max() < feature(given, "size", "train").min()


@pytest.mark.parametrize("column", ["since", "written"])
def test_a_date_is_days_since_the_first_in_training(column):
    assert not any(name.startswith(column) for name in prepare(FRAME, target="y").encoding["features"])
    data = made(**{column: "date"})
    raw = data.train.columns[column]
    times = pd.to_datetime(raw, format="%d.%m.%Y") if column == "written" else raw
    first = times.min()
    assert entry(data, column)["first"] == str(first.date())
    count = (times - first).dt.days
    name = f"{column} (days since {first.date()})"
    np.testing.assert_allclose(feature(data, name, "train"), (count - count.mean()) / count.std(ddof=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kinds", [{"size": "ordered"}, {"since": "date"}, {"written": "date"}, {"text": "numeric"}, {"agreed": "flag"}])
def test_encodings_are_fitted_on_training_rows_and_kept_as_json(kinds):
    name = next(iter(kinds))
    data = made(**kinds)
    kept = json.loads(json.dumps(data.encoding))
    np.testing.assert_array_equal(encode(FRAME.loc[data.holdout.ids], kept), data.holdout.x)
    values = FRAME[name].to_numpy(copy=True)
    test = ~FRAME.index.isin(data.train.ids)
    values[test] = values[~test][0]
    other = prepare(FRAME.assign(**{name: values}), target="y", kinds=kinds)
    assert other.encoding == data.encoding
    assert other.train.digest == data.train.digest


@pytest.mark.parametrize("kind", ["weight", "leak", "group", "text", "id"])
def test_what_is_no_input_stays_for_people(kind):
    data = made(house=kind)
    assert not any(name.startswith("house") for name in data.encoding["features"])
    np.testing.assert_array_equal(data.holdout.columns["house"], FRAME["house"][data.holdout.ids])
    assert {"weight": "weight", "leak": "leak", "group": "audit"}.get(kind, "input") == described(data, "house")["part"]
    said = {"weight": "neither inputs nor used in training: house", "leak": "give the target away: house", "group": ""}
    assert said.get(kind, f"house ({kind})") in data.notes
    assert ("house" in data.audit) == (kind == "group")


def test_a_protected_column_that_is_no_input_still_forms_groups():
    data = prepare(FRAME, target="y", protected=["agreed"], kinds={"agreed": "leak"})
    assert data.protected == ("agreed",)
    assert not any(name.startswith("agreed") for name in data.encoding["features"])


@pytest.mark.parametrize(("kind", "classes"), [("category", 4), ("numeric", 0)])
def test_a_target_is_what_it_is_said_to_be(kind, classes):
    assert len(prepare(FRAME, target="code", kinds={"code": kind}).train.classes) == classes


BAD = {
    "unknown kind": ({"age": "nominal"}, "There is no kind 'nominal'. A column can be: numeric"),
    "order of another kind": ({"age": "category:a,b"}, "There is no kind 'category:a,b'"),
    "order of one": ({"size": "ordered:small"}, "at least two different values"),
    "order twice": ({"size": "ordered:small,small,large"}, "at least two different values"),
    "order lacks": ({"size": "ordered:small,large"}, "The order of 'size' lacks 'medium'"),
    "no natural order": ({"grade": "ordered"}, "The order of 'grade' is not known: "),
    "no column": ({"aeg": "numeric"}, "'aeg', given the kind numeric, is not a column of the table. Did you mean 'age'"),
    "words as numbers": ({"size": "numeric"}, "'size' can't be numeric: it holds"),
    "dates as numbers": ({"since": "numeric"}, "'since' can't be numeric: it holds '200"),
    "three as a flag": ({"size": "flag"}, "'size' has 3 different values; a flag has two"),
    "numbers as dates": ({"age": "date"}, "'age' holds no dates"),
    "words as dates": ({"size": "date"}, "which is no date"),
    "empty": ({"empty": "numeric"}, "'empty' has no value in any row"),
    "target a weight": ({"y": "weight"}, "'y' is chosen as target and can't be weight as well"),
    "target dates": ({"y": "date"}, "a target can be numeric or category or flag"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_kind_that_cannot_be_gives_one_clear_message(case):
    kinds, message = BAD[case]
    with pytest.raises(BadInput) as caught:
        made(**kinds)
    text = str(caught.value)
    assert message in text
    assert text.endswith((".", "?"))


def test_parts_and_kinds_that_exclude_each_other():
    for choices, message in [
        ({"id": "age", "kinds": {"age": "numeric"}}, "chosen as id and can't be numeric"),
        ({"protected": ["house"], "kinds": {"house": "weight"}}, "to form groups and as a weight"),
    ]:
        with pytest.raises(BadInput, match=message):
            prepare(FRAME, target="y", **choices)


def test_every_kind_says_what_it_is():
    assert list(KINDS) == ["numeric", "category", "flag", "ordered", "date", "text", "id", "weight", "group", "leak"]
    assert all(KINDS.values())


@pytest.mark.parametrize(
    "order",
    [
        ["1", "2", "10"],
        ["-1.5", "0", "1e3"],
        ["<5", "5-10", "11-20", ">20"],
        ["Less than 25", "25 - 45", "Greater than 45"],
        ["up to 10,000", "10,000-50,000", "50,000+"],
        ["grade 2", "grade 10"],
        ["LOW", "Medium", "high"],
        ["never", "sometimes", "always"],
        ["Monday", "Tuesday", "Sunday"],
        ["strongly disagree", "neutral", "strongly_agree"],
        ["XS", "S", "M", "L", "XL"],
    ],
)
def test_natural_orders(order):
    for seed in range(5):
        shuffled = np.random.default_rng(seed).permutation(order).tolist()
        assert natural(shuffled) == order


@pytest.mark.parametrize("names", [["red", "green"], ["1", "one"], ["5-10", "5-20"], ["low", "small"], ["medium", "moderate"]])
def test_no_order_is_made_up(names):
    assert natural(names) is None


DATES = {
    "iso": (["2020-12-31", "2021-1-5"], [18627.0, 18632.0]),
    "times": (["2020-12-31T12:00:00", "2021-01-05 00:00"], [18627.5, 18632.0]),
    "zones": (
        ["2020-12-31T12:00:00+12:00", "2021-01-05T00:00:00Z", "2021-01-05 00-02", "2021-01-05 12:00:00.0 +0530", "2021-01-05"],
        [18627.5, 18632.0, 18632.0, 18632.5, 18632.0],
    ),
    "slashes": (["2020/12/31", "2021/1/5"], [18627.0, 18632.0]),
    "dots": (["31.12.2020", "5.1.2021"], [18627.0, 18632.0]),
    "day first": (["31/12/2020", "05/01/2021"], [18627.0, 18632.0]),
    "month first": (["12-31-2020", "01-05-2021"], [18627.0, 18632.0]),
}


@pytest.mark.parametrize("case", DATES)
def test_dates_are_read_as_they_are_written(case):
    cells, expected = DATES[case]
    column = pd.Series([*cells, None], name="when", dtype="str")
    np.testing.assert_array_equal(days(column, written(column)), [*expected, np.nan])


def test_models_read_times_of_several_zones_by_when_they_were():
    column = pd.Series(["2020-12-31T12:00:00+12:00", "2021-01-05T00:00:00Z", "2020-12-30T19:00-05:00", "2021-01-05", None], dtype="str")
    np.testing.assert_array_equal(moments(column, written(column)), [18627.0, 18632.0, 18627.0, 18632.0, np.nan])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["03/04/2020", "05/06/2020"], "day and month can't be told apart"),
        (["13/01/2020", "01/13/2020"], "day and month can't be told apart"),
        (["31.12.20"], "which is no date"),
        (["yesterday"], "which is no date"),
    ],
)
def test_dates_that_cannot_be_told_are_refused(cells, message):
    with pytest.raises(BadInput, match=message):
        written(pd.Series(cells, name="when", dtype="str"))


def test_a_few_cells_that_are_no_dates_are_missing():
    column = pd.Series([f"2020-01-{day:02d}" for day in range(1, 31)] + ["unknown"], name="when", dtype="str")
    assert days(column, written(column)).isna().sum() == 1
