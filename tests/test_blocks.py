"""Blocks of a column: odd cells, what many rows cost, and where the sums of random blocks and of several together lie."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

from influence.actions.sources import DRAWN, SMALL, random_range, together
from influence.errors import BadInput
from influence.patterns import Sums, blocks_of
from tests.test_sources import covered


def test_the_word_missing_is_another_block_than_missing_cells():
    table = pd.DataFrame({"licence": ["missing", "CC BY", None, "CC BY"] * 10})
    found = blocks_of(table, "licence", {})
    covered(found, table)
    assert {block.name: int(block.rows.sum()) for block in found.blocks} == {"CC BY": 20, "missing": 10, "no value": 10}
    assert found.rest == 0


def test_a_last_day_for_what_never_ends_is_a_date_like_others():
    table = pd.DataFrame({"until": ["2015-01-01", "2016-01-05", "2017-03-01", "9999-12-31"] * 20})
    found = blocks_of(table, "until", {}, "year")
    covered(found, table)
    assert [block.name for block in found.blocks] == ["2015", "2016", "2017", "9999"]


def test_cells_that_are_no_dates_are_in_no_block():
    table = pd.DataFrame({"day": [*pd.date_range("2020-01-01", periods=99).strftime("%Y-%m-%d"), "unknown"]})
    found = blocks_of(table, "day", {"day": "date"})
    covered(found, table)
    assert (found.cut, found.rest) == ("month", 1)


@pytest.mark.parametrize(
    ("cells", "kind", "names"),
    [
        (pd.Series([1, "1", 2.0, "a"] * 10, dtype=object), "", ["1", "2.0", "a"]),
        (pd.Series([2018.0, 2019.0, np.nan] * 10), "category", ["2018", "2019", "missing"]),
        (pd.Series(pd.Categorical(["a", None, "b"] * 10, categories=["a", "b", "never"])), "", ["a", "b", "missing"]),
        (pd.Series(pd.array([True, None, False] * 10, dtype="boolean")), "", ["True", "False", "missing"]),
        (pd.Series([1.0, 2.0, np.inf, -np.inf] * 10), "", ["1", "2"]),
    ],
    ids=["mixed", "names", "categorical", "nullable", "infinite"],
)
def test_blocks_are_what_their_conditions_say_of_odd_cells(cells, kind, names):
    table = pd.DataFrame({"c": cells})
    found = blocks_of(table, "c", {"c": kind})
    covered(found, table)
    assert [block.name for block in found.blocks] == names


def test_many_rows_are_cut_quickly_and_too_many_periods_are_refused():
    day = pd.Series(pd.date_range("2009-01-01", "2019-12-31", periods=200_000)).dt.strftime("%Y-%m-%d")
    table = pd.DataFrame({"day": day})
    began = time.process_time()
    assert len(blocks_of(table, "day", {"day": "date"}, "month").blocks) == 132
    assert time.process_time() - began < 5
    with pytest.raises(BadInput, match="575 periods by week; at most 400"):
        blocks_of(table, "day", {"day": "date"}, "week")


@pytest.mark.parametrize("n", [1, 5, 60, 1990, 1999])
def test_sums_of_few_outlying_scores_lie_outside_as_often_as_is_said(n):
    """The scores of a question to a single row: a normal distribution would be left by one of fifty blocks in every second table."""
    values, rng, blocks = np.random.default_rng(1).standard_t(2.5, 2000), np.random.default_rng(2), 50
    low, high = random_range(values, n, blocks)
    few = min(n, 2000 - n)
    orders = [rng.permutation(values)[: 2000 // few * few].reshape(-1, few).sum(1) for _ in range(-(-200_000 // (2000 // few)))]
    sums = np.concatenate(orders)
    sums = sums if few == n else values.sum() - sums
    outside = blocks * float(((sums < low) | (sums > high)).mean())
    assert outside < 0.1
    assert n == 1 or outside > 0.01


def test_drawn_and_normal_ranges_of_many_rows_agree():
    values = np.random.default_rng(0).normal(0.1, 1.0, 4 * SMALL)
    drawn, normal = (np.array(random_range(values, n)) for n in (SMALL, SMALL + 1))
    np.testing.assert_allclose(drawn, normal, atol=0.1 * np.ptp(normal))
    assert DRAWN >= 10_000


def test_blocks_together_are_as_one():
    rng = np.random.default_rng(0)
    values, code = rng.standard_t(3, 900), rng.integers(0, 5, 900)

    def figures(inside: np.ndarray) -> tuple[float, float, float]:
        total = float(values[inside].sum())
        half = Sums(inside.sum(), total, float(values[inside] @ values[inside])).half(900)
        return total, total - half, total + half

    table = pd.DataFrame([figures(code == k) for k in range(5)], columns=["change", "low", "high"])
    assert together(table.iloc[[1, 2, 4]], 900) == pytest.approx(figures(np.isin(code, [1, 2, 4])))
