"""Keyed draws: uniform, independent of each other and of who else is there, and stable for ever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from influence.keyed import keys, order, uniform

IDS = {
    "numbers": np.arange(40_000),
    "far numbers": np.arange(40_000) * 10**12 - 10**15,
    "text": np.array([f"row {i}" for i in range(40_000)]),
}


@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_draws_are_uniform(ids, seed):
    drawn = uniform(seed, "split", IDS[ids])
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert stats.chisquare(np.histogram(drawn, 100, (0, 1))[0]).pvalue > 1e-3
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("ids", IDS)
def test_draws_of_neighbours_seeds_and_purposes_are_independent(ids):
    base = uniform(0, "split", IDS[ids])
    for other in (np.roll(base, 1), uniform(1, "split", IDS[ids]), uniform(0, "epoch 1", IDS[ids])):
        table = np.histogram2d(base, other, 10, [(0, 1), (0, 1)])[0]
        assert stats.chi2_contingency(table).pvalue > 1e-3


@pytest.mark.parametrize("ids", IDS)
def test_every_bit_is_a_fair_coin(ids):
    words = keys(3, "x", IDS[ids])
    assert len(np.unique(words)) == len(words)
    share = np.array([((words >> np.uint64(bit)) & np.uint64(1)).mean() for bit in range(64)])
    assert np.abs(share - 0.5).max() < 5 * 0.5 / np.sqrt(len(words))


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30, unique=True), st.data())
def test_a_draw_depends_on_its_own_id_only(numbers, data):
    ids = np.array(numbers, dtype=np.int64)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids))), dtype=bool)
    np.testing.assert_array_equal(keys(5, "p", ids)[kept], keys(5, "p", ids[kept]))
    ranks = order(5, 2, ids)
    np.testing.assert_array_equal(ids[ranks][kept[ranks]], ids[kept][order(5, 2, ids[kept])])


@settings(deadline=None)
@given(st.lists(st.text(max_size=12).filter(lambda s: "\0" not in s), min_size=1, max_size=20, unique=True), st.integers(0, 2**31 - 1))
def test_text_ids_do_not_depend_on_how_they_are_held(texts, seed):
    wide = np.array([*texts, "x" * 50])
    np.testing.assert_array_equal(keys(seed, "p", wide)[:-1], keys(seed, "p", np.array(texts, dtype=object)))
    np.testing.assert_array_equal(keys(seed, "p", wide)[-1:], keys(seed, "p", np.array(["x" * 50])))


def test_numbers_do_not_depend_on_their_width():
    for dtype in (np.int8, np.int16, np.int32, np.uint8):
        np.testing.assert_array_equal(keys(0, "p", np.arange(100, dtype=dtype)), keys(0, "p", np.arange(100)))


def test_order_is_a_permutation_that_changes_from_epoch_to_epoch():
    ids = np.arange(500)
    first, second = order(0, 0, ids), order(0, 1, ids)
    assert sorted(first) == sorted(second) == list(range(500))
    assert abs(stats.spearmanr(np.argsort(first), np.argsort(second)).statistic) < 0.2
    np.testing.assert_array_equal(order(0, 0, ids), first)


def test_draws_never_change():
    """They are part of every run's identity: another version of the code or of pandas must give the same."""
    assert [hex(k) for k in keys(0, "epoch 0", np.array([0, 1, -1]))] == ["0x83b484b8b9cab061", "0x8cbeb627f603fde3", "0x4b0a36da4bcaaea1"]
    assert [hex(k) for k in keys(7, "split", np.array(["a", "Zürich"]))] == ["0xf63243cb88d8cdc6", "0xb20ea74d36d20aa8"]
