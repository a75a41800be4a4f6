"""The tests of a method: KLOM and epsilon against what is known of them, and their level under relabelling."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from influence.registry import method_verification
from influence.verification._low_rates import enough, found_at
from influence.verification._verdict import judged, relabelled
from influence.verification.of_methods.epsilon import LARGEST, of_row
from influence.verification.of_methods.klom import LEAST, divergences, usual
from influence.verification.of_methods.u_lira import ULira, ratios

NAMES = sorted(method_verification.classes)


def normal(models: int, rows: int = 200, seed: int = 0, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, size=(models, rows))


def test_klom_of_equal_margins_is_zero_and_of_apart_ones_the_most():
    same = normal(40)
    np.testing.assert_allclose(divergences(same, same, 20), 0.0, atol=1e-12)
    apart = divergences(np.zeros((30, 5)), np.ones((30, 5)), 20)
    np.testing.assert_allclose(apart, np.log(1 / LEAST)), "11.5, as published"
    np.testing.assert_allclose(divergences(np.full((30, 5), 1e9), np.full((30, 5), 100.0), 20), 0.0, atol=1e-9), "margins are cut at 100"


def test_klom_by_hand_counts_the_largest_margin():
    own, oracles = np.array([[0.0], [0.9], [1.0], [1.0]]), np.array([[0.0], [0.1], [1.0], [0.2]])
    # Two bins: own 1/4 and 3/4, oracles 3/4 and 1/4. Left out, as in some public code, the largest would turn this over.
    expected = 0.25 * np.log(0.25 / 0.75) + 0.75 * np.log(0.75 / 0.25)
    assert divergences(own, oracles, 2)[0] == pytest.approx(expected)


@pytest.mark.parametrize(("models", "bins", "mean", "top"), [(100, 20, 0.33, 0.65), (50, 20, 0.85, 1.67), (20, 5, 0.44, 1.5)])
def test_klom_of_models_that_are_alike_is_what_chance_makes_of_it(models, bins, mean, top):
    """The floor that was measured for equal normal margins."""
    found = divergences(normal(models, 4000), normal(models, 4000, seed=1), bins)
    assert found.mean() == pytest.approx(mean, rel=0.1)
    assert np.quantile(found, 0.95) == pytest.approx(top, rel=0.15)


def test_bins_follow_the_number_of_models():
    assert (usual(50, 64), usual(49, 64), usual(24, 24)) == (20, 5, 5)


def test_epsilon_takes_the_better_of_both_bounds_by_hand():
    # At or below 0: 3 of 4 that forgot, 1 of 4 oracles: f = 1/4, m = 1/4. No other interval shows more.
    own, oracles = np.array([0.0, -0.1, -0.2, 3.0]), np.array([-0.15, 1.0, 2.0, 4.0])
    every = []
    values = np.sort(np.r_[own, oracles])
    for low in [-np.inf, *values]:
        for high in values:
            hit, alarm = ((part > low) & (part <= high) for part in (own, oracles))
            for f, m in ((alarm.mean(), 1 - hit.mean()), (1 - alarm.mean(), hit.mean())):
                if f > 0 and m > 0:
                    bounds = [np.log(a) for a in ((1 - 1e-5 - f) / m, (1 - 1e-5 - m) / f) if a > 0]
                    every.append(max(bounds, default=0.0))
    assert of_row(own, oracles, 1e-5) == pytest.approx(max(every))
    assert of_row(own, oracles, 1e-5) > np.log(2.9)


def test_epsilon_ends():
    assert of_row(np.zeros(5), np.ones(5), 1e-5) == LARGEST
    assert of_row(np.zeros(5), np.zeros(5), 1e-5) == 0.0
    assert of_row(np.r_[0.0, 1.0], np.r_[0.0, 1.0, 2.0], 1e-5) < LARGEST, "a rule that is right of one kind only claims nothing"


@pytest.mark.parametrize("apart", [0.0, 1.0, 2.0])
def test_u_lira_of_normal_margins_is_right_as_often_as_the_likelihood_allows(apart):
    """Of two normal distributions so many standard deviations apart: Phi(apart / 2) (Carlini et al., arXiv:2112.03570)."""
    own, oracles = normal(2400, 100, mean=apart), normal(2400, 100, seed=1)
    assert ULira()(own, oracles) == pytest.approx(norm.cdf(apart / 2), abs=0.012)
    found = ULira().at_rates(own, oracles)
    for rate, share in zip((0.01, 0.001), found, strict=True):
        assert share == pytest.approx(norm.cdf(norm.ppf(rate) + apart), abs=0.02)


def test_u_lira_sees_spread_and_leaves_each_model_out_of_its_own_fit():
    wide = np.random.default_rng(0).normal(0, 3, (60, 300))
    assert ULira()(wide, normal(60, 300, seed=1)) > 0.65, "same mean, other spread"
    own, others = normal(5, 3, mean=1.0), normal(6, 3, seed=1)
    told = ratios(own, others)
    for j in range(5):
        left = np.delete(own, j, 0)
        expected = norm.logpdf(own[j], left.mean(0), left.std(0, ddof=1)) - norm.logpdf(own[j], others.mean(0), others.std(0, ddof=1))
        np.testing.assert_allclose(told[0][j], expected, rtol=1e-9)
    for k in range(6):
        left = np.delete(others, k, 0)
        expected = norm.logpdf(others[k], own.mean(0), own.std(0, ddof=1)) - norm.logpdf(others[k], left.mean(0), left.std(0, ddof=1))
        np.testing.assert_allclose(told[1][k], expected, rtol=1e-9)


def test_low_rates_by_hand_and_too_few_to_say():
    others = np.arange(1000.0)
    members = np.r_[np.full(3, 989.0), np.full(7, 989.5)]
    assert found_at(members, others, 0.01) == pytest.approx(0.7), "above 989 lie ten of a thousand; equal to it is not above"
    assert (others > 989.0).mean() == 0.01
    assert np.isnan(found_at(members, others[:999], 0.01))
    assert np.isnan(found_at(members, others, 0.001))
    assert (enough(1000, 0.01), enough(10_000, 0.001), enough(9_999, 0.001)) == (True, True, False)
    assert found_at(np.zeros(5), np.zeros(2000), 0.01) == 0.0, "what ties is not found"


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "epsilon")) for name in NAMES])
def test_a_shift_is_found_and_alike_models_are_not(name):
    test = method_verification.make(name)
    apart = judged(relabelled(test, normal(12, 30, mean=3.0), normal(24, 30, seed=1), 99), "high", 30)
    assert apart.verdict == "outside"
    assert apart.value > apart.null_high
    alarms = [judged(relabelled(test, normal(8, 6, seed=k), normal(20, 6, seed=k + 500), 39), "high", 6).chance for k in range(60)]
    assert sum(chance <= 0.05 for chance in alarms) <= 7


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_is(name):
    cls = method_verification.classes[name]
    assert cls.side == "high"
    assert cls.label
    assert method_verification.explain(name).endswith(".")
