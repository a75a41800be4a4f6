"""95 % intervals hold the truth 95 times of 100: simulations with known truths, also where a plain bootstrap never does."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from influence.evaluation._groups import critical, gap, means, rates, worst
from influence.evaluation._tables import of_mean, wilson
from influence.evaluation.fidelity import lds
from influence.evaluation.utility import area
from influence.registry import evaluation
from influence.types import Examples

REPEATS = 800
SLACK = 3 * np.sqrt(0.05 * 0.95 / REPEATS)
"""Three standard errors of a share of 95 %."""


def missed(draw: Callable[[np.random.Generator], tuple[float, float]], truth: float, repeats: int = REPEATS) -> float:
    """Share of repetitions whose interval does not hold the truth."""
    rng = np.random.default_rng(12)
    found = np.array([draw(rng) for _ in range(repeats)])
    assert np.isfinite(found).all()
    return float(((found[:, 0] > truth + 1e-12) | (found[:, 1] < truth - 1e-12)).mean())


@pytest.mark.parametrize("n", [15, 200])
@pytest.mark.parametrize(
    "truth",
    [(0.5, 0.5), (0.1, 0.1), (0.5, 0.55), (0.9, 0.7), (0.99, 0.7), (0.5, 0.5, 0.5), (0.3, 0.4, 0.5, 0.6, 0.7), (0.5, 0.5, 0.8, 0.8)],
)
def test_gaps_of_rates(truth, n):
    p, counts = np.array(truth), np.full(len(truth), n)
    assert missed(lambda rng: gap(rates(rng.binomial(counts, p), counts))[1], float(np.ptp(p))) <= 0.05 + SLACK


def test_gaps_of_groups_of_very_different_size():
    p, counts = np.array([0.5, 0.6, 0.4]), np.array([2000, 15, 2000])
    assert missed(lambda rng: gap(rates(rng.binomial(counts, p), counts))[1], 0.2) <= 0.05 + SLACK


def test_intervals_of_two_groups_are_as_narrow_as_they_can_be():
    """Not only held, but missed as often as promised: at equal groups, and far from them."""
    counts = np.array([1000, 1000])
    for p in (np.array([0.5, 0.5]), np.array([0.7, 0.3])):
        assert missed(lambda rng, p=p: gap(rates(rng.binomial(counts, p), counts))[1], float(np.ptp(p))) >= 0.05 - SLACK


def test_a_plain_bootstrap_would_never_hold_equal_groups():
    rng, never = np.random.default_rng(0), 0
    for _ in range(100):
        hits = rng.binomial(200, 0.5, 3)
        draws = np.ptp(rng.binomial(200, hits / 200, (500, 3)), axis=1) / 200
        never += np.quantile(draws, 0.025) <= 0
    assert never <= 5


@pytest.mark.parametrize(("hit", "alarm"), [((0.8, 0.8), (0.1, 0.1)), ((0.8, 0.6), (0.3, 0.1)), ((0.8, 0.7, 0.7), (0.1, 0.1, 0.1))])
def test_equalised_odds(hit, alarm):
    n = np.full(len(hit), 100)

    def draw(rng):
        return gap(rates(rng.binomial(n, hit), n), rates(rng.binomial(n, alarm), n))[1]

    assert missed(draw, max(np.ptp(hit), np.ptp(alarm))) <= 0.05 + SLACK


@pytest.mark.parametrize(
    "scale", [(1, 1.5), *(pytest.param(scale, marks=pytest.mark.slow) for scale in [(1, 1), (1, 1, 1, 1), (1, 1.2, 2)])]
)
def test_gaps_of_means_and_worst_group(scale):
    """Losses are skewed: exponential ones here."""
    code = np.repeat(np.arange(len(scale)), 120)

    def both(rng):
        found = means(rng.exponential(size=len(code)) * np.array(scale)[code], code, len(scale), least=0.0)
        return (*gap(found)[1], *worst(found)[1])

    assert missed(lambda rng: both(rng)[:2], float(np.ptp(scale))) <= 0.06 + SLACK
    assert missed(lambda rng: both(rng)[2:], float(max(scale))) <= 0.06 + SLACK


def test_pairs_of_groups_hold_at_once():
    assert critical(2) == pytest.approx(stats.norm.ppf(0.975))
    draws = np.ptp(np.random.default_rng(0).normal(size=(200_000, 5)), axis=1) / np.sqrt(2)
    assert (draws > critical(5)).mean() == pytest.approx(0.05, abs=0.002)
    assert (draws.reshape(2, -1) > critical(5, 2)).any(0).mean() == pytest.approx(0.05, abs=0.002)


def test_the_worst_of_many_equal_groups_is_not_mistaken_for_a_bad_one():
    code = np.repeat(np.arange(10), 40)
    assert missed(lambda rng: worst(means(rng.normal(size=400), code, 10))[1], 0.0) <= 0.05 + SLACK


def test_many_groups_are_compared_as_few_are_in_little_memory():
    counts = np.random.default_rng(0).integers(10, 60, 3000)
    found = rates(np.random.default_rng(1).binomial(counts, 0.5), counts)
    tracemalloc.start()
    value, (low, high), n = gap(found)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6, "a matrix of all pairs takes 72 MB"
    assert (value, n) == (np.ptp(found.values), counts.sum())
    lower, upper = found.limits(critical(3000))[0], found.limits(1.959963984540054)[1]
    down, _ = found.limits(1.959963984540054)
    _, up = found.limits(critical(3000))
    pairs = [  # of each group with all others, in closed form
        (
            (v - found.values - np.hypot(v - lower[at], up - found.values))[np.arange(3000) != at].max(),
            (v - found.values + np.hypot(upper[at] - v, found.values - down))[np.arange(3000) != at].max(),
        )
        for at, v in enumerate(found.values)
    ]
    assert (low, high) == pytest.approx((max(0.0, max(a for a, _ in pairs)), max(b for _, b in pairs)))


def test_a_gap_is_never_said_to_be_negative():
    for hits in ([50, 50], [50, 51], [10, 12, 11]):
        assert gap(rates(np.array(hits), np.full(len(hits), 100)))[1][0] == 0


@pytest.mark.parametrize(("p", "n"), [(0.5, 30), (0.9, 30), (0.03, 100)])
def test_rates(p, n):
    assert missed(lambda rng: wilson(rng.binomial(n, p), n), p) <= 0.06 + SLACK


def test_means():
    assert missed(lambda rng: of_mean(rng.normal(size=12)), 0) == pytest.approx(0.05, abs=SLACK)
    assert missed(lambda rng: of_mean(rng.exponential(size=150), 0.0), 1) <= 0.06 + SLACK


@pytest.mark.parametrize(("apart", "m", "n"), [(0.0, 40, 40), (1.0, 30, 200), (2.0, 15, 15), (3.0, 200, 200)])
def test_area_under_the_curve(apart, m, n):
    truth = float(stats.norm.cdf(apart / np.sqrt(2)))
    assert missed(lambda rng: area(rng.normal(size=m) + apart, rng.normal(size=n))[1], truth) <= 0.06 + SLACK


def by_metric(y: np.ndarray, logits: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    rows = Examples(np.zeros((len(y), 1)), y, np.arange(len(y)), pd.DataFrame(index=range(len(y))), classes)
    return evaluation.make("utility")(logits, rows).set_index("metric")[["low", "high"]]


def test_balanced_accuracy():
    recall, size = np.array([0.95, 0.6, 0.99]), np.array([200, 20, 60])
    y = np.repeat(np.arange(3), size)

    def draw(rng):
        said = np.where(rng.random(len(y)) < recall[y], y, (y + 1) % 3)
        return tuple(by_metric(y, np.eye(3)[said], ("a", "b", "c")).loc["balanced_accuracy"])

    assert missed(draw, float(recall.mean()), 400) <= 0.06 + SLACK


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_errors_of_numbers(noise):
    """y and its prediction vary together: R squared is 1 - noise² / (1 + noise²) of independent normal parts."""

    def draw(rng):
        signal = rng.normal(size=150)
        y = signal + noise * rng.normal(size=150)
        return np.ravel(by_metric(y, signal[:, None], ()).loc[["rmse", "r2"]])

    assert missed(lambda rng: draw(rng)[:2], noise, 400) <= 0.06 + SLACK
    assert missed(lambda rng: draw(rng)[2:], 1 / (1 + noise**2), 400) <= 0.07 + SLACK


@pytest.mark.parametrize("r", [0.5, *(pytest.param(r, marks=pytest.mark.slow) for r in (0.0, 0.9, 0.99))])
def test_rank_correlation(r):
    truth = float(6 / np.pi * np.arcsin(r / 2))

    def draw(rng):
        x = rng.normal(size=32)
        found = lds(x, r * x + np.sqrt(1 - r * r) * rng.normal(size=32))
        return found.low, found.high

    assert missed(draw, truth, 200) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
