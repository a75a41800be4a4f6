"""Budgets: the linear programme against brute force and HiGHS on all rows, rounding, and the way from targets to scores."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

from influence.actions import _budgeted
from influence.actions import budget as action
from influence.errors import BadInput
from influence.finders._programme import Programme, frontier, furthest, smallest, whole
from influence.finders.budget import Budget
from influence.types import Examples, Scores


def drawn(seed: int, n: int, wanted: float = 0.5, allowed: float = 0.05, most: float = 1.0, part: float = 1.0) -> Programme:
    """A programme whose gain is bought with cost; `wanted` and `allowed` as shares of what all good rows give and cost."""
    rng = np.random.default_rng(seed)
    gain = rng.normal(size=n)
    cost = 0.7 * gain + rng.normal(size=n)
    return Programme(gain, cost, wanted * gain[gain > 0].sum(), allowed * cost[cost > 0].sum(), np.floor(most * n), part)


def highs(it: Programme) -> float | None:
    """The smallest sum by HiGHS on all rows at once."""
    rows = np.stack([-it.gain, it.cost, np.ones(len(it.gain))])
    found = linprog(np.ones(len(it.gain)), A_ub=rows, b_ub=[-it.wanted, it.allowed, it.most], bounds=(0, it.part), method="highs")
    return found.fun if found.status == 0 else None


def brute(it: Programme) -> float | None:
    """The fewest whole rows, by trying all sets."""
    sets = np.array(list(product((0.0, 1.0), repeat=len(it.gain))))
    good = (sets @ it.gain >= it.wanted) & (sets @ it.cost <= it.allowed) & (sets.sum(1) <= it.most)
    return float(sets[good].sum(1).min()) if good.any() else None


# ---- the programme


@pytest.mark.parametrize("part", [1.0, 0.4])
@pytest.mark.parametrize("seed", range(12))
def test_the_smallest_sum_is_that_of_highs_on_all_rows(seed, part):
    it = drawn(seed, 3000, wanted=0.1 + 0.07 * seed, allowed=0.01 * (seed % 4), most=0.3, part=part)
    x, truth = smallest(it), highs(it)
    assert (x is None) == (truth is None)
    if x is not None:
        assert it.met(x)
        assert x.max() <= part + 1e-9
        assert x.sum() == pytest.approx(truth, rel=1e-6)


def test_both_ends_of_the_cases_above_were_met():
    found = [smallest(drawn(seed, 3000, wanted=0.1 + 0.07 * seed, allowed=0.01 * (seed % 4), most=0.3)) is None for seed in range(12)]
    assert 2 <= sum(found) <= 10


@pytest.mark.parametrize("seed", range(40))
def test_whole_rows_are_the_fewest_by_brute_force(seed):
    it = drawn(seed, 12, wanted=0.25 + 0.02 * seed, allowed=0.05)
    found, truth = whole(it), brute(it)
    assert (found is None) == (truth is None)
    if found is not None:
        row, bound = found
        assert set(np.unique(row)) <= {0.0, 1.0}
        assert it.met(row)
        assert bound <= row.sum() == truth


def test_brute_force_met_both_ends():
    found = [brute(drawn(seed, 12, wanted=0.25 + 0.02 * seed, allowed=0.05)) is None for seed in range(40)]
    assert 5 <= sum(found) <= 35


@pytest.mark.parametrize("seed", range(6))
def test_whole_rows_of_many_meet_all_and_are_at_most_one_more_than_the_bound(seed):
    it = drawn(seed, 3000, wanted=0.1 + 0.05 * seed, allowed=0.01 * (seed % 4), most=0.4)
    row, bound = whole(it)
    assert it.met(row)
    assert bound - 1 < highs(it) <= bound <= row.sum() <= bound + 1


def test_a_corner_has_no_more_fractions_than_constraints():
    for seed in range(8):
        x = smallest(drawn(seed, 2000, wanted=0.3, allowed=0.02))
        assert x is not None
        assert ((x > 1e-7) & (x < 1 - 1e-7)).sum() <= 3


@pytest.mark.parametrize("seed", range(6))
def test_the_furthest_is_that_of_highs(seed):
    it = drawn(seed, 1500, allowed=0.02 * seed, most=0.1)
    truth = linprog(-it.gain, A_ub=np.stack([it.cost, np.ones(1500)]), b_ub=[it.allowed, it.most], bounds=(0, 1), method="highs")
    x = furthest(it.gain, it.cost, it.allowed, it.most)
    assert it.gain @ x == pytest.approx(-truth.fun, rel=1e-6)
    assert it.cost @ x <= it.allowed + 1e-7 * abs(it.cost).sum()
    assert x.sum() <= it.most + 1e-7
    assert furthest(it.gain, it.cost, -1e9, it.most) is None


def test_rows_that_are_only_good_for_accuracy_buy_room():
    it = Programme(np.array([1.0, 1.0, 0.0]), np.array([1.0, 2.0, -2.0]), 2.0, 1.0, 3)
    assert whole(it)[0].tolist() == [1.0, 1.0, 1.0]


def test_a_loss_beyond_all_rows_is_no_limit():
    it = drawn(3, 500, wanted=0.3)
    free = Programme(it.gain, it.cost, it.wanted, 1e12, it.most)
    order = np.cumsum(np.sort(it.gain)[::-1])
    assert whole(free)[0].sum() == 1 + np.searchsorted(order, it.wanted)


def test_the_frontier_holds_what_it_allows_and_grows():
    it, ks = drawn(1, 400), np.array([1, 5, 20, 80])
    points = frontier(it.gain, it.cost, ks, np.array([0.0, 2.0, np.inf]))
    assert (np.diff(points[:, :, 0], axis=1) >= -1e-12).all(), "more rows do no less"
    assert (np.diff(points[:, :, 0], axis=0) >= -1e-12).all(), "a larger loss does no less"
    assert (points[0, :, 1] <= 0).all()
    assert (points[1, :, 1] <= 2).all()
    assert points[2, :, 0] == pytest.approx(np.cumsum(np.sort(it.gain)[::-1])[ks - 1])
    for place, k in ((2, 20), (3, 80)):
        best = furthest(it.gain, it.cost, 2.0, k)
        assert 0.8 * (it.gain @ best) <= points[1, place, 0] <= it.gain @ best + 1e-9


def test_the_frontier_of_parts_of_rows_is_of_sets_that_the_programme_can_have():
    it, ks = drawn(1, 400), np.array([1, 5, 20])
    points = frontier(it.gain, it.cost, ks, np.array([np.inf]), part=0.25)
    gains = np.sort(it.gain)[::-1]
    assert points[0, :, 0] == pytest.approx([0.25 * gains[: 4 * k].sum() for k in ks])
    third = frontier(it.gain, it.cost, ks, np.array([np.inf]), part=0.3)
    by_hand = [0.3 * gains[: int(k / 0.3)].sum() + (k - 0.3 * int(k / 0.3)) * gains[int(k / 0.3)] for k in ks]
    assert third[0, :, 0] == pytest.approx(by_hand)
    for k, reached in zip(ks, points[0, :, 0], strict=True):
        assert reached <= it.gain @ furthest(it.gain, it.cost, np.inf, k, 0.25) + 1e-9


def test_the_finder_says_what_it_cannot():
    scores = Scores(np.array([[-1.0], [2.0]]), np.array([7, 8]), ("Gap",), "metagradient", True)
    assert Budget(change=-0.5, most=1.0)(scores, two_rows()).ids == (7,)
    with pytest.raises(BadInput, match="Ask for less"):
        Budget(change=-3.0, most=1.0)(scores, two_rows())
    with pytest.raises(BadInput, match="other than 0"):
        Budget(change=0.0)(scores, two_rows())
    found = Budget(change=-0.5, most=1.0, mode="reweight")
    assert found.taken(scores)[0] == pytest.approx([0.5, 0.0])
    assert found(scores, two_rows()).action == "weight"
    assert Budget(change=-0.5, most=1.0, mode="reweight", part=0.4).taken(scores) is None


def two_rows():

    return Examples(np.zeros((2, 1), dtype=np.float32), np.zeros(2), np.array([7, 8]), pd.DataFrame({"a": [1, 2]}))


# ---- from targets to scores


def note(better: str = "lower", label: str = "Equal-opportunity gap by sex (a - b)", soft: float = 1.2, hard: float = 0.8) -> dict:
    fits = {kind: {"slope": s, "slope_sd": 0.1, "sigma": 0.1, "t": 2.0, "n": 20} for kind, s in (("value", soft), ("measured", hard))}
    spare = {kind: {"slope": 2.0, "slope_sd": 0.1, "sigma": 0.1, "t": 2.0, "n": 20} for kind in ("value", "measured")}
    return {
        "question": label, "accuracy": "Smooth accuracy", "labels": [label, "Smooth accuracy"],
        "better": {label: better, "Smooth accuracy": "higher"}, "queries": {label: {"name": "equal_opportunity_gap"}},
        "measured_labels": {label: "The gap", "Smooth accuracy": "Accuracy"},
        "before": {label: {"value": 0.1, "measured": 0.12}, "Smooth accuracy": {"value": 0.8, "measured": 0.8}},
        "calibration": {label: fits, "Smooth accuracy": spare}, "units": [0.1, 0.1],
    }  # fmt: skip


def test_a_target_is_reached_by_what_is_wanted_for_it():
    it = note()
    change = _budgeted.wanted(it, 0.06)
    assert change == pytest.approx(-0.06 / (1.2 * 0.8))
    assert action.level(it, np.array([[change, 0.0]]), it["question"])[0][0] == pytest.approx(0.06)


@pytest.mark.parametrize(
    ("target", "given", "told"),
    [
        (float("nan"), {}, "must be a number"), (-0.1, {}, "lies between 0 and"), (0.12, {}, "a lower target"), (0.2, {}, "a lower target"),
        (0.05, {"better": "higher"}, "a higher target"), (0.06, {"hard": -0.2}, "not bear out"), (0.06, {"soft": 0.0}, "not bear out"),
        (0.02, {}, "is 0.040 where that is 0"),
    ],
)  # fmt: skip
def test_targets_that_make_no_sense_are_refused(target, given, told):
    with pytest.raises(BadInput, match=told):
        _budgeted.wanted(note(**given), target)


def test_the_price_of_accuracy_is_that_of_the_retrainings():
    it = note()
    assert _budgeted.price(it) == (4.0, True)
    it["calibration"]["Smooth accuracy"]["measured"]["slope_sd"] = 5.0
    assert _budgeted.price(it) == (1.0, False)
    it["calibration"]["Smooth accuracy"]["measured"]["slope"] = -1.0
    assert _budgeted.price(it) == (1.0, False)


def test_out_of_reach_names_a_loss_at_which_it_is_within():
    it = note()
    scores = Scores(np.array([[-0.04, -0.01], [-0.04, -0.02], [0.1, 0.0]]), np.arange(3), tuple(it["labels"]), "metagradient", True)
    finder = Budget(change=_budgeted.wanted(it, 0.06), beside="Smooth accuracy", allowed=0.01 / 4, most=1.0)
    told = action._out_of_reach(it, finder, scores, 0.06, 0.01)
    needed = 4 * (0.01 + 0.02 * (0.0625 - 0.04) / 0.04)
    assert f"it needs accuracy to fall by {needed:.3f}" in told
    few = Budget(change=-5.0, beside="Smooth accuracy", allowed=0.01, most=1.0)
    assert "at no loss of accuracy is it within reach" in action._out_of_reach(it, few, scores, 0.06, 0.01)
