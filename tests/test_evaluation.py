"""Point values of every measure against other libraries and against the queries, and the predictions that flip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, count, false_positive_rate, selection_rate, true_positive_rate
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from scipy.stats import binomtest, linregress, pearsonr, spearmanr
from scipy.stats import t as student
from sklearn import metrics

from influence.errors import BadInput
from influence.evaluation.fidelity import lds, noise_ceiling, rank_correlation
from influence.evaluation.flips import flips
from influence.evaluation.forgetting import divergence
from influence.groups import edges_of
from influence.registry import evaluation, queries
from tests.questions import outputs, rows

ROW = ["value", "low", "high"]


def measured(name: str, examples, z, reference=None, **given) -> pd.DataFrame:
    """A measure's table by metric and group."""
    return evaluation.make(name, given)(z, examples, reference).set_index(["metric", "group"])


@pytest.mark.parametrize("kind", ["binary", "three"])
def test_utility_of_classes(kind):
    examples = rows(kind)
    z = outputs(examples).numpy()
    found, y, said = measured("utility", examples, z), examples.y, z.argmax(1)
    assert found.loc[("accuracy", ""), "value"] == metrics.accuracy_score(y, said)
    exact = binomtest(int((y == said).sum()), 150).proportion_ci(method="wilson")
    assert tuple(found.loc[("accuracy", ""), ["low", "high"]]) == pytest.approx((exact.low, exact.high))
    assert found.loc[("loss", ""), "value"] == pytest.approx(metrics.log_loss(y, softmax(z, 1)))
    assert found.loc[("balanced_accuracy", ""), "value"] == pytest.approx(metrics.balanced_accuracy_score(y, said))
    assert (("auc", "") in found.index) == (kind == "binary")
    if kind == "binary":
        assert found.loc[("auc", ""), "value"] == pytest.approx(metrics.roc_auc_score(y, z[:, 1] - z[:, 0]))
    assert set(found["n"]) == {150}


