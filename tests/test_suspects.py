"""Suspects as an action: what is kept and told, what retraining says of them, other labels, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

import influence
from influence.actions import perform
from influence.actions._opened import opened
from influence.actions.suspects import other_class
from influence.conditions import Condition, met, read, written
from influence.errors import BadInput
from influence.evidence import words
from influence.grads import outputs
from influence.readable import readable
from influence.registry import attribution, finders
from influence.store import Project
from influence.training import load, train


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A model of records of which the late ones are all of one outcome; the model never sees when they were made."""
    folder = tmp_path_factory.mktemp("suspects")
    rng = np.random.default_rng(0)
    n = 1500
    x = rng.normal(size=(n, 2))
    late = rng.random(n) < 0.2
    outcome = np.where(late, "yes", np.where(rng.random(n) < 1 / (1 + np.exp(-2 * x[:, 0])), "yes", "no"))
    test = ~late & (rng.random(n) < 0.4)
    table = pd.DataFrame(
        {
            "a": x[:, 0].round(3), "b": x[:, 1].round(3), "office": rng.choice(["Bonn", "Ulm"], n), "late": late, "outcome": outcome,
            "told": np.where(outcome == "yes", "paid", "failed"), "split": np.where(test, "test", "train"),
        }
    )  # fmt: skip
    table.to_csv(folder / "records.csv", index=False)
    home = Project(folder / "p")
    perform("train", home, {
        "data": str(folder / "records.csv"), "target": "outcome", "audit": ["late"], "kinds": {"told": "leak"}, "split": "split",
        "set": {"epochs": 6, "batch_size": 64, "hidden": (8,)},
    })  # fmt: skip
    return home


def test_a_fault_of_the_training_rows_alone_is_the_first_suspect(project):
    told = perform("suspects", project, {"query": "calibration"})
    first = told["suspects"][0]
    assert first["rule"] == "late = True"
    assert told["label"] == "Over-prediction of yes"
    it = opened(project, None)
    scores = project.scores(next(iter(project.notes("scores/").values()))["scores"])
    late = it.dataset.train.columns["late"].to_numpy()
    assert first["n"] == late.sum()
    assert first["effect"] == pytest.approx(-scores.column()[late].sum())
    assert first["low"] < first["effect"] < first["high"]
    assert first["effect_per_row"] == pytest.approx(first["effect"] / first["n"])
    assert not any(word in s["rule"] for s in told["suspects"] for word in ("told", "outcome", "split"))
    json.dumps(told)


def test_an_improvement_of_what_should_be_high_is_a_rise(project):
    told = perform("suspects", project, {"query": "accuracy_margin", "max_conditions": 1})
    scores = project.scores(perform("attribute", project, {"query": "accuracy_margin"})["scores"])
    train = opened(project, None).dataset.train
    assert told["suspects"]
    for suspect in told["suspects"]:
        assert suspect["effect"] == pytest.approx(scores.column()[met(read(suspect["conditions"]), train.columns)].sum())
        assert suspect["effect"] > 0


def test_a_search_is_kept_and_found_again(project):
    first = perform("suspects", project, {"query": "calibration"})
    again = perform("suspects", project, {"query": "calibration", "method": "metagradient"})
    assert again["computed"] == first["computed"]
    assert perform("suspects", project, {"query": "calibration", "again": True})["computed"] != first["computed"]
    assert perform("suspects", project, {"query": "calibration", "max_conditions": 1})["computed"] != first["computed"]


def test_retraining_says_what_it_is_without_the_rows(project):
    told = perform("suspects", project, {"query": "calibration", "check": 1})["suspects"][0]
    it = opened(project, None)
    mask = met(read(told["conditions"]), it.dataset.train.columns)
    recipe = it.trained.recipe
    bound = load(train(it.trained.model, it.dataset.train, recipe, weights=1.0 - mask.astype(np.float32)))
    for role in ("evaluation", "holdout"):
        rows = it.dataset.split(role)
        p = [outputs(b, rows).softmax(1)[:, 1].numpy().mean() for b in (it.bound, bound)]
        entry = told["realised"]["same"][role]["measured"]
        assert entry["before"] == pytest.approx(p[0] - rows.y.mean(), abs=1e-6)
        assert entry["change"] == pytest.approx(p[1] - p[0], abs=1e-6)
        assert abs(entry["before"] + entry["change"]) < 0.5 * entry["before"]
        assert abs(told["realised"]["random"][role]["measured"]["change"]) < 0.2 * entry["before"]
    assert told["realised"]["fresh"] == {}


