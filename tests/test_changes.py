"""Changes from one model to another on the same rows: values in closed form, and how often their intervals hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from influence.evaluation.changes import MINUS, by_classes, by_groups, difference, matched, overall
from influence.evaluation.fairness import Fairness
from influence.evaluation.utility import Utility
from influence.groups import groups_of
from influence.types import Examples


def rows(y, classes=("no", "yes"), **columns) -> Examples:
    y = np.asarray(y)
    return Examples(np.zeros((len(y), 1)), y, np.arange(len(y)), pd.DataFrame(columns, index=range(len(y))), classes)


def made(n: int, seed: int, groups: int = 3, classes: int = 2):
    """Two models' logits that mostly agree, on rows of several groups."""
    rng = np.random.default_rng(seed)
    examples = rows(
        rng.integers(0, classes, n), tuple(f"c{k}" for k in range(classes)), side=rng.choice([f"g{k}" for k in range(groups)], n)
    )
    before = rng.normal(size=(n, classes)) + 2 * np.eye(classes)[examples.y]
    return before, before + 0.4 * rng.normal(size=before.shape), examples


def test_matched_rates_are_agresti_and_mins():
    before = np.array([1] * 50 + [1] * 12 + [0] * 5 + [0] * 33, dtype=bool)
    after = np.array([1] * 50 + [0] * 12 + [1] * 5 + [0] * 33, dtype=bool)
    found = matched(before, after, np.zeros(100, dtype=int), 1)
    assert found.values[0] == pytest.approx((5 - 12) / 100)
    low, high = found.intervals()[0]
    up, down, n = 5.5, 12.5, 102
    half = 1.959964 * np.sqrt(up + down - (up - down) ** 2 / n) / n
    assert (low, high) == pytest.approx(((up - down) / n - half, (up - down) / n + half), abs=1e-6)
    mcnemar = stats.binomtest(5, 17).pvalue  # exact: no clear change either
    assert mcnemar > 0.05
    assert low < 0 < high


def test_where_nothing_changed_the_interval_is_not_nothing():
    same = np.ones(40, dtype=bool)
    low, high = matched(same, same, np.zeros(40, dtype=int), 1).intervals()[0]
    assert low < 0 < high


@pytest.mark.parametrize("classes", [2, 4])
def test_changes_are_differences_of_the_measures_and_tell_what_unpaired_intervals_cannot(classes):
    before, after, examples = made(900, 1, classes=classes)
    table = overall(before, after, examples).set_index("metric")
    old, new = (Utility()(out, examples).set_index("metric") for out in (before, after))
    assert set(table.index) == set(old.index)
    for metric, row in table.iterrows():
        assert row["before"] == pytest.approx(old.loc[metric, "value"])
        assert row["change"] == pytest.approx(new.loc[metric, "value"] - old.loc[metric, "value"])
        assert row["low"] <= row["change"] <= row["high"]
    unpaired = old["high"] - old["low"]
    assert (table["high"] - table["low"] < unpaired).all()


def test_changes_of_a_number_are_differences_of_the_measures():
    rng = np.random.default_rng(0)
    examples = rows(rng.normal(size=300).astype(np.float32), ())
    before = (examples.y + rng.normal(size=300))[:, None]
    after = before * 0.9
    table = overall(before, after, examples).set_index("metric")
    old, new = (Utility()(out, examples).set_index("metric")["value"] for out in (before, after))
    assert dict(table["change"]) == pytest.approx(dict(new - old))
    for metric in ("rmse", "r2"):  # the delta method beside a bootstrap of the same rows for both
        drawn = []
        for _ in range(600):
            at = rng.integers(0, 300, 300)
            some = rows(examples.y[at], ())
            drawn.append(np.subtract(*(Utility()(out[at], some).set_index("metric").loc[metric, "value"] for out in (after, before))))
        assert (table.loc[metric, "high"] - table.loc[metric, "low"]) == pytest.approx(2 * 1.96 * np.std(drawn), rel=0.15)


