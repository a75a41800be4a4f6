"""Real public tables: the counts that their documentation gives, and models as good as the published baselines."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from influence.data.read import read_table
from influence.data.tabular import prepare
from influence.errors import BadInput


def accuracy(data):
    return LogisticRegression(max_iter=300).fit(data.train.x, data.train.y).score(data.holdout.x, data.holdout.y)


def test_adult(lethe_data):
    data = prepare(
        read_table(lethe_data / "adult.parquet"), target="income", protected=["sex"], audit=["race"], split="split", name="adult"
    )
    assert len(data.train) == 32_561
    assert len(data.evaluation) + len(data.holdout) == 16_281
    assert data.train.classes == ("<=50K", ">50K")
    assert data.train.y.sum() == 7_841
    np.testing.assert_array_equal(data.train.ids, np.arange(32_561))
    assert {"occupation is missing", "native_country = Holand-Netherlands"} <= set(data.encoding["features"])
    assert not any("race" in feature for feature in data.encoding["features"])
    assert accuracy(data) > 0.845


def test_adult_as_csv_is_the_same_table(lethe_data, tmp_path):
    frame = read_table(lethe_data / "adult.parquet")
    frame.to_csv(tmp_path / "adult.csv", index=False, na_rep="?", sep=";")
    pd.testing.assert_frame_equal(read_table(tmp_path / "adult.csv"), frame)


def test_compas(lethe_data):
    frame = read_table(lethe_data / "compas.parquet")
    leaks = ["is_recid", "is_violent_recid", "event", "start", "end", "propublica_filter"]
    scores = ["decile_score", "score_text", "v_decile_score", "v_score_text"]
    audit = ["screened_after_2014_04_01"]
    data = prepare(frame, target="two_year_recid", protected=["race", "sex"], audit=audit, drop=leaks + scores, name="compas")
    assert len(data.train) + len(data.evaluation) + len(data.holdout) == 7_214
    assert data.train.classes == ("0", "1")
    everyone = pd.concat([data.split(role).columns for role in ("train", "evaluation", "holdout")])
    late = everyone["screened_after_2014_04_01"]
    assert late.sum() == 998
    assert (everyone["two_year_recid"][late] == 1).all()
    assert "c_charge_desc = (other)" in data.encoding["features"]
    assert "days_b_screening_arrest is missing" in data.encoding["features"]
    assert 0.62 < accuracy(data) < 0.75


def test_german_credit(lethe_data):
    data = prepare(
        read_table(lethe_data / "german_credit.parquet"), target="credit_risk", protected=["sex"], audit=["age_group"], name="german"
    )
    labels = np.concatenate([data.split(role).y for role in ("train", "evaluation", "holdout")])
    assert np.bincount(labels).tolist() == [300, 700]
    assert accuracy(data) > 0.68


def test_a_numeric_target(lethe_data):
    data = prepare(read_table(lethe_data / "german_credit.parquet"), target="credit_amount", protected=["sex"])
    assert data.train.classes == ()
    np.testing.assert_allclose(data.train.y.mean(), 0, atol=1e-5)


def test_text_is_refused(lethe_data):
    frame = read_table(lethe_data / "sst2.parquet")
    with pytest.raises(BadInput, match="name it as the column of texts"):
        prepare(frame, target="label", split="split")
