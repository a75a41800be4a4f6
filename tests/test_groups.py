"""Groups by a column: names, bins and refusals, against pandas and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from influence.errors import BadInput
from influence.groups import Groups, columns_of, edges_of, group_name, groups_of, is_group, joined, place_of
from influence.types import Examples


def table(values, classes=("no", "yes"), **others) -> Examples:
    n = len(values)
    y = np.zeros(n, dtype=np.int64)
    return Examples(np.zeros((n, 1)), y, np.arange(n), pd.DataFrame({"g": values, **others}), classes)


def names_of(examples: Examples, *how) -> np.ndarray:
    """Each row's group, as text."""
    groups = groups_of(examples, "g", *how)
    return np.array(groups.names, dtype=object)[groups.code]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (pd.Series(["m", None, "f", "m"]), ["m", "missing", "f", "m"]),
        (pd.Series(["m", None, "f", "m"], dtype="category"), ["m", "missing", "f", "m"]),
        (pd.Series(["m", None, "f", "m"], dtype="str"), ["m", "missing", "f", "m"]),
        (pd.Series([True, False, True, True]), ["True", "False", "True", "True"]),
        (pd.Series([1.0, np.nan, 10.0, 2.0]), ["1", "missing", "10", "2"]),
        (pd.Series([1, None, 10, 2], dtype="Int64"), ["1", "missing", "10", "2"]),
        (pd.Series([0.5, 1.0, 0.5, 1.0]), ["0.5", "1", "0.5", "1"]),
        (pd.Series([1, "1", "missing", None], dtype=object), ["1", "1", "missing", "missing"]),
    ],
)
def test_each_row_has_the_name_of_its_value(values, names):
    assert names_of(table(values)).tolist() == names


def test_names_are_in_reading_order_with_missing_last():
    assert groups_of(table(pd.Series(["z", None, "a"])), "g").names == ("a", "z", "missing")
    assert groups_of(table(pd.Series([10.0, 2.0, np.nan])), "g").names == ("2", "10", "missing")


@pytest.mark.parametrize("bins", [2, 4, 7])
def test_numbers_are_cut_into_bins_of_like_size(bins):
    values = pd.Series(np.random.default_rng(0).normal(size=1000))
    groups = groups_of(table(values), "g", bins)
    np.testing.assert_allclose(groups.counts(), pd.qcut(values, bins).value_counts(sort=False), atol=1)
    assert groups.counts().sum() == 1000
    found = [values[groups.code == place].max() for place in range(bins - 1)]
    assert edges_of(table(values), "g", bins) == tuple(found), "an edge is the upper end of its bin"


def test_bins_are_named_by_their_ends():
    ages = pd.Series([*range(20, 60), None])
    groups = groups_of(table(ages), "g", 4)
    assert groups.names == ("up to 29", "over 29 to 39", "over 39 to 49", "over 49", "missing")
    assert groups.counts().tolist() == [10, 10, 10, 10, 1]
    assert names_of(table(ages))[[0, 9, 10, 39, 40]].tolist() == ["up to 29", "up to 29", "over 29 to 39", "over 49", "missing"]


def test_close_edges_keep_different_names():
    values = pd.Series(1 + np.arange(100) * 1e-7)
    groups = groups_of(table(values), "g", 4)
    assert len(set(groups.names)) == 4
    assert groups.counts().tolist() == [25, 25, 25, 25]


def test_ties_make_fewer_bins_and_none_is_empty():
    gains = pd.Series([0.0] * 900 + list(range(1, 101)))
    assert groups_of(table(gains), "g", 4).names == ("up to 0", "over 0")
    mostly_top = pd.Series([*range(10), *[99] * 200])
    groups = groups_of(table(mostly_top), "g", 4)
    assert groups.counts().min() > 0
    assert len(groups.names) == 2


def test_few_values_and_flags_are_not_cut():
    assert edges_of(table(pd.Series([1, 2, 3, 4] * 5)), "g", 4) == ()
    assert edges_of(table(pd.Series([1, 2, 3, 4, 5] * 5)), "g", 4) != ()
    assert edges_of(table(pd.Series([True, False] * 5)), "g", 2) == ()
    assert edges_of(table(pd.Series(list("abcdefgh"))), "g", 2) == ()


def test_fixed_edges_hold_on_other_rows():
    first, other = pd.Series(range(100)), pd.Series([5, 5, 70, 70])
    edges = edges_of(table(first), "g", 4)
    assert names_of(table(other), 4, edges).tolist() == ["up to 24", "up to 24", "over 49 to 74", "over 49 to 74"]
    assert names_of(table(first), 4, ()).tolist() == [str(value) for value in first], "no edges: every value is a group"


def test_counts_of_kept_rows():
    groups = Groups(("a", "b", "c"), np.array([0, 0, 1, 2, 2, 2]))
    assert groups.counts().tolist() == [2, 1, 3]
    assert groups.counts(np.array([True, False, False, True, True, False])).tolist() == [1, 0, 2]


def test_groups_of_ten_are_comparable():
    groups = Groups(("a", "b", "c"), np.repeat([0, 1, 2], [10, 9, 12]))
    assert groups.comparable().tolist() == [0, 2]
    with pytest.raises(BadInput, match=r"at least 10 rows of the kind compared; there are c: 12, b: 9, a: 5\. Choose"):
        groups.comparable(np.arange(31) >= 5)


def test_a_refusal_of_many_groups_stays_short():
    groups = Groups(tuple(f"g{i}" for i in range(5000)), np.arange(5000))
    with pytest.raises(BadInput, match="4,992 smaller groups") as raised:
        groups.comparable()
    assert len(str(raised.value)) < 300


