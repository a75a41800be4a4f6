"""Suspects: what is planted is found with its figure, what is honest is not, and intervals hold."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from influence.data.read import read_table
from influence.data.suspects import THRESHOLD, auc_interval, suspects
from influence.data.tabular import prepare
from influence.registry import datasets

N = 3000


def table(n=N, seed=0, **columns):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({f"x{place}": rng.normal(size=n) for place in range(5)})
    frame["job"] = rng.choice(["cook", "nurse", "clerk"], n)
    frame["y"] = np.where(frame["x0"] + rng.normal(size=n) > 0, "yes", "no")
    return frame.assign(**{name: make(frame, rng) for name, make in columns.items()})


def found(frame, target="y", **choices):
    return {(finding.kind, finding.column): finding for finding in suspects(prepare(frame, target=target, **choices))}


def test_honest_columns_are_no_suspects():
    for seed in range(5):
        noise = {f"n{place}": lambda frame, rng: rng.normal(size=len(frame)) for place in range(20)}
        many = {"code": lambda frame, rng: rng.integers(0, 700, len(frame)).astype(str)}
        assert not found(table(seed=seed, **noise, **many))


@pytest.mark.parametrize(
    "make",
    [
        lambda frame, rng: frame["y"].map({"yes": "approved", "no": "turned down"}),
        lambda frame, rng: frame["y"].map({"yes": 7, "no": 3}),
        lambda frame, rng: frame["y"].map({"yes": 1.5, "no": 2.5}).where(rng.random(len(frame)) < 0.8),
        lambda frame, rng: frame["y"] == "yes",
    ],
)
def test_the_target_in_other_words_is_found(make):
    frame = table(again=make)
    finding = found(frame)["target renamed", "again"]
    assert finding.n == frame["again"].notna().sum()
    assert "y in other words" in finding.sentence


@pytest.mark.parametrize("flipped", [0.002, 0.01])
def test_a_column_that_gives_the_target_away_is_found_with_its_auc(flipped):
    def leak(frame, rng):
        wrong = rng.random(len(frame)) < flipped
        return np.where((frame["y"] == "yes") ^ wrong, 1, 0) * 10 + rng.integers(0, 3, len(frame))

    data = prepare(table(20_000, leak=leak), target="y")
    [finding] = suspects(data)
    assert (finding.kind, finding.column, finding.n) == ("gives the target away", "leak", len(data.evaluation))
    rows = data.evaluation
    score = (rows.columns["leak"] >= 10).to_numpy(dtype=float)
    expected = stats.mannwhitneyu(score[rows.y == 1], score[rows.y == 0]).statistic / ((rows.y == 1).sum() * (rows.y == 0).sum())
    assert abs(finding.figure - expected) < 0.01
    assert THRESHOLD <= finding.low <= finding.figure <= finding.high
    assert f"{finding.figure:.3f} ({finding.low:.3f} to {finding.high:.3f})" in finding.sentence
    assert f"n = {finding.n:,}" in finding.sentence


def test_a_leak_in_numbers_and_in_dates_is_found():
    def number(frame, rng):
        return np.where(frame["y"] == "yes", 5.0, -5.0) + rng.normal(size=len(frame))

    def when(frame, rng):
        days = np.where(frame["y"] == "yes", 100, 0) + rng.integers(0, 90, len(frame))
        return pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D")

    assert set(found(table(number=number, when=when))) == {("gives the target away", "number"), ("gives the target away", "when")}


def test_a_strong_honest_column_is_below_the_threshold():
    frame = table(strong=lambda frame, rng: np.where(frame["y"] == "yes", 1.0, -1.0) + rng.normal(size=len(frame)))
    assert not found(frame)  # AUC about 0.92


def test_leaks_of_several_classes_and_of_a_number():
    rng = np.random.default_rng(0)
    frame = table(6000)
    frame["kind"] = rng.choice(["a", "b", "c"], 6000, p=[0.6, 0.3, 0.1])
    wrong = rng.random(6000) < 0.005
    frame["code"] = np.where(wrong, "zz", frame["kind"].str.upper() + rng.integers(0, 4, 6000).astype(str))
    finding = found(frame, "kind")["gives the target away", "code"]
    assert 0.97 < finding.figure <= 1
    assert "base rate of 0." in finding.sentence
    frame["price"] = rng.normal(size=6000)
    frame["taxed"] = 1.19 * frame["price"] + rng.normal(0, 0.05, 6000)
    finding = found(frame.drop(columns=["kind", "code"]), "price")["gives the target away", "taxed"]
    assert 0.98 < finding.low < finding.figure < 1  # a hundred steps are not quite the number
    frame["weak"] = frame["price"] + rng.normal(0, 0.5, 6000)  # explains 0.8 of the variance
    assert ("gives the target away", "weak") not in found(frame, "price")


def test_a_column_that_is_left_out_as_a_leak_is_no_longer_told():
    frame = table(again=lambda frame, rng: frame["y"].map({"yes": "A", "no": "B"}))
    assert not found(frame, kinds={"again": "leak"})


def test_too_few_rows_prove_nothing():
    frame = table(60, again=lambda frame, rng: np.where(frame["y"] == "yes", 10, 0) + rng.integers(0, 5, len(frame)))
    assert not found(frame)


@pytest.mark.parametrize(("m", "n", "shift"), [(40, 40, 1.0), (15, 60, 1.5), (100, 30, 2.5)])
def test_the_interval_of_an_auc_covers(m, n, shift):
    rng = np.random.default_rng(0)
    truth, inside = stats.norm.cdf(shift / np.sqrt(2)), 0
    for _ in range(400):
        auc = stats.mannwhitneyu(rng.normal(shift, 1, m), rng.normal(0, 1, n)).statistic / (m * n)
        low, high = auc_interval(auc, m, n)
        assert 0 <= low <= auc <= high <= 1
        inside += low <= truth <= high
    assert 0.92 < inside / 400 <= 1


def test_the_interval_of_a_perfect_auc_is_no_point():
    assert auc_interval(1.0, 10, 10)[0] < 0.9
    assert auc_interval(1.0, 1000, 1000)[0] > 0.99


def test_rows_in_training_too_are_counted():
    frame = table()
    data = prepare(frame, target="y")
    copied, other = data.evaluation.ids[:7], data.evaluation.ids[7:10]
    frame.loc[copied] = frame.loc[data.train.ids[:7]].to_numpy()
    frame.loc[other] = frame.loc[data.train.ids[7:10]].to_numpy()
    frame.loc[other, "y"] = frame.loc[other, "y"].map({"yes": "no", "no": "yes"})
    frame = frame.astype({f"x{place}": float for place in range(5)})
    finding = found(frame)["in training too", ""]
    assert finding.n == len(data.evaluation)
    assert finding.figure == pytest.approx(10 / finding.n)
    assert "10 of" in finding.sentence
    assert "3 of them with another target" in finding.sentence


def test_ids_on_both_sides_are_counted():
    frame, second = table(300), table(100, seed=1)
    frame["who"], second["who"] = [f"p{place}" for place in range(300)], [f"p{place}" for place in range(290, 390)]
    finding = found(frame, id="who", evaluation_frame=second)["id in training too", "who"]
    assert (finding.n, finding.figure) == (100, 0.1)
    assert not found(frame, evaluation_frame=second.assign(who=[f"q{place}" for place in range(100)]), id="who")


def test_an_id_that_is_no_id_column_is_looked_at():
    frame = table(300)
    frame["customer_id"] = [1000 + place // 2 * 3 for place in range(300)]
    kinds = {"customer_id": "id"}
    finding = found(frame, kinds=kinds)["id in training too", "customer_id"]
    data = prepare(frame, target="y", kinds=kinds)
    tests = pd.concat([data.evaluation.columns, data.holdout.columns])["customer_id"]
    assert finding.figure == pytest.approx(tests.isin(data.train.columns["customer_id"]).mean())
    assert found(frame, kinds=kinds)["id repeated", "customer_id"].n == 300


def test_the_known_leak_of_compas(lethe_data):
    """two_year_recid is is_recid within two years; ProPublica's own analysis uses neither as an input of the other."""
    data = prepare(read_table(lethe_data / "compas.parquet"), target="two_year_recid")
    leaks = [finding.column for finding in suspects(data) if finding.kind == "gives the target away"]
    assert leaks == ["is_recid"]