def test_fresh_seeds_are_compared_with_the_whole_data_at_their_seed(project):
    conditions = '[{"column": "late", "is_": "equal to", "value": "True"}]'
    args = {"query": "calibration", "patterns": [conditions], "seeds": 3}
    (told,) = perform("confirm_suspects", project, args)["confirmed"]
    fresh = told["fresh"]["holdout"]["measured"]
    assert fresh["n"] == 3
    assert fresh["low"] < fresh["change"] < fresh["high"] < 0
    it = opened(project, None)
    mask = met(read(conditions), it.dataset.train.columns)
    changes = []
    for seed in (1000, 1001, 1002):
        recipe = it.trained.recipe.__class__(**{**it.trained.recipe.given, "seed": seed})
        p = []
        for weights in (np.ones(len(mask)), 1.0 - mask):
            bound = load(train(it.trained.model, it.dataset.train, recipe, weights=weights.astype(np.float32)))
            p.append(outputs(bound, it.dataset.holdout).softmax(1)[:, 1].numpy().mean())
        changes.append(p[1] - p[0])
    assert fresh["change"] == pytest.approx(np.mean(changes), abs=1e-6)
    told = perform("confirm_suspects", project, {**args, "seeds": 2})  # fewer seeds than are kept: nothing is trained again
    assert told["confirmed"][0]["fresh"]["holdout"]["measured"] == fresh


@pytest.mark.parametrize(
    "method", ["influence_function", *(pytest.param(name, marks=pytest.mark.slow) for name in ("metagradient", "tracin"))]
)
def test_other_labels_do_what_is_predicted(project, method):
    it = opened(project, None)
    question = it.question([query_of("loss")])
    rows, second = it.dataset.train, other_class(it)
    assert (second.y != rows.y).all()
    scores = attribution.make(method).replaced(it.trained, rows, second, question)
    rng = np.random.default_rng(0)
    predicted, real = [], []
    for _ in range(24):
        some = rng.random(len(rows)) < 0.005
        mixed = rows.__class__(rows.x, np.where(some, second.y, rows.y), rows.ids, rows.columns, rows.classes)
        bound = load(train(it.trained.model, mixed, it.trained.recipe))
        predicted.append(scores.column()[some].sum())
        real.append(float(question.value(outputs(bound, question.examples))[0]))
    assert spearmanr(predicted, real)[0] > {"metagradient": 0.95, "influence_function": 0.8, "tracin": 0.6}[method]


def query_of(name: str):
    from influence.registry import queries

    return queries.make(name)


def test_relabelling_is_searched_and_confirmed(project):
    told = perform("suspects", project, {"query": "calibration", "remedy": "relabel", "max_conditions": 1, "check": 1})
    first = told["suspects"][0]
    assert "late = True" in [s["rule"] for s in told["suspects"]]
    assert first["realised"]["random"] == {}
    assert first["realised"]["same"]["evaluation"]["value"]["change"] == pytest.approx(-first["effect"], rel=0.4)


def test_the_target_may_be_asked_for(project):
    told = perform("suspects", project, {"query": "loss", "with_label": True, "max_conditions": 2})
    rules = [s["rule"] for s in told["suspects"]]
    assert "late = True" in rules or any("late = True" in r for r in rules)
    assert not {"outcome = yes", "outcome = no"} & set(rules)
    (entry,) = perform("confirm_suspects", project, {"query": "loss", "patterns": [
        '[{"column": "late", "is_": "equal to", "value": "True"}, {"column": "outcome", "is_": "equal to", "value": "yes"}]'
    ]})["confirmed"]  # fmt: skip
    assert entry["n"] == opened(project, None).dataset.train.columns["late"].sum()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"max_conditions": 5}, "1 to 4 conditions; got 5"),
        ({"least": 0.5, "most": 0.1}, "the least below the most"),
        ({"limit": 0}, "1 to 1,000 patterns"),
        ({"check": -1}, "cannot be retrained: -1 and 0"),
        ({"check": 1, "seeds": -2}, "cannot be retrained: 1 and -2"),
        ({"remedy": "burn"}, "removed or relabelled; got 'burn'"),
        ({"remedy": "relabel", "method": "random"}, "random cannot say what other labels would do. Choose one of: "),
        ({"query": "no such"}, "no such"),
        ({"method": "no such"}, "no such"),
    ],
)
def test_what_cannot_be_asked_is_refused(project, given, sentence):
    with pytest.raises(BadInput, match=sentence):
        perform("suspects", project, {"query": "calibration", **given})


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("late = True", "A pattern is a list of conditions"),
        ('[{"column": "nobody", "is_": "missing"}]', "There is no column 'nobody'"),
        ('[{"column": "late", "is_": "missing"}]', "holds no training row"),
        ('[{"column": "late", "is_": "not equal to", "value": "perhaps"}]', "holds all training rows"),
    ],
)
def test_what_cannot_be_retrained_is_refused(project, pattern, sentence):
    with pytest.raises(BadInput, match=sentence):
        perform("confirm_suspects", project, {"query": "calibration", "patterns": [pattern]})


