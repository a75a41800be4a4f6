"""Intervals of calibration hold the truth: of rare classes, of models that are sure, and of those that are wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from influence.evaluation._groups import Estimates, gap
from influence.evaluation._tables import of_mean, wilson
from influence.evaluation.fairness import by_group, worst_group
from influence.groups import Groups
from influence.types import Examples
from tests.test_evaluation_intervals import SLACK, missed

RARE = np.full(50, -4.0)
SURE = np.repeat([-7.0, 7.0], 25)
MIXED = np.random.default_rng(0).normal(size=100) * 3
CASES = {
    "a rare class": (RARE, expit(RARE)),
    "a class that nearly all have": (-RARE, expit(-RARE)),
    "a rare class thought common": (RARE + 2.5, expit(RARE)),
    "a sure model that is wrong at times": (SURE, np.where(SURE > 0, 0.97, 0.001)),
    "ordinary": (MIXED / 4, expit(MIXED / 4)),
    "probabilities that explain the outcomes": (MIXED, expit(MIXED)),
    "too sure": (MIXED, expit(MIXED / 3)),
    "the other way round": (MIXED, expit(-MIXED)),
}
"""What the model says, as log-odds, and how often it is so: the truth is the mean of the one minus that of the other."""
USUAL = ("a rare class", "a sure model that is wrong at times", "too sure")


def calibration(odds: np.ndarray, y: np.ndarray, code: np.ndarray | None = None) -> Estimates:
    """By the evaluation itself, from logits."""
    place = np.zeros(len(y), dtype=int) if code is None else code
    given = Examples(np.zeros((len(y), 1)), y.astype(int), np.arange(len(y)), pd.DataFrame(index=range(len(y))), ("no", "yes"))
    of = Groups(tuple(map(str, range(place.max() + 1))), place)
    return by_group(np.stack([-odds / 2, odds / 2], 1), given, of)["calibration"]


@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.slow] * (case not in USUAL)) for case in CASES])
def test_calibration(case):
    """Rows are drawn anew with their outcomes."""
    odds, chance = CASES[case]

    def draw(rng):
        at = rng.integers(0, len(odds), len(odds)) if np.ptp(chance) else np.arange(len(odds))
        return calibration(odds[at], rng.random(len(at)) < chance[at]).intervals()[0]

    assert missed(draw, float((expit(odds) - chance).mean()), 400) <= 0.06 + 1.5 * SLACK


def test_calibration_is_no_less_sure_than_it_needs_to_be():
    """Wilson's interval of the rate alone would be twice as wide."""
    rng, widths = np.random.default_rng(3), []
    for _ in range(100):
        y = rng.random(100) < expit(MIXED)
        (low, high), plain = calibration(MIXED, y).intervals()[0], of_mean(expit(MIXED) - y)
        widths.append((high - low) / (plain[1] - plain[0]))
        assert low <= plain[0] + 1e-9
        assert high >= plain[1] - 1e-9
    assert np.mean(widths) < 1.1


@pytest.mark.parametrize(("p", "hits", "n"), [(0.04, 0, 40), (0.2, 8, 40), (1e-9, 0, 12), (0.5, 0, 10)])
def test_calibration_of_one_probability_is_wilsons(p, hits, n):
    y = np.arange(n) < hits
    low = calibration(np.full(n, logit(p)), y).intervals()[0][0]
    assert low == pytest.approx(p - wilson(hits, n)[1], abs=1e-6)
    high = calibration(np.full(n, -logit(p)), ~y).intervals()[0][1]
    assert high == pytest.approx(-low, abs=1e-6), "the other class, mirrored"


def test_rows_of_which_the_model_is_certain_do_not_hide_the_others():
    """All that can still change is a group of ten: Wilson's interval of these alone; and the other class's is the mirrored one."""
    odds = np.repeat([-20.0, -1.0], [30, 10])
    (low, high), none = calibration(odds, np.zeros(40)).intervals()[0], np.ones(40)
    assert low == pytest.approx(expit(odds).mean() - 10 * wilson(0, 10)[1] / 40, abs=1e-6)
    assert calibration(-odds, none).intervals()[0] == pytest.approx((-high, -low), abs=1e-6)


def test_a_calibrated_model_is_not_said_to_treat_a_small_group_otherwise():
    code = np.repeat([0, 1], [50, 400])
    chance = np.where(code == 0, 0.02, np.random.default_rng(0).uniform(0.3, 0.7, 450))
    of = Groups(("few", "many"), code)

    def draw(rng):
        found = calibration(logit(chance), rng.random(450) < chance, code)
        row = worst_group("calibration", of, found)
        return max(gap(found)[1][0], row["low"]), 1.0

    assert missed(draw, 0.0, 200) <= 0.06 + 1.5 * SLACK


@pytest.mark.parametrize("odds", [0.0, 800.0, -800.0])
def test_calibration_of_any_outputs_is_a_number(odds):
    for hits in (0, 1, 12):
        (low, high), value = calibration(np.full(12, odds), np.arange(12) < hits).intervals()[0], expit(odds) - hits / 12
        assert -1 <= low <= value + 1e-9
        assert value - 1e-9 <= high <= 1
        assert high - low > 0.2