def test_many_distinct_values_are_quick_to_name():
    values = pd.Series([f"name {i}" for i in range(16000)])
    assert len(groups_of(table(values), "g").names) == 16000


@pytest.mark.parametrize("ask", [lambda e, c: groups_of(e, c), lambda e, c: edges_of(e, c, 4)])
def test_unknown_columns_are_refused(ask):
    with pytest.raises(BadInput, match=r"no column 'race' to form groups by; there are: g, other\. Choose"):
        ask(table(pd.Series([1, 2]), other=[1, 2]), "race")
    with pytest.raises(BadInput, match=r"No column to form groups by was given; there are: g\."):
        ask(table(pd.Series([1, 2])), "")


def test_the_positive_class():
    rows = table(pd.Series([1, 2]))
    assert place_of("", rows) == place_of("yes", rows) == 1
    assert place_of("no", rows) == 0
    with pytest.raises(BadInput, match=r"no class 'maybe'; there are: no, yes\."):
        place_of("maybe", rows)
    with pytest.raises(BadInput, match="this target is a number"):
        place_of("", table(pd.Series([1, 2]), classes=()))


# ---- Several columns at once


def several(**columns) -> Examples:
    n = len(next(iter(columns.values())))
    return Examples(np.zeros((n, 1)), np.zeros(n, dtype=np.int64), np.arange(n), pd.DataFrame(columns), ("no", "yes"))


NAMES = ["sex", "a & b", "a", "b & c", "c", 'say "it"', '"a"', " a", "a ", "&", "a&b", '"', "é, ü"]


def test_no_two_lists_of_parts_have_one_name():
    pairs = [(one, other) for one in NAMES for other in NAMES]
    triples = [(*pair, part) for pair in pairs for part in NAMES]
    assert len({joined(parts) for parts in [*pairs, *triples]}) == len(pairs) + len(triples)
    assert joined(("a & b",)) == "a & b", "one alone is called as it always was"


def test_every_list_of_columns_is_found_again_by_its_name_and_never_taken_for_a_column():
    rows = several(**{name: [1, 2] for name in NAMES}, **{"sex & c": [1, 2], '"sex" & c': [1, 2]})
    for one in NAMES:
        assert columns_of(rows, group_name(rows, [one])) == (one,)
        for other in NAMES:
            if one != other:
                name = group_name(rows, [one, other])
                assert name not in rows.columns
                assert columns_of(rows, name) == (one, other)
                third = next(part for part in NAMES if part not in (one, other))
                assert columns_of(rows, group_name(rows, [one, other, third])) == (one, other, third)
    assert columns_of(rows, "sex & c") == ("sex & c",), "a column's own name is always that column"
    assert columns_of(rows, "sex&c") == columns_of(rows, group_name(rows, ["sex", "c"])) == ("sex", "c")


def test_groups_of_several_columns_are_those_that_rows_have():
    rng = np.random.default_rng(3)
    sex, race = rng.choice(["f", "m"], 200), rng.choice(np.array(["x", "y & z", None], dtype=object), 200)
    age = rng.integers(17, 80, 200).astype(float)
    age[:20] = np.nan
    sex[race == "x"] = "f"  # so that nobody is m & x
    rows = several(sex=sex, race=race, age=age)
    found = groups_of(rows, "sex & race")
    assert found.names == ("f & x", 'f & "y & z"', "f & missing", 'm & "y & z"', "m & missing")
    expected = pd.Series(sex).str.cat(pd.Series(race).fillna("missing").replace("y & z", '"y & z"'), sep=" & ").value_counts()
    assert dict(zip(found.names, found.counts(), strict=True)) == expected.to_dict()
    assert edges_of(rows, "sex & race", 4) == ((), ())
    by_age = groups_of(rows, "sex & age")
    alone = groups_of(rows, "age")
    for name, n in zip(by_age.names, by_age.counts(), strict=True):
        own, bin = name.split(" & ")
        assert n == ((sex == own) & (alone.code == alone.names.index(bin))).sum()
    assert sum(by_age.counts()) == 200


def test_fixed_edges_of_several_columns_hold_on_other_rows():
    first, other = several(a=range(100), s=["u", "v"] * 50), several(a=[5, 5, 70, 70], s=["u", "v", "u", "v"])
    found = groups_of(other, "s & a", edges=edges_of(first, "s & a", 4))
    assert found.names == ("u & up to 24", "u & over 49 to 74", "v & up to 24", "v & over 49 to 74")
    assert found.code.tolist() == [0, 2, 1, 3]


@pytest.mark.parametrize(
    ("group", "says"),
    [
        ("a & nobody", r"no column 'nobody' to form groups by; there are: a, b, c, d\. Choose"),
        ("a & ", "no column ''"),
        ("a & a", "name a column twice"),
        ("a & b & c & d", "4 columns at once .* at most 3"),
        ('"a', "no column '\"a'"),
        (" a", "no column"),
    ],
)
def test_names_that_form_no_groups_are_refused(group, says):
    rows = several(a=[1, 2], b=[1, 2], c=[1, 2], d=[1, 2])
    assert not is_group(rows, group)
    with pytest.raises(BadInput, match=says):
        groups_of(rows, group)


def test_many_values_in_several_columns_are_quick():
    values = [f"name {i}" for i in range(16000)]
    assert len(groups_of(several(a=values, b=values, c=values), "a & b & c").names) == 16000
