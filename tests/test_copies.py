"""Copies against brute force, and rows that lie alone against their definition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import LocalOutlierFactor

from influence.data import copies as module
from influence.data import outlying as alone
from influence.data import represented
from influence.data.copies import copies
from influence.data.outlying import outlying
from influence.errors import BadInput
from influence.finders.duplicates import Duplicates, conflicting
from influence.finders.helps_nobody import HelpsNobody
from influence.finders.outliers import Outliers
from influence.types import Examples, Scores


def rows(x, y=None, start: int = 0) -> Examples:
    n = len(next(iter(x.values())) if isinstance(x, dict) else x)
    y = np.zeros(n, dtype=np.int64) if y is None else np.asarray(y)
    return Examples(x, y, np.arange(start, start + n), pd.DataFrame({"n": range(n)}), ("no", "yes"))


def partition(cluster: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(cluster == k).tolist()) for k in range(cluster.max() + 1)}


def linked(near: np.ndarray) -> set[frozenset[int]]:
    """Clusters of two rows or more that a matrix of which rows are near joins."""
    code = connected_components(near, directed=False)[1]
    return {frozenset(np.flatnonzero(code == k).tolist()) for k in set(code.tolist()) if (code == k).sum() > 1}


@pytest.mark.parametrize("seed", range(5))
def test_exact_copies_are_those_of_equal_numbers(seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, (80, 3)).astype(np.float32)
    x[x == 0] *= rng.choice([-1.0, 1.0], int((x == 0).sum()))  # minus zero is zero
    found = copies([rows(x)])
    assert partition(found.cluster) == linked((x[:, None] == x[None]).all(2))
    assert found.different == len(np.unique(x + 0, axis=0))
    cut = copies([rows(x[:30]), rows(x[30:], start=30)])
    np.testing.assert_array_equal(cut.cluster, found.cluster)


def test_rows_of_equal_hashes_are_compared(monkeypatch):
    """A collision is no copy: the hash only says which rows to compare."""
    x = np.array([[1.0], [2.0], [2.0], [1.0], [3.0]])
    monkeypatch.setattr(module, "hashes", lambda part: np.zeros(len(part), dtype=np.uint64))
    first = copies([rows(x)]).cluster
    assert first[0] == first[3] >= 0
    assert first[4] == -1
    assert first[1] != first[0]


@pytest.mark.parametrize("distance", [0.05, 0.15, 0.4])
@pytest.mark.parametrize("seed", range(3))
def test_near_copies_of_numbers_are_those_within_the_distance(seed, distance):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 2, (60, 2)).astype(np.float32)
    x[40:] = x[:20]
    truth = np.sqrt(((x[:, None].astype(float) - x[None]) ** 2).mean(2)) <= distance
    assert partition(copies([rows(x)], distance).cluster) == linked(truth)
    named = {"a": x[:, :1], "b": x[:, 1:].reshape(-1, 1, 1)}
    assert partition(copies([rows(x[:25]), rows(x[25:], start=25)], distance).cluster) == linked(truth)
    assert partition(copies([rows(named)], distance).cluster) == linked(truth)


def shingles(text) -> set[tuple[int, ...]]:
    known = [int(t) for t in text if t]
    return {tuple(known[i : i + 3]) for i in range(max(1, len(known) - 2))} if known else set()


@pytest.mark.parametrize("seed", range(3))
def test_near_copies_of_texts_are_those_that_share_shingles(seed):
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(25):
        text = rng.integers(1, 500, rng.integers(1, 30))
        texts.append(text)
        for _ in range(rng.integers(0, 3)):
            other = text.copy()
            other[rng.integers(len(other))] = rng.integers(1, 500)
            texts.append(other[: rng.integers(max(1, len(other) - 2), len(other) + 1)])
    x = np.zeros((len(texts) + 2, 32), dtype=np.int64)  # two texts without any token: equal, and near to nothing else
    for row, text in zip(x, texts, strict=False):
        row[: len(text)] = text
    sets = [shingles(text) for text in x]
    for distance in (0.2, 0.4):
        near = np.array([[len(a & b) >= (1 - distance) * len(a | b) and bool(a | b) for b in sets] for a in sets])
        near |= (x[:, None] == x[None]).all(2)
        assert partition(copies([rows(x)], distance).cluster) == linked(near)
        cut = [rows(x[:9, :]), rows(x[9:], start=9)]
        assert partition(copies(cut, distance).cluster) == linked(near)


def test_many_equal_rows_stay_one_cluster_and_few_numbers():
    """No pairs are listed: ten thousand equal rows beside some that are near would be fifty million."""
    x = np.zeros((10_050, 4), dtype=np.float32)
    x[10_000:, 0] = np.arange(50) * 0.001
    cluster = copies([rows(x)], 0.01).cluster
    assert (cluster == 0).all()


def test_beyond_what_is_affordable_some_rows_are_searched_and_exact_copies_found_among_all(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    x[200:] = x[:200]
    monkeypatch.setattr(module, "MOST", 3 * 50)
    found = copies([rows(x)], 1e-6)
    assert (found.searched, found.different) == (50, 200)
    assert partition(found.cluster) == {frozenset({k, k + 200}) for k in range(200)}


def test_duplicates_are_chosen_as_asked():
    x = np.array([[0.0], [1.0], [0.0], [2.0], [1.0], [1.0]])
    it = rows(x, [0, 1, 1, 0, 1, 1], 10)
    assert Duplicates()(None, it).ids == (12, 14, 15)
    assert Duplicates(which="all")(None, it).ids == (10, 12, 11, 14, 15)
    assert Duplicates(which="conflicting")(None, it).ids == (10, 12)
    assert conflicting(copies([it]).cluster, it.y).tolist() == [True, False]
    with pytest.raises(BadInput, match="no rows that are copies"):
        Duplicates()(None, rows(np.arange(5.0)[:, None]))


def test_the_factor_of_lonely_rows_is_that_of_the_library_on_different_rows():
    x = np.random.default_rng(0).normal(size=(300, 3))
    x[0] = 8.0
    whole = np.concatenate([x, x[:5], x[:1]])
    found = outlying(rows(whole), 10).factor
    np.testing.assert_allclose(found[:300], -LocalOutlierFactor(10).fit(x).negative_outlier_factor_, rtol=1e-9)
    np.testing.assert_array_equal(found[300:305], found[:5])
    assert Outliers(k=3)(None, rows(whole)).ids == (0, 300, 305)  # a row and its copies are as alone as one
    with pytest.raises(BadInput, match="Ask for fewer neighbours"):
        outlying(rows(x[:10]))


def test_of_many_rows_some_are_the_neighbours_of_all(monkeypatch):
    x = np.random.default_rng(0).normal(size=(600, 2))
    x[7] = 9.0
    monkeypatch.setattr(alone, "SAMPLE", 200)
    told = outlying(rows(np.concatenate([x, x[:9]])), 10)
    assert (told.searched, told.different, len(told.factor)) == (200, 600, 609)
    found = outlying(rows(x), 10).factor
    assert found.argmax() == 7
    assert np.corrcoef(found, -LocalOutlierFactor(10).fit(x).negative_outlier_factor_)[0, 1] > 0.9


def test_whoever_helps_nobody_is_harmful_to_every_group():
    values = np.array([[-1.0, -0.2], [-5.0, 0.1], [-0.3, -0.4], [1.0, -9.0], [-0.1, -0.1]])
    scores = Scores(values, np.arange(5), ("Loss of a", "Loss of b"), "metagradient", True)
    it = rows(np.zeros((5, 1)))
    assert HelpsNobody(share=1.0)(scores, it).ids == (2, 0, 4)
    assert HelpsNobody(share=0.2)(scores, it).ids == (2,)
    with pytest.raises(BadInput, match="less than one row"):
        HelpsNobody(share=0.05)(scores, it)
    with pytest.raises(BadInput, match="There is no row"):
        HelpsNobody(share=1.0)(Scores(abs(values), np.arange(5), scores.labels, "x", True), it)
    with pytest.raises(BadInput, match="two groups"):
        HelpsNobody()(None, it)


def test_short_texts_are_counted_in_blocks_that_fit(monkeypatch):
    """Three tokens become as many numbers as there are groups of tokens: a block is bounded by what it becomes."""
    monkeypatch.setattr(represented, "BLOCK", 5 * represented.TOKENS)
    it = rows(np.arange(1, 61).reshape(20, 3))
    parts = list(represented.blocks(it))
    assert [len(part) for part in parts] == [5, 5, 5, 5]
    np.testing.assert_array_equal(np.concatenate(parts), represented.counted(it.x))
