"""Finders against brute force, and selections as the sets that they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from influence.errors import BadInput
from influence.finders._sets import difference, intersection, union
from influence.finders.rows import Rows
from influence.finders.top_k import TopK
from influence.finders.where import Where
from influence.types import Examples, Scores, Selection

IDS = st.lists(st.one_of(st.integers(0, 12), st.sampled_from(["a", "b c", "7"])), unique=True).map(tuple)
SELECTIONS = IDS.map(lambda ids: Selection(ids, reason={"rule": "rows", "words": f"{len(ids)} rows"}))


@given(SELECTIONS, SELECTIONS)
def test_combined_selections_are_combined_sets(a, b):
    for combine, truth in ((union, set.union), (intersection, set.intersection), (difference, set.difference)):
        found = combine(a, b)
        assert set(found.ids) == truth(set(a.ids), set(b.ids))
        assert len(set(found.ids)) == len(found)
        assert found.reason["of"] == [dict(a.reason), dict(b.reason)]
        assert a.reason["words"] in found.reason["words"]


@given(SELECTIONS, SELECTIONS, SELECTIONS)
def test_laws_of_sets(a, b, c):
    assert union(a, b).digest == union(b, a).digest
    assert union(union(a, b), c).digest == union(a, union(b, c)).digest
    assert intersection(a, union(b, c)).digest == union(intersection(a, b), intersection(a, c)).digest
    assert difference(a, union(b, c)).digest == difference(difference(a, b), c).digest
    assert union(difference(a, b), intersection(a, b)).digest == a.digest
    assert union(a, a).ids == a.ids


@pytest.mark.parametrize(("better", "way", "ids"), [("lower", "lower", (7, 9)), ("higher", "raise", (8, 9))])
def test_the_first_rows_say_in_words_what_they_are(better, way, ids):
    scores = Scores(np.array([[-1.0], [2.0], [0.0]]), np.array([7, 8, 9]), ("Loss",), "tracin", False)
    found = TopK(k=2, better=better)(scores, examples(np.array([7, 8, 9]), 3))
    assert found.ids == ids
    assert found.reason["words"] == f"the 2 rows whose removal is predicted to {way} “Loss” most, by tracin"


def examples(ids=None, n: int = 60) -> Examples:
    rng = np.random.default_rng(0)
    whole = pd.Series(rng.integers(0, 5, n)).astype("Int64")
    whole[rng.random(n) < 0.2] = pd.NA
    real = rng.integers(-2, 3, n) / 2.0
    real[rng.random(n) < 0.2] = np.nan
    text = pd.Series(rng.choice(["x", "y", "3", "nan", "<NA>"], n)).astype(object)
    text[rng.random(n) < 0.2] = None
    truth = pd.Series(rng.random(n) < 0.5).astype("boolean")
    truth[rng.random(n) < 0.2] = pd.NA
    columns = pd.DataFrame(
        {
            "whole": whole, "real": real, "int": rng.integers(0, 4, n), "text": text, "string": text.astype("str"),
            "category": text.astype("category"), "truth": truth, "flag": rng.random(n) < 0.5,
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 3, n), unit="D"),
        }
    )  # fmt: skip
    return Examples(np.zeros((n, 1)), np.zeros(n, dtype=np.int64), np.arange(n) * 3 if ids is None else ids, columns, ("no", "yes"))


TYPED = {"whole": 3, "real": -0.5, "int": 2, "text": "3", "string": "y", "category": "x", "truth": True, "flag": False}


@pytest.mark.parametrize("column", TYPED)
def test_conditions_are_those_of_pandas_and_missing_values_meet_none(column):
    it = examples()
    values, wanted = it.columns[column], TYPED[column]
    ordered = column in ("whole", "real", "int")
    plain = values.astype(object)
    known = values.notna().to_numpy()
    truth = {"equal to": (plain == wanted).to_numpy(dtype=bool) & known, "not equal to": (plain != wanted).to_numpy(dtype=bool) & known}
    if ordered:
        numbers = values.astype("Float64")
        truth["at least"] = (numbers >= wanted).fillna(False).to_numpy(dtype=bool)
        truth["at most"] = (numbers <= wanted).fillna(False).to_numpy(dtype=bool)
    if not known.all():
        truth["missing"] = ~known
    for is_, met in truth.items():
        assert met.any()
        assert Where(column, is_, str(wanted))(None, it).ids == tuple(it.ids[met].tolist()), is_


def test_truth_may_be_written_in_any_case_and_numbers_in_any_form():
    it = examples()
    assert Where("flag", "equal to", " TRUE")(None, it).ids == Where("flag", "equal to", "True")(None, it).ids
    assert Where("int", "equal to", "2.0")(None, it).ids == Where("int", "equal to", "2")(None, it).ids


@pytest.mark.parametrize(
    ("column", "is_", "value", "told"),
    [
        ("text", "at least", "3", "text holds no numbers"),
        ("category", "at most", "x", "holds no numbers"),
        ("day", "at least", "soon", "day holds dates; got 'soon'"),
        ("int", "at least", "many", "holds numbers; got 'many'"),
        ("int", "not equal to", "nan", "holds numbers"),
        ("int", "missing", "", "There are no rows where int is missing"),
        ("text", "equal to", "z", "There are no rows where text is equal to z"),
        ("", "equal to", "z", "No column was chosen"),
    ],
)
def test_conditions_that_cannot_be_met_are_refused(column, is_, value, told):
    with pytest.raises(BadInput, match=told):
        Where(column, is_, value)(None, examples())


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_top_k_is_the_head_of_the_sorted_scores_and_keeps_the_order_of_ties(better):
    it = examples()
    values = np.random.default_rng(1).integers(-3, 4, (60, 2)).astype(float)
    scores = Scores(values, it.ids[::-1].copy(), ("a", "b"), "random", False)
    found = TopK(9, "b", better)(scores, it)
    sign = -1 if better == "higher" else 1
    truth = [i for _, _, i in sorted((sign * v, place, i) for place, (v, i) in enumerate(zip(values[:, 1], scores.ids, strict=True)))][:9]
    assert list(found.ids) == truth


def test_scores_of_other_rows_name_no_rows():
    it = examples()
    with pytest.raises(BadInput, match="not among"):
        TopK(5)(Scores(np.zeros((60, 1)), it.ids + 1000, ("a",), "random", False), it)
    with pytest.raises(BadInput, match="Influence page"):
        TopK(5)(None, it)


def test_ids_that_are_text_may_hold_blanks_and_commas():
    names = np.array([f"row {i}" for i in range(58)] + ["Smith, J", "a;b"], dtype=object)
    it = examples(names)
    assert Rows("row 3\nSmith, J\na;b\nrow 3")(None, it).ids == ("row 3", "Smith, J", "a;b")
    assert Rows("row 3, row 4")(None, it).ids == ("row 3", "row 4")
    assert Rows("Smith, J")(None, it).ids == ("Smith, J",)


def test_ids_that_differ_in_blanks_alone_are_not_taken_for_each_other():
    names = np.array(["a", "a ", "b ", " c", "c ", *(f"row {i}" for i in range(55))], dtype=object)
    it = examples(names)
    for name in names.tolist():
        assert Rows(name)(None, it).ids == (name,)
    found = Rows("a \r\n a\nb")(None, it)
    assert found.ids == ("a ", "a", "b ")
    assert Rows(found.reason["ids"])(None, it).ids == found.ids
    assert Rows("a , b")(None, it).ids == ("a", "b "), "in a list, blanks are no part of an id"
    with pytest.raises(BadInput, match=r"'c' may be any of 2 ids: ' c', 'c '\. Type one as it is written\."):
        Rows("a\nc")(None, it)


def test_ids_are_read_from_any_usual_list():
    it = examples()
    for text in ("3, 9,12", "3 9\t12", "3;9;12", "3\n9\n12\n", " 3,\n 9,\n 12,3 "):
        assert Rows(text)(None, it).ids == (3, 9, 12)
    with pytest.raises(BadInput, match=r"1 of 2 ids .* example 4\. Their ids are like 0, 3, 6"):
        Rows("3, 4")(None, it)
    with pytest.raises(BadInput, match="No ids were given"):
        Rows(" ,\n")(None, it)