def test_gaps_follow_the_pair_that_is_furthest_apart_before():
    before, after, examples = made(900, 3)
    groups = groups_of(examples, "side")
    table = by_groups(before, after, examples, groups)
    fair = [Fairness("side")(out, examples).set_index(["metric", "group"])["value"] for out in (before, after)]
    gap = table.set_index("metric").loc["demographic_parity_gap"]
    rates = [f["selection_rate"] for f in fair]
    top, bottom = rates[0].idxmax(), rates[0].idxmin()
    assert gap["pair"] == f"{top} {MINUS} {bottom}"
    assert gap["before"] == pytest.approx(fair[0]["demographic_parity_gap", ""])
    assert gap["change"] == pytest.approx((rates[1][top] - rates[1][bottom]) - gap["before"])
    assert gap["n"] == examples.columns["side"].isin([top, bottom]).sum()
    odds = table.set_index("metric").loc["equalized_odds_gap"]
    assert odds["before"] == pytest.approx(fair[0]["equalized_odds_gap", ""])
    worst = table.set_index("metric").loc["worst_group_loss"]
    assert worst["pair"] == fair[0]["loss"].idxmax()
    each = table[table["group"] != ""]
    for row in each.itertuples():
        assert row.change == pytest.approx(fair[1][row.metric, row.group] - fair[0][row.metric, row.group], abs=1e-6)


def test_two_groups_that_are_equal_are_still_two():
    examples = rows([0, 1] * 20, side=["a"] * 20 + ["b"] * 20)
    logits = np.eye(2)[examples.y]
    gap = by_groups(logits, logits, examples, groups_of(examples, "side")).set_index("metric").loc["demographic_parity_gap"]
    assert sorted(gap["pair"].split(f" {MINUS} ")) == ["a", "b"]
    assert gap["change"] == 0
    assert gap["low"] < 0 < gap["high"]


def test_too_few_rows_have_no_interval():
    examples = rows([0, 1] * 4, side=["a", "b"] * 4)
    logits = np.eye(2)[examples.y]
    assert overall(logits, logits, examples)["low"].isna().all()
    assert by_groups(logits, logits, examples, groups_of(examples, "side"))["low"].isna().all()


def test_recall_by_class_changes_as_hits_do():
    before, after, examples = made(400, 5, classes=4)
    table = by_classes(before, after, examples).set_index("group")
    for k, name in enumerate(examples.classes):
        own = examples.y == k
        assert table.loc[name, "change"] == pytest.approx((after[own].argmax(1) == k).mean() - (before[own].argmax(1) == k).mean())


@pytest.mark.slow
def test_intervals_hold_as_often_as_they_say():
    """1,500 draws of 300 rows from a population: the change of a rate, of a gap of rates, and of the area under the curve."""
    rng = np.random.default_rng(0)
    n, big = 300, 200_000
    group = rng.integers(0, 2, big)
    y = rng.integers(0, 2, big)
    score = rng.normal(size=big) + 1.2 * y - 0.6 * group
    moved = score + 0.5 * group + 0.5 * rng.normal(size=big)
    hits = [(s > 0.5) == (y == 1) for s in (score, moved)]
    truth = [float(hits[1][group == g].mean() - hits[0][group == g].mean()) for g in (0, 1)]
    areas = [stats.mannwhitneyu(s[y == 1][:20000], s[y == 0][:20000]).statistic / 20000**2 for s in (score, moved)]
    held = np.zeros(3)
    for _ in range(1500):
        at = rng.integers(0, big, n)
        found = matched(hits[0][at], hits[1][at], group[at], 2)
        low, high = found.intervals()[0]
        held[0] += low <= truth[0] <= high
        _, (low, high) = difference(found, 1, 0)
        held[1] += low <= truth[1] - truth[0] <= high
        logits = [np.column_stack([np.zeros(n), s[at]]) for s in (score, moved)]
        auc = overall(*logits, rows(y[at])).set_index("metric").loc["auc"]
        held[2] += auc["low"] <= areas[1] - areas[0] <= auc["high"]
    assert (np.abs(held / 1500 - 0.95) < 0.02).all(), held / 1500


def test_groups_that_were_picked_because_they_look_worst_are_not_called_better_by_chance():
    """Six groups that do not differ, and a second model that is as good in each: 250 draws of 60 rows a group."""
    rng = np.random.default_rng(0)
    picked = ["demographic_parity_gap", "equalized_odds_gap", "group_loss_gap", "worst_group_loss"]
    held = pd.Series(0.0, picked)
    for _ in range(250):
        y = rng.integers(0, 2, 360)
        noise = rng.normal(size=(2, 360))
        scores = 1.5 * y - 0.75 + np.array([noise[0], 0.6 * noise[0] + 0.8 * noise[1]])
        examples = rows(y, side=[f"g{k % 6}" for k in range(360)])
        logits = [np.column_stack([np.zeros(360), s]) for s in scores]
        found = by_groups(*logits, examples, groups_of(examples, "side")).set_index("metric").loc[picked]
        held += ((found["low"] <= 0) & (found["high"] >= 0)).astype(float)
    assert (held / 250 > 0.925).all(), held / 250