def test_ties_count_half_in_the_area_under_the_curve():
    examples = rows()
    z = outputs(examples).numpy().round(0)
    found = measured("utility", examples, z)
    assert found.loc[("auc", ""), "value"] == pytest.approx(metrics.roc_auc_score(examples.y, z[:, 1] - z[:, 0]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_area_under_the_curve_of_a_model_that_is_sure_depends_on_no_class_name(dtype):
    """Beyond log-odds of 37 all probabilities are 1, but 0.000... are told apart: ranked by them, one class would be told apart less."""
    examples = rows(n=400)
    odds = np.random.default_rng(0).normal(np.where(examples.y == 1, 70, 45), 10)
    z = np.stack([-odds / 2, odds / 2], 1).astype(dtype)
    found = measured("utility", examples, z).loc[("auc", ""), ROW]
    assert found["value"] == pytest.approx(metrics.roc_auc_score(examples.y, z[:, 1].astype(float) - z[:, 0]))
    other = measured("utility", replace(examples, y=1 - examples.y), z[:, ::-1]).loc[("auc", ""), ROW]
    assert other.tolist() == pytest.approx(found.tolist())


def test_a_perfect_model_is_not_known_to_be_perfect():
    examples = rows()
    z = np.eye(2)[examples.y] * 10
    found = measured("utility", examples, z)
    for metric in ("accuracy", "balanced_accuracy", "auc"):
        assert found.loc[(metric, ""), "value"] == found.loc[(metric, ""), "high"] == 1
        assert 0.9 < found.loc[(metric, ""), "low"] < 1
    wrong = measured("utility", examples, -z)
    assert wrong.loc[("auc", ""), "value"] == wrong.loc[("auc", ""), "low"] == 0
    assert wrong.loc[("auc", ""), "high"] > 0


def test_utility_of_numbers():
    examples = rows("number")
    z = outputs(examples).numpy()
    found, y, said = measured("utility", examples, z), examples.y, z[:, 0]
    assert found.loc[("mae", ""), "value"] == pytest.approx(metrics.mean_absolute_error(y, said))
    assert found.loc[("rmse", ""), "value"] == pytest.approx(metrics.root_mean_squared_error(y, said))
    assert found.loc[("r2", ""), "value"] == pytest.approx(metrics.r2_score(y, said))
    error = np.abs(said - y)
    exact = student.interval(0.95, 149, error.mean(), error.std(ddof=1) / np.sqrt(150))
    assert tuple(found.loc[("mae", ""), ["low", "high"]]) == pytest.approx(exact)


def test_degenerate_numbers_make_no_noise():
    examples = rows("number")
    exact = measured("utility", examples, examples.y[:, None].astype(float))
    assert exact["value"].tolist() == [0, 0, 1]
    assert (exact["low"] == exact["high"]).all()
    same = replace(examples, y=np.ones(150, dtype=np.float32))
    assert measured("utility", same, outputs(same).numpy()).loc[("r2", ""), ROW].isna().all()


@pytest.mark.parametrize("name", ["utility", "forgetting", "fairness"])
def test_outputs_that_do_not_fit_are_refused(name):
    examples = rows()
    z = outputs(examples).numpy()
    measure = evaluation.make(name, {"group": "group"} if name == "fairness" else {})
    for bad, says in ((z[:, :1], r"must be \(150, 2\)"), (z[1:], r"got \(149, 2\)"), (z * np.nan, "not all finite")):
        with pytest.raises(BadInput, match=says):
            measure(bad, examples)
    with pytest.raises(BadInput, match="no rows"):
        measure(z[:0], examples.take(np.arange(0)))
    if name == "forgetting":
        with pytest.raises(BadInput, match="Reference outputs must be"):
            measure(z, examples, z[1:])


@pytest.mark.parametrize("positive", ["yes", "no"])
def test_rates_per_group_are_fairlearns(positive):
    examples = rows(n=400)
    z, names = outputs(examples).numpy(), examples.columns["group"].astype(object).fillna("missing").to_numpy(dtype=str)
    found = measured("fairness", examples, z, group="group", positive=positive)
    own = examples.classes.index(positive)
    real, said = (examples.y == own).astype(int), (z.argmax(1) == own).astype(int)
    rates = {"selection_rate": selection_rate, "true_positive_rate": true_positive_rate, "false_positive_rate": false_positive_rate}
    frame = MetricFrame(
        metrics={**rates, "accuracy": metrics.accuracy_score, "n": count}, y_true=real, y_pred=said, sensitive_features=names
    )
    for metric in (*rates, "accuracy"):
        expected = frame.by_group[metric].astype(float)
        pd.testing.assert_series_equal(found.loc[metric, "value"], expected, check_names=False)
    assert found.loc["selection_rate", "n"].tolist() == frame.by_group["n"].tolist()
    assert found.loc["true_positive_rate", "n"].tolist() == [int(real[names == g].sum()) for g in frame.by_group.index]
    hits = int(said[(names == "b") & (real == 1)].sum())
    exact = binomtest(hits, int(real[names == "b"].sum())).proportion_ci(method="wilson")
    assert tuple(found.loc[("true_positive_rate", "b"), ["low", "high"]]) == pytest.approx((exact.low, exact.high))


def test_means_per_group_are_students():
    examples = rows("three", n=400)
    z, names = outputs(examples).numpy(), examples.columns["group"].astype(object).fillna("missing").to_numpy(dtype=str)
    found = measured("fairness", examples, z, group="group", positive="fair")
    p = softmax(z, 1)
    for metric, per_row in (("loss", -np.log(p[np.arange(400), examples.y])), ("calibration", p[:, 1] - (examples.y == 1))):
        for group in ("a", "b", "c", "missing"):
            part = per_row[names == group]
            exact = student.interval(0.95, len(part) - 1, part.mean(), part.std(ddof=1) / np.sqrt(len(part)))
            value, low, high = found.loc[(metric, group), ROW]
            assert value == pytest.approx(part.mean())
            if metric == "loss":
                assert (low, high) == pytest.approx(exact)
            else:  # as wide at least: what has not been seen is allowed for
                assert low <= exact[0] + 1e-12
                assert high >= exact[1] - 1e-12
                assert high - low < 1.2 * (exact[1] - exact[0])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["binary", "three", "number"])
@pytest.mark.parametrize("group", ["group", "age"])
def test_measures_and_queries_agree(kind, group, seed):
    examples = rows(kind, n=300, seed=seed)
    z = outputs(examples, seed)
    found = pd.concat([measured("fairness", examples, z.numpy(), group=group), measured("utility", examples, z.numpy())])
    same = {name: name for name in ("group_loss_gap", "worst_group_loss", "loss")}
    if examples.classes:
        same |= {f"{name}_gap": f"{name}_gap" for name in ("demographic_parity", "equal_opportunity", "equalized_odds", "calibration")}
    same["accuracy_margin"], same["loss"] = ("accuracy", "loss") if examples.classes else ("r2", "mae")
    for name, metric in same.items():
        asked = queries.make(name, {"group": group} if "group" in queries.classes[name].__dataclass_fields__ else {})
        assert float(asked.measured(z, examples)[0]) == pytest.approx(found.loc[(metric, ""), "value"]), name
    if examples.classes:
        for (metric, which), value in found["value"].items():
            of = {"selection_rate": "all", "true_positive_rate": "positives", "false_positive_rate": "negatives"}.get(metric)
            if of:
                rate = queries.make("group_rate", {"group": group, "which": which, "of": of})
                assert float(rate.measured(z, examples)[0]) == pytest.approx(value)


def test_small_groups_are_shown_and_take_no_part_in_gaps():
    examples = rows(n=200, tribe=np.repeat(["a", "b", "rare"], [100, 91, 9]))
    z = outputs(examples).numpy()
    z[191:] = [-9, 9]
    found = measured("fairness", examples, z, group="tribe")
    assert found.loc[("selection_rate", "rare"), "value"] == 1
    assert found.loc[("selection_rate", "rare"), ["low", "high"]].isna().all()
    without = measured("fairness", examples.take(np.arange(191)), z[:191], group="tribe")
    pd.testing.assert_frame_equal(found.xs("", level="group"), without.xs("", level="group"))


def test_a_gap_without_two_groups_is_not_a_number():
    examples = rows(n=60, tribe=np.repeat(["a", "b"], [30, 30]))
    y = np.zeros(60, dtype=int)
    y[:30:2] = y[30:39] = 1
    found = measured("fairness", replace(examples, y=y), outputs(examples).numpy(), group="tribe")
    assert found.loc[("equal_opportunity_gap", ""), ROW].isna().all()
    assert found.loc[("equalized_odds_gap", ""), ROW].isna().all()
    assert np.isfinite(found.loc[("demographic_parity_gap", ""), ROW].astype(float)).all()
    with pytest.raises(BadInput, match="there are a: 30, b: 5"):
        measured("fairness", examples.take(np.arange(35)), outputs(examples).numpy()[:35], group="tribe")


def test_groups_mean_the_same_on_other_rows():
    first, other = rows(n=400), rows(n=300, seed=2)
    other.columns["age"] += 15
    edges = edges_of(first, "age", 4)
    measure = replace(evaluation.make("fairness", {"group": "age"}), edges=edges)
    found = measure(outputs(other).numpy(), other)
    assert list(found.loc[found["metric"] == "loss", "group"]) == [
        f"up to {edges[0]:.0f}",
        f"over {edges[0]:.0f} to {edges[1]:.0f}",
        f"over {edges[1]:.0f} to {edges[2]:.0f}",
        f"over {edges[2]:.0f}",
    ]


def test_bins_without_rows_are_not_shown():
    examples = rows()
    measure = replace(evaluation.make("fairness", {"group": "age"}), edges=(10.0, 40.0))
    found = measure(outputs(examples).numpy(), examples)
    assert set(found["group"]) == {"", "over 10 to 40", "over 40"}
    assert (found["n"] > 0).all()


@pytest.mark.parametrize("kind", ["binary", "three"])
def test_divergence_is_scipys(kind):
    examples = rows(kind)
    z, other = outputs(examples).numpy() * 3, outputs(examples, 5).numpy() * 3
    expected = jensenshannon(softmax(z, 1), softmax(other, 1), axis=1) ** 2
    np.testing.assert_allclose(divergence(z, other), expected, atol=1e-12)
    assert (divergence(z, z) == 0).all()
    far = np.eye(examples.outputs)[np.zeros(150, dtype=int)] * 1e3
    np.testing.assert_allclose(divergence(far, far[:, ::-1]), np.log(2))


def test_forgetting():
    examples = rows()
    z, other = outputs(examples).numpy(), outputs(examples, 5).numpy()
    found = measured("forgetting", examples, z, other)
    assert found.loc[("loss", ""), "value"] == pytest.approx(metrics.log_loss(examples.y, softmax(z, 1)))
    assert found.loc[("accuracy", ""), "value"] == metrics.accuracy_score(examples.y, z.argmax(1))
    assert found.loc[("divergence_from_retrained", ""), "value"] == pytest.approx(divergence(z, other).mean())
    assert found.loc[("agreement_with_retrained", ""), "value"] == (z.argmax(1) == other.argmax(1)).mean()
    assert measured("forgetting", examples, z).index.get_level_values(0).tolist() == ["loss", "accuracy"]
    itself = measured("forgetting", examples, z, z)
    assert itself.loc[("divergence_from_retrained", ""), ROW].tolist() == [0, 0, 0]
    assert itself.loc[("agreement_with_retrained", ""), "value"] == 1


def test_forgetting_a_number():
    examples = rows("number")
    z, other = outputs(examples).numpy(), outputs(examples, 5).numpy()
    found = measured("forgetting", examples, z, other)
    assert found.index.get_level_values(0).tolist() == ["mae", "distance_from_retrained"]
    assert found.loc[("distance_from_retrained", ""), "value"] == pytest.approx(np.abs(z - other).mean())


def test_flips():
    examples = rows("three", n=80)
    before, after = outputs(examples).numpy(), outputs(examples, 5).numpy()
    table, counts = flips(before, after, examples)
    classes = np.array(examples.classes)
    expected = [
        (int(i), classes[y], classes[was], classes[now])
        for i, y, was, now in zip(examples.ids, examples.y, before.argmax(1), after.argmax(1), strict=True)
        if was != now
    ]
    assert list(table.itertuples(index=False, name=None)) == expected
    assert list(table.columns) == ["id", "target", "before", "after"]
    crossed = pd.crosstab(classes[before.argmax(1)], classes[after.argmax(1)])
    assert (counts.to_numpy() == crossed.reindex(index=classes, columns=classes, fill_value=0).to_numpy()).all()
    assert counts.to_numpy().sum() == 80
    assert list(counts.index) == list(counts.columns) == list(examples.classes)


def test_no_flips_and_no_classes():
    examples = rows()
    z = outputs(examples).numpy()
    table, counts = flips(z, z, examples)
    assert len(table) == 0
    assert (counts.to_numpy() == np.diag(np.diag(counts))).all()
    number = rows("number")
    with pytest.raises(BadInput, match="do not flip"):
        flips(outputs(number).numpy(), outputs(number).numpy(), number)
    with pytest.raises(BadInput, match="Reference outputs must be"):
        flips(z, z[1:], examples)


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, (7, 30))
    y = x + rng.integers(0, 6, (7, 30))
    np.testing.assert_allclose(rank_correlation(x, y), [spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)])
    assert np.isnan(rank_correlation(np.ones(5), np.arange(5)))


