"""Groups by a column: names, bins and refusals, against pandas and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from influence.errors import BadInput
from influence.groups import Groups, edges_of, groups_of, place_of
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