def test_rows_that_training_never_saw_are_no_suspects(project):
    it = opened(project, None)
    gone = it.dataset.train.ids[it.dataset.train.columns["late"].to_numpy()]
    made = perform("unlearn", project, {"ids": gone.tolist(), "method": "retrain"})
    told = perform("suspects", project, {"query": "calibration", "run": made["run"]})
    assert told["n"] == len(it.dataset.train) - len(gone)
    assert not any("late" in s["rule"] for s in told["suspects"])


def test_what_is_predicted_is_compared_with_what_it_is_a_prediction_of(project):
    """Accuracy is predicted through the mean margin; both are told, and what people read is not taken for the other."""
    told = perform("suspects", project, {"query": "accuracy_margin", "max_conditions": 1, "check": 1, "seeds": 2})
    first, it = told["suspects"][0], opened(project, None)
    mask = met(read(first["conditions"]), it.dataset.train.columns)
    bound = load(train(it.trained.model, it.dataset.train, it.trained.recipe, weights=1.0 - mask.astype(np.float32)))
    question = it.question([query_of("accuracy_margin")])
    entry = first["realised"]["same"]["evaluation"]
    for kind, ask in (("value", question.value), ("measured", question.measured)):
        before, after = (float(ask(outputs(b, question.examples))[0]) for b in (it.bound, bound))
        assert entry[kind]["before"] == pytest.approx(before, abs=1e-6)
        assert entry[kind]["change"] == pytest.approx(after - before, abs=1e-6)
    assert entry["value"]["before"] != pytest.approx(entry["measured"]["before"], abs=0.05)
    assert {kind: entry["n"] for kind, entry in first["realised"]["fresh"]["evaluation"].items()} == {"value": 2, "measured": 2}
    line = next(line for line in readable("suspects", project, told).splitlines() if line.strip().startswith(first["rule"]))
    told = entry["measured"]
    assert line.endswith(f"{words.number(told['before'])} → {words.number(told['before'] + told['change'])}")


def test_arrays_can_be_named_by_their_target_too(tmp_path):
    """They bring their labels apart from the columns, and a rule that names them holds for all that read it."""
    rng = np.random.default_rng(0)
    n = 600
    x, side = rng.normal(size=(n, 2)).astype(np.float32), rng.choice(["left", "right"], n)
    y, test = (x[:, 0] > 0).astype(np.int64), rng.random(n) < 0.3
    y[(side == "left") & ~test & (rng.random(n) < 0.6)] = 1
    influence.save_data(tmp_path / "d", x, y, test, columns=pd.DataFrame({"side": side}), classes=("no", "yes"), protected=("side",))
    home = Project(tmp_path / "p")
    perform("train", home, {"data": str(tmp_path / "d"), "model": "logistic", "set": {"epochs": 4}})
    it = opened(home, None)
    pattern = written((Condition("side", "equal to", "left"), Condition(it.dataset.target, "equal to", "yes")))
    told = perform("suspects", home, {"query": "loss", "with_label": True, "max_conditions": 2, "least": 0.001, "most": 1.0})
    assert told["looked_at"] > perform("suspects", home, {"query": "loss", "least": 0.001, "most": 1.0})["looked_at"]
    (entry,) = perform("confirm_suspects", home, {"query": "loss", "patterns": [pattern]})["confirmed"]
    found = finders.make("pattern", {"conditions": pattern})(None, it.dataset.train)
    assert len(found) == entry["n"]
    assert set(it.dataset.train.y[it.dataset.train.mask(found.ids)]) == {1}


def test_groups_too_small_among_holdout_rows_leave_the_evaluation_rows(project, tmp_path):
    """A gap that only the evaluation rows can answer is confirmed there."""
    rng = np.random.default_rng(1)
    n = 900
    role = rng.choice(["train", "evaluation", "holdout"], n, p=[0.7, 0.15, 0.15])
    side = np.where((role == "holdout") & (np.arange(n) > 8), "left", rng.choice(["left", "right"], n))
    side[np.flatnonzero(role == "holdout")[:2]] = "right"
    a = rng.normal(size=n).round(3)
    table = pd.DataFrame(
        {"a": a, "side": side, "late": rng.random(n) < 0.3, "y": np.where(a + (side == "left") > 0, "yes", "no"), "role": role}
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    home = Project(tmp_path / "p")
    given = {"target": "y", "protected": ["side"], "split": "role", "set": {"epochs": 3}, "model": "logistic"}
    perform("train", home, {"data": str(tmp_path / "t.csv"), **given})
    pattern = '[{"column": "late", "is_": "equal to", "value": "True"}]'
    (entry,) = perform("confirm_suspects", home, {"query": "demographic_parity_gap", "patterns": [pattern]})["confirmed"]
    assert set(entry["same"]) == {"evaluation"}
    points = home.table(perform("removal_curve", home, {"query": "demographic_parity_gap", "shares": [0.05]})["points"])
    assert set(points["role"]) == {"evaluation"}