def test_lds_and_slope():
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=48) + 3
    realised = 0.7 * predicted + 0.3 * rng.normal(size=48) - 5
    found = lds(predicted, realised)
    assert found.lds == pytest.approx(spearmanr(predicted, realised).statistic)
    assert found.slope == pytest.approx(linregress(predicted, realised).slope)
    assert (found.n, found.note) == (48, "")
    assert -1 < found.low < found.lds < found.high < 1
    assert lds(predicted, realised) == found
    assert lds(-predicted, realised).lds == pytest.approx(-found.lds)
    assert lds(predicted, np.exp(realised)).lds == pytest.approx(found.lds), "only the order counts"


def test_a_perfect_order_has_an_interval_still():
    x = np.arange(20.0)
    for sign in (1, -1):
        found = lds(x, sign * x**3)
        assert found.lds == pytest.approx(sign)
        near, far = (found.high, found.low) if sign > 0 else (found.low, found.high)
        assert near == pytest.approx(sign)
        assert 0.99 < abs(far) < 0.997


@pytest.mark.parametrize(
    ("predicted", "realised", "note"),
    [
        (np.zeros(9), np.arange(9.0), "predicted changes are the same"),
        (np.arange(9.0), np.ones(9), "realised changes are the same"),
        (np.ones(9), np.ones(9), "predicted and the realised changes are the same"),
        (np.arange(3.0), np.arange(3.0), "Too few sets to say: 3"),
        (np.arange(9.0), np.r_[np.nan, np.arange(8.0)], "not finite"),
    ],
)
def test_where_nothing_can_be_said_it_says_why(predicted, realised, note):
    found = lds(predicted, realised)
    assert note in found.note
    assert np.isnan([found.lds, found.low, found.high, found.slope]).all()
    assert np.isnan(noise_ceiling(predicted, realised).lds)


def test_changes_of_different_length_are_refused():
    with pytest.raises(BadInput, match="one length"):
        lds(np.arange(5.0), np.arange(6.0))


def test_noise_ceiling_is_what_the_truth_itself_reaches():
    """With realised = signal + noise, the signal's own correlation with one bank is the root of that between two banks."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=4_000)
    banks = signal + rng.normal(size=(2, 4_000))
    found = noise_ceiling(*banks)
    assert found.lds == pytest.approx(spearmanr(signal, banks[0]).statistic, abs=0.03)
    assert found.low < found.lds < found.high
    assert pearsonr(signal, banks[0]).statistic == pytest.approx(np.sqrt(pearsonr(*banks).statistic), abs=0.03)
    assert noise_ceiling(signal, -signal).lds == 0
