"""How alike two models see rows, and how far rows moved: closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ortho_group

from influence.evaluation.cka import cka, kernel
from influence.evaluation.moved import distances, turned


def features(n=80, d=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)) * np.arange(1, d + 1)


def plain(first, second):
    """The unbiased estimate as Song et al. write it (eq. 5), term by term."""

    def hsic(k, m):
        n, ones = len(k), np.ones(len(k))
        k, m = (a - np.diag(np.diag(a)) for a in (k, m))
        return (np.trace(k @ m) + (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2)) - 2 / (n - 2) * ones @ k @ m @ ones) / (
            n * (n - 3)
        )

    k, m = first @ first.T, second @ second.T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def test_turned_scaled_and_shifted_features_are_the_same():
    x = features()
    y = 3.7 * x @ ortho_group.rvs(6, random_state=0) + 5
    found, (low, high) = cka(kernel(x), kernel(y))
    assert found == pytest.approx(1)
    assert low == pytest.approx(1) == high


def test_a_linear_map_that_is_no_rotation_is_not_the_same():
    x = features()
    assert cka(kernel(x), kernel(x / np.arange(1, 7) ** 2))[0] < 0.9


def test_it_is_the_estimate_as_it_is_written():
    x, y = features(), features(seed=1) + features()[:, ::-1]
    assert cka(kernel(x), kernel(y))[0] == pytest.approx(plain(x, y), rel=1e-9)


def test_unrelated_features_are_about_0_however_many_they_are():
    rng = np.random.default_rng(0)
    found = [cka(kernel(rng.normal(size=(40, 400))), kernel(rng.normal(size=(40, 400))))[0] for _ in range(20)]
    assert abs(np.mean(found)) < 0.02  # the plain estimate gives about 0.9 here


def test_the_interval_is_as_wide_as_samples_differ():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 4)) * [3, 2, 1, 1]
    y = x + 2 * rng.normal(size=x.shape)
    truth, held = cka(kernel(x[:4000]), kernel(y[:4000]))[0], 0
    for _ in range(200):
        at = rng.choice(len(x), 150, replace=False)
        _, (low, high) = cka(kernel(x[at]), kernel(y[at]))
        held += low <= truth <= high
    assert 0.89 <= held / 200 <= 0.99


def test_leaving_a_row_out_is_leaving_it_out():
    from influence.evaluation.cka import _hsic

    x, y = features(20), features(20, seed=2)
    _, without = _hsic(kernel(x), kernel(y))
    k, m = (np.delete(np.delete(kernel(a), 3, 0), 3, 1) for a in (x, y))
    assert without[3] == pytest.approx(_hsic(k, m)[0])


def test_too_few_rows_and_rows_seen_alike_say_nothing():
    assert np.isnan(cka(kernel(features(9)), kernel(features(9)))[0])
    assert np.isnan(cka(kernel(features()), kernel(np.ones((80, 3))))[0])


def test_layers_of_very_different_scale_are_compared_all_the_same():
    x = features()
    y = x + np.random.default_rng(3).normal(size=x.shape)
    same = cka(kernel(x), kernel(y))[0]
    assert same < 0.99
    for scale in (1e-4, 1e4):
        assert cka(kernel(x), kernel(scale * y))[0] == pytest.approx(same, rel=1e-6)


def test_a_turned_layer_has_not_moved_and_a_moved_row_has():
    x = features()
    y = x @ ortho_group.rvs(6, random_state=1) + 2
    steady = np.arange(80) > 4
    one, other = turned(x, y, steady)
    assert distances(one, other, steady).max() == pytest.approx(0, abs=1e-8)
    y[0] += 10
    one, other = turned(x, y, steady)
    far = distances(one, other, steady)
    centred = x - x[steady].mean(0)
    assert far[0] == pytest.approx(np.sqrt(600) / np.sqrt(np.square(centred[steady]).sum(1).mean()))
    assert far[1:].max() == pytest.approx(0, abs=1e-8)
    plane = np.linalg.svd(centred[steady], full_matrices=False)[2][:2]
    assert np.abs(one[:, :2]) == pytest.approx(np.abs(centred @ plane.T))


def test_layers_of_other_widths_can_be_laid_on_each_other():
    x = features()
    wide = np.pad(x, ((0, 0), (0, 3)))
    steady = np.ones(80, dtype=bool)
    assert distances(*turned(x, wide, steady), steady).max() == pytest.approx(0, abs=1e-8)
