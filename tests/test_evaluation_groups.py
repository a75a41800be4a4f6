"""Several columns at once, another threshold, the worst group, along a column and calibration, against other libraries and simulations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, count, false_negative_rate, false_positive_rate, selection_rate, true_positive_rate
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from influence.conditions import Condition, met
from influence.data.periods import is_dated, periods_of
from influence.data.schema import plain
from influence.evaluation._groups import means, rates
from influence.evaluation.by_class import by_class
from influence.evaluation.fairness import by_group, worst_group
from influence.evaluation.over import over
from influence.evaluation.reliability import reliability
from influence.groups import Groups, groups_of
from influence.patterns import blocks_of
from influence.registry import evaluation, queries
from influence.types import Examples
from influence.ui.thresholds import rates_at
from tests.questions import outputs, rows
from tests.test_evaluation_intervals import SLACK, missed

RATES = {
    "selection_rate": selection_rate,
    "true_positive_rate": true_positive_rate,
    "false_positive_rate": false_positive_rate,
    "false_negative_rate": false_negative_rate,
}
GAPS = {
    "demographic_parity_gap": "selection_rate",
    "equal_opportunity_gap": "true_positive_rate",
    "predictive_equality_gap": "false_positive_rate",
}


def framed(examples: Examples, said: np.ndarray, real: np.ndarray) -> MetricFrame:
    """Fairlearn's figures by sex and group."""
    features = examples.columns[["sex", "group"]].astype(object).fillna("missing")
    frame = MetricFrame(
        metrics={**RATES, "accuracy": accuracy_score, "n": count},
        y_true=real.astype(int),
        y_pred=said.astype(int),
        sensitive_features=features,
    )
    return frame


def by_two(n: int = 2500, kind: str = "binary") -> tuple[Examples, np.ndarray]:
    examples = rows(kind, n=n, sex=np.random.default_rng(5).choice(["f", "m"], n))
    return examples, outputs(examples).numpy()


@pytest.mark.parametrize(("kind", "positive"), [("binary", "yes"), ("binary", "no"), ("three", "fair")])
def test_groups_by_two_columns_are_fairlearns(kind, positive):
    examples, z = by_two(kind=kind)
    own = examples.classes.index(positive)
    table = evaluation.make("fairness", {"group": "sex & group", "positive": positive})(z, examples).set_index(["metric", "group"])
    frame = framed(examples, z.argmax(1) == own, examples.y == own)
    assert len(frame.by_group) == 8
    for metric in RATES:
        for (sex, group), value in frame.by_group[metric].items():
            assert table.loc[(metric, f"{sex} & {group}"), "value"] == pytest.approx(value)
    for (sex, group), n in frame.by_group["n"].items():
        assert table.loc[("selection_rate", f"{sex} & {group}"), "n"] == n
    if kind == "binary":
        for (sex, group), value in frame.by_group["accuracy"].items():
            assert table.loc[("accuracy", f"{sex} & {group}"), "value"] == pytest.approx(value)
    for gap, metric in GAPS.items():
        assert table.loc[(gap, ""), "value"] == pytest.approx(frame.difference()[metric])
        asked = queries.make(gap, {"group": "sex & group", "positive": positive})
        assert float(asked.measured(outputs(examples), examples)[0]) == pytest.approx(frame.difference()[metric])


def test_rates_at_another_threshold_are_fairlearns():
    examples, z = by_two()
    p = softmax(z, 1)
    for positive, cut in (("yes", 0.3), ("no", 0.8), ("yes", 0.5)):
        own = examples.classes.index(positive)
        frame = framed(examples, p[:, own] >= cut, examples.y == own)
        shown = rates_at(p[:, own], examples, "sex & group", cut, positive).set_index("sex & group")
        for metric, title in (("selection_rate", "Selection rate"), ("true_positive_rate", "True positive rate")):
            for (sex, group), value in frame.by_group[metric].items():
                assert shown.loc[f"{sex} & {group}", title].startswith(f"{100 * value:.1f}\N{NO-BREAK SPACE}%")
            assert shown.loc["largest gap", title].startswith(f"{100 * frame.difference()[metric]:.1f}\N{NO-BREAK SPACE}%")


def test_a_question_by_two_columns_keeps_its_name_and_its_bins():
    examples, z = by_two()[0], outputs(by_two()[0])
    asked = queries.make("equal_opportunity_gap", {"group": "sex&age"}).oriented(z, examples)
    assert asked.group == "sex & age"
    assert asked.edges[0] == ()
    assert len(asked.edges[1]) == 3
    few = examples.take(np.arange(200))
    assert set(asked.groups(few).names) <= set(asked.groups(examples).names), "other rows are cut at the same ages"
    assert asked.labels[0].startswith("Equal-opportunity gap by sex & age (")


# ---- The worst group


def groups(sizes) -> Groups:
    return Groups(tuple(f"g{i}" for i in range(len(sizes))), np.repeat(np.arange(len(sizes)), sizes))


