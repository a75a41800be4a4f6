"""Bundled sets: what is planted is where it is said to be, and does what it is said to do."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from influence.data.bundled.loans import RULE
from influence.errors import BadInput
from influence.registry import datasets, described, settings


@pytest.fixture(scope="module")
def loans():
    return datasets.make("loans")()


def test_the_registry_finds_them():
    assert list(datasets.classes) == ["breast_cancer", "digits", "loans"]


@pytest.mark.parametrize("name", ["breast_cancer", "digits", "loans"])
def test_every_set_is_explained_repeatable_and_known_by_its_settings(name):
    made = datasets.make(name)()
    source = made.source["bundled"]
    assert made.name == source["name"] == name
    assert datasets.make(source["name"], source["given"])().digest == made.digest
    assert datasets.make(name, {"seed": 1})().digest != made.digest
    assert len(datasets.explain(name)) > 100
    assert all(setting.help for setting in settings(datasets.classes[name]))
    assert described(datasets.make(name)) == source
    shown = set(made.train.columns)
    assert {made.target, *made.protected, *made.audit} <= shown
    assert shown == {column["name"] for column in made.columns if column["part"] != "dropped"}
    assert min(len(made.train), len(made.evaluation), len(made.holdout)) > 50


def test_settings_have_limits():
    with pytest.raises(BadInput, match="bias must be between"):
        datasets.make("loans", {"bias": 2})


def test_loans_turned_rows_obey_the_rule_and_stand_in_training(loans):
    rows = loans.train.columns[loans.train.mask(loans.planted)]
    assert 100 < len(loans.planted) == len(rows) < 300
    assert rows.eval(RULE).all()
    assert (rows["decision"] == "declined").all()
    assert loans.simulated
    assert not any(word in RULE for word in ("decision", "granted", "declined"))


def test_loans_differ_from_the_truth_in_the_planted_rows_only(loans):
    truth = datasets.make("loans", {"bias": 0.0})()
    assert truth.planted == ()
    for role in ("evaluation", "holdout"):
        pd.testing.assert_frame_equal(loans.split(role).columns, truth.split(role).columns)
    np.testing.assert_array_equal(loans.train.x, truth.train.x)
    turned = loans.train.ids[loans.train.y != truth.train.y]
    assert tuple(turned) == loans.planted
    reach = truth.train.columns.eval(RULE) & (truth.train.columns["decision"] == "granted")
    assert abs(len(turned) / reach.sum() - 0.7) < 0.07


def opportunity_gap(model, data):
    """Share of granted among those who should be: A less B, on evaluation and holdout together."""
    x, y = np.concatenate([data.evaluation.x, data.holdout.x]), np.concatenate([data.evaluation.y, data.holdout.y])
    group = pd.concat([data.evaluation.columns, data.holdout.columns])["group"].to_numpy()
    granted, deserved = model.predict(x) == data.train.classes.index("granted"), y == data.train.classes.index("granted")
    return granted[deserved & (group == "A")].mean() - granted[deserved & (group == "B")].mean()


@pytest.mark.parametrize("seed", range(3))
def test_loans_show_a_gap_that_goes_with_the_planted_rows(seed):
    data = datasets.make("loans", {"seed": seed})()
    kept = ~data.train.mask(data.planted)
    fit = LogisticRegression(max_iter=1000).fit
    assert 0.09 < opportunity_gap(fit(data.train.x, data.train.y), data) < 0.22
    assert abs(opportunity_gap(fit(data.train.x[kept], data.train.y[kept]), data)) < 0.05
    true = datasets.make("loans", {"seed": seed, "bias": 0.0})()
    assert abs(opportunity_gap(fit(true.train.x, true.train.y), true)) < 0.04


@pytest.mark.parametrize("flip", [0.0, 0.1])
def test_digits_flipped_labels_are_the_planted_ones(flip):
    data = datasets.make("digits", {"flip": flip})()
    truth = load_digits()
    for role in ("train", "evaluation", "holdout"):
        rows = data.split(role)
        np.testing.assert_allclose(rows.x[:, 0] * 16, truth.images[rows.ids])
        assert rows.columns["digit"].tolist() == [rows.classes[place] for place in rows.y]
        wrong = rows.ids[rows.y != truth.target[rows.ids]]
        assert tuple(wrong) == (data.planted if role == "train" else ())
    assert len(data.planted) == round(flip * len(data.train))
    assert data.simulated == (flip > 0)
    assert data.train.shape == (1, 8, 8)
    assert 0 <= data.train.x.min() < data.train.x.max() == 1
    assert set(data.train.columns["ink_level"]) == {"low", "high"}


def test_flipped_digits_are_any_other_digit():
    data = datasets.make("digits", {"flip": 0.5})()
    moved = (data.train.y - load_digits().target[data.train.ids])[data.train.mask(data.planted)] % 10
    assert np.bincount(moved, minlength=10)[0] == 0
    assert np.bincount(moved, minlength=10)[1:].min() > 40


def test_breast_cancer_has_two_sizes_and_never_sees_the_answer():
    data = datasets.make("breast_cancer")()
    assert data.train.classes == ("benign", "malignant")
    assert data.train.shape == (30,)
    assert set(data.evaluation.columns["size"]) == {"small", "large"}
    assert not {"target", "size", "diagnosis"} & set(data.encoding["features"])