def test_adult_has_few_twins_and_no_leaks(lethe_data):
    data = prepare(read_table(lethe_data / "adult.parquet"), target="income", split="split")
    findings = suspects(data)
    assert {finding.kind for finding in findings} == {"in training too"}
    train = {row.tobytes() for row in data.train.x}
    twins = sum(row.tobytes() in train for row in data.evaluation.x)
    assert findings[0].figure == pytest.approx(twins / len(data.evaluation))


@pytest.mark.parametrize("name", ["digits", "breast_cancer"])
def test_bundled_sets_are_looked_at(name):
    assert all(finding.kind != "target renamed" for finding in suspects(datasets.make(name)()))


def test_of_a_large_table_few_rows_are_looked_at_and_all_where_something_is_said_of_all(monkeypatch):
    monkeypatch.setattr("influence.data.suspects.LOOKED_AT", 400)
    frame = table(20_000, again=lambda frame, rng: frame["y"].map({"yes": 1, "no": 2}))
    finding = found(frame)["target renamed", "again"]
    assert finding.n == 20_000, "said of all rows, seen in all"
    frame.loc[7777, "again"] = 3 - frame.loc[7777, "again"]
    [finding] = found(frame).values()
    assert (finding.kind, finding.n) == ("gives the target away", 400)