@pytest.mark.parametrize(("metric", "worst"), [("true_positive_rate", 1), ("false_positive_rate", 2), ("selection_rate", 1)])
def test_the_worst_is_the_lowest_of_what_is_good_and_the_highest_of_what_is_not(metric, worst):
    hits, sizes = np.array([30, 10, 45, 9]), np.array([60, 60, 60, 9])
    row = worst_group(metric, groups(sizes), rates(hits, sizes))
    assert (row["group"], row["value"], row["n"]) == (f"g{worst}", hits[worst] / 60, 60)
    alone = binomtest(int(hits[worst]), 60).proportion_ci(method="wilson")
    assert row["low"] <= alone.low + 1e-12
    assert row["high"] >= alone.high - 1e-12
    assert row["low"] < row["value"] < row["high"]
    assert worst_group(metric, groups([9, 9]), rates(np.array([1, 2]), np.array([9, 9]))) is None


@pytest.mark.parametrize("truth", [(0.5, 0.5, 0.5, 0.5, 0.5), (0.2, 0.5, 0.6), (0.9, 0.9, 0.9)])
@pytest.mark.parametrize("metric", ["true_positive_rate", "false_positive_rate"])
def test_the_interval_of_the_worst_allows_for_having_picked_it(metric, truth):
    p, sizes = np.array(truth), np.full(len(truth), 120)

    def draw(rng):
        row = worst_group(metric, groups(sizes), rates(rng.binomial(sizes, p), sizes))
        return row["low"], row["high"]

    assert missed(draw, min(truth) if metric == "true_positive_rate" else max(truth), 400) <= 0.05 + 1.5 * SLACK


@pytest.mark.parametrize("truth", [(0.0, 0.0, 0.0), (-0.3, 0.1, 0.2), (0.1, -0.1, 0.1, -0.1)])
def test_the_interval_of_the_worst_calibration_holds_its_size(truth):
    sizes = np.full(len(truth), 80)
    where = groups(sizes)

    def draw(rng):
        row = worst_group("calibration", where, means(rng.normal(size=len(where.code)) + np.repeat(truth, sizes), where.code, len(sizes)))
        return row["low"], row["high"]

    assert missed(draw, max(map(abs, truth)), 400) <= 0.05 + 1.5 * SLACK


# ---- Along a column


@pytest.mark.parametrize("kind", ["binary", "three", "number"])
def test_along_a_column_every_cell_is_what_fairness_says_of_its_rows(kind):
    examples, z = by_two(kind=kind)
    parts, by = periods_of(examples, "age"), groups_of(examples, "group")
    found = over(z, examples, by, parts).set_index(["metric", "group", "along"]).sort_index()
    for place, part in enumerate(parts.names):
        here = parts.code == place
        table = evaluation.make("fairness", {"group": "group"})(z[here], examples.take(here)).set_index(["metric", "group"])
        for (metric, group), row in table[table.index.get_level_values(1) != ""].iterrows():
            assert found.loc[(metric, group, part), ["value", "low", "high", "n"]].tolist() == pytest.approx(
                row[["value", "low", "high", "n"]].tolist(), nan_ok=True
            )
    assert found.loc["loss" if examples.classes else "mae", "n"].sum() == len(examples)


@pytest.mark.parametrize(
    ("days", "first", "last", "count"),
    [
        (25, "2019-12-30", "2020-01-20", 4),
        (200, "2020-01", "2020-07", 7),
        (800, "2020 Q1", "2022 Q1", 9),
        (3000, "2020", "2028", 9),
        (40000, "2020s", "2120s", 11),
    ],
)
def test_dates_are_taken_together_as_their_span_asks(days, first, last, count):
    times = pd.Series(pd.date_range("2020-01-01", periods=days + 1, freq="D")[[*range(0, days, 2), days]])
    for values in (times, times.dt.strftime("%Y-%m-%d"), times.dt.strftime("%d.%m.%Y")):
        examples = rows(n=len(values) + 1, when=values.reindex(range(len(values) + 1)))
        found = periods_of(examples, "when")
        assert is_dated(examples.columns["when"])
        assert (found.names[0], found.names[-2], found.names[-1]) == (first, last, "missing")
        assert len(found.names) == count + 1
        assert found.counts()[-1] == 1
        assert found.counts().sum() == len(values) + 1
        if " Q" in first or len(first) in (4, 7):
            said = times.dt.to_period({"Q": "Q", "4": "Y", "7": "M"}["Q" if " Q" in first else str(len(first))]).value_counts(sort=False)
            assert found.counts()[:-1].tolist() == said.sort_index().tolist()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata"])
def test_times_with_a_zone_are_in_the_periods_of_their_own_clock(zone):
    times = pd.Series(pd.date_range("2020-01-01", periods=60, freq="MS", tz=zone))
    late = pd.Series(pd.to_datetime(["2024-12-31 23:59:59"]).tz_localize(zone))
    table = plain(pd.DataFrame({"when": pd.concat([times, late], ignore_index=True)}))
    found = periods_of(rows(n=61, when=table["when"]), "when")
    assert found.names == ("2020", "2021", "2022", "2023", "2024")
    assert found.counts().tolist() == [12, 12, 12, 12, 13]
    for block in blocks_of(table, "when", {}, "quarter").blocks:
        assert all(cell.startswith(block.name[:4]) for cell in table["when"][block.rows])
        assert (met(block.pattern, table) == block.rows).all()
    since = met((Condition("when", "at least", "2023-01-01"),), table)
    assert since.tolist() == [cell >= "2023" for cell in table["when"]]


def test_other_columns_are_followed_by_value_or_in_bins():
    examples = rows(n=400, year=np.random.default_rng(0).integers(2015, 2022, 400), nothing=pd.Series([None] * 400, dtype=object))
    assert periods_of(examples, "year").names == tuple(map(str, range(2015, 2022)))
    assert len(periods_of(examples, "age").names) == 8
    assert periods_of(examples, "group").names == ("a", "b", "c", "missing")
    assert periods_of(examples, "nothing").names == ("missing",)
    assert not is_dated(examples.columns["year"])
    far = rows(n=2, when=["0999-01-01", "2020-01-01"])
    assert len(periods_of(far, "when").names) <= 60


# ---- Calibration


def test_figures_by_class_are_sklearns_with_wilsons_intervals():
    examples = rows("three", n=400)
    z = outputs(examples).numpy()
    found = by_class(z, examples).set_index(["metric", "class"])
    precision, recall, _, n = precision_recall_fscore_support(examples.y, z.argmax(1))
    for at, name in enumerate(examples.classes):
        assert found.loc[("recall", name), "value"] == pytest.approx(recall[at])
        assert found.loc[("precision", name), "value"] == pytest.approx(precision[at])
        assert found.loc[("recall", name), "n"] == n[at]
        assert found.loc[("precision", name), "n"] == (z.argmax(1) == at).sum()
    row = found.loc[("precision", "fair")]
    alone = binomtest(round(row["value"] * row["n"]), int(row["n"])).proportion_ci(method="wilson")
    assert (row["low"], row["high"]) == pytest.approx((alone.low, alone.high))
    few = by_class(z[:12], examples.take(np.arange(12)))
    assert few["low"].isna().any()
    never = by_class(np.eye(3)[np.zeros(400, dtype=int)], examples).set_index(["metric", "class"]).loc[("precision", "good")]
    assert never["n"] == 0
    assert np.isnan(never["value"])


def test_reliability_is_sklearns_calibration_curve_with_wilsons_intervals():
    examples, z = by_two(n=1000)
    p, by = softmax(z, 1)[:, 1], groups_of(examples, "sex")
    found = reliability(z, examples, by, bins=5)
    for place, name in enumerate(by.names):
        here, part = by.code == place, found[found["group"] == name]
        observed, predicted = calibration_curve(examples.y[here] == 1, p[here], n_bins=5, strategy="quantile")
        assert part["n"].sum() == here.sum()
        assert np.ptp(part["n"]) <= 1
        np.testing.assert_allclose(part["value"], observed, atol=0.02)  # a row on an edge may lie on either side
        np.testing.assert_allclose(part["predicted"], predicted, atol=0.01)
        for row in part.itertuples():
            exact = binomtest(round(row.value * row.n), int(row.n)).proportion_ci(method="wilson")
            assert (row.low, row.high) == pytest.approx((exact.low, exact.high))


def test_bins_of_small_groups_are_fewer_and_ties_stay_together():
    examples = rows(n=200, tribe=np.repeat(["large", "small", "tiny"], [160, 31, 9]))
    z = outputs(examples).numpy()
    found = reliability(z, examples, groups_of(examples, "tribe"), bins=5)
    assert found.groupby("group")["n"].count().to_dict() == {"large": 5, "small": 3, "tiny": 1}
    assert found[found["group"] == "tiny"][["low", "high"]].isna().all(axis=None)
    tied = reliability(np.round(z), examples, groups_of(examples, "tribe"), bins=5)
    assert not tied.duplicated(["group", "predicted"]).any()


def test_the_calibration_of_a_group_is_predicted_minus_observed_over_its_bins():
    examples, z = by_two()
    by = groups_of(examples, "sex & group")
    table, family = reliability(z, examples, by), by_group(z, examples, by)["calibration"]
    for name, value in zip(by.names, family.values, strict=True):
        part = table[table["group"] == name]
        assert np.average(part["predicted"] - part["value"], weights=part["n"]) == pytest.approx(value)


def test_numbers_are_compared_with_their_mean():
    examples, z = by_two(kind="number")
    found = reliability(z, examples, groups_of(examples, "sex"))
    assert found["n"].sum() == len(examples)
    assert np.average(found["value"], weights=found["n"]) == pytest.approx(examples.y.mean())
    assert (found["low"] < found["value"]).all()
