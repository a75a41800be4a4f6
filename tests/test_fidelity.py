"""Truth as a feature: scores found again, banks of retrained models that serve every question and method, and methods beside each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from influence import grads, training
from influence.actions import _bank, perform
from influence.actions._bank import Shelf, held
from influence.actions._opened import asked, opened
from influence.actions._retrained import random_sets
from influence.actions.agreement import sentence
from influence.actions.attribute import every
from influence.actions.attribute import kept as kept_scores
from influence.actions.fidelity import kept, to_train
from influence.errors import BadInput, Cancelled
from influence.evaluation.fidelity import recalibrated, slope, verdict
from influence.registry import attribution, described
from influence.store import Project
from influence.types import Event, Selection

GAP = {"query": "equal_opportunity_gap", "query_set": {"group": "group"}}
LOANS = {"data": "bundled:loans", "data_set": {"n": 600}, "set": {"epochs": 4, "batch_size": 64}}
SETS = {"fraction": 0.05, "subsets": 8}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Project:
    """A project with one small run; tests only add to it."""
    project = Project(tmp_path_factory.mktemp("fidelity") / "p")
    perform("train", project, LOANS)
    return project


@pytest.fixture
def fresh(tmp_path) -> Project:
    project = Project(tmp_path / "p")
    perform("train", project, LOANS)
    return project


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*args, **rest):
        raise AssertionError("a model was trained")

    monkeypatch.setattr(training, "train_many", refuse)


def names_of(project: Project, method: str, query: dict = GAP) -> tuple[str, dict, dict]:
    """What notes are asked by: run, question as asked, method."""
    return project.run().id, described(asked(query["query"], query.get("query_set"))), described(attribution.make(method))


# ---- Scores


def test_scores_are_computed_once_and_found_again(made, monkeypatch):
    first = perform("attribute", made, {**GAP, "method": "tracin"})
    records = len(made.records())
    again = perform("attribute", made, {**GAP, "method": "tracin"})
    assert (first["found"], again["found"]) == (False, True)
    assert again["computed"] == first["computed"]
    assert again["scores"] == first["scores"]
    assert len(made.records()) == records
    named = perform("attribute", made, {"query": GAP["query"], "query_set": {"group": "group", "positive": "granted"}, "method": "tracin"})
    assert named["found"], "the default class by its name is the same question"
    other = perform("attribute", made, {**GAP, "method": "random", "set": {"seed": 3}})
    assert not other["found"]
    assert not perform("attribute", made, {**GAP, "method": "random", "set": {"seed": 4}})["found"]
    assert not perform("attribute", made, {**GAP, "method": "tracin", "baseline": True})["found"], "what is timed is computed"
    run, query, method = names_of(made, "tracin")
    assert kept_scores(made, run, query, method)["scores"] == first["scores"]
    assert kept_scores(made, "another run", query, method) is None
    assert {f["method"]["name"] for f in every(made, run, query)} == {"tracin", "random"}


def test_scores_that_were_deleted_are_computed_again(fresh):
    first = perform("attribute", fresh, {**GAP, "method": "random"})
    fresh.objects.path(first["scores"], "json").unlink()
    assert not perform("attribute", fresh, {**GAP, "method": "random"})["found"]
    assert perform("attribute", fresh, {**GAP, "method": "random"})["found"]


def test_methods_are_handed_the_projects_workspace(made, monkeypatch):
    seen = []
    random = attribution.classes["random"]
    call = random.__call__
    monkeypatch.setattr(random, "__call__", lambda self, *args: seen.append(args[-1]) or call(self, *args))
    perform("attribute", made, {**GAP, "method": "random", "set": {"seed": 99}})
    perform("attribute", made, {**GAP, "method": "random", "set": {"seed": 99}, "again": True})
    assert [place.folder == made.path / "work" for place in seen] == [True, False], "what is timed finds nothing"


def test_scores_of_a_method_that_has_other_settings_by_now_are_left_aside(fresh):
    perform("attribute", fresh, {**GAP, "method": "random"})
    perform("attribute", fresh, {**GAP, "method": "tracin"})
    run, query, method = names_of(fresh, "random")
    [key] = [key for key, note in fresh.notes(f"scores/{run}").items() if note["method"] == method]
    old = fresh.noted(key)
    fresh.note(key, {**old, "method": {"name": "random", "given": {}}})
    fresh.note(key + "x", {**old, "method": {"name": "gone", "given": {}}})
    assert [f["method"]["name"] for f in every(fresh, run, query)] == ["tracin"]


# ---- The bank


def test_fidelity_is_what_training_one_by_one_says(made):
    it = opened(made, None)
    question = it.question([asked(GAP["query"], GAP["query_set"])])
    n = len(it.dataset.train)
    got = perform("fidelity", made, {**GAP, "method": "metagradient", **SETS})
    scores = made.scores(perform("attribute", made, {**GAP, "method": "metagradient"})["scores"]).column()
    left_out, real, hard = random_sets(np.ones(n, bool), got["removed"], 8, 0), [], []
    for row in left_out:
        one = training.train(it.trained.model, it.dataset.train, it.trained.recipe, 1.0 - row)
        logits = grads.outputs(training.load(one), it.dataset.evaluation)
        real.append(float(question.value(logits)[0]))
        hard.append(float(question.measured(logits)[0]))
    predicted = left_out @ scores
    assert got["lds"] == pytest.approx(spearmanr(predicted, real).statistic)
    assert got["lds_measured"] == pytest.approx(spearmanr(predicted, np.round(hard, 6)).statistic, abs=1e-6)
    assert got["slope"] == pytest.approx(np.polyfit(predicted, real, 1)[0], rel=1e-3)
    assert got["n"] == got["subsets"] == 8


def test_sets_are_drawn_among_the_rows_that_training_saw(fresh):
    first = opened(fresh, None)
    gone = first.dataset.train.ids[:150].tolist()
    fresh.choose(Selection(tuple(gone), reason={"words": "the first"}))
    run = perform("unlearn", fresh, {"method": "retrain"})["run"]
    it = opened(fresh, run)
    assert it.seen.sum() == len(it.dataset.train) - 150
    got = perform("fidelity", fresh, {**GAP, "run": run, "method": "tracin", **SETS})
    assert got["removed"] == round(SETS["fraction"] * it.seen.sum())
    sets = random_sets(it.seen, got["removed"], 8, 0)
    assert (sets.sum(1) == got["removed"]).all()
    assert not sets[:, ~it.seen].any()


def test_a_second_question_and_method_cost_no_retraining(made, no_training, request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train_many", request.getfixturevalue("real_training"))
        first = perform("fidelity", made, {**GAP, "method": "metagradient", **SETS})
    assert first["bank"]["models"] == 8
    for query in (GAP, {"query": "loss"}, {"query": "group_loss_gap", "query_set": {"group": "group"}}):
        for method in ("metagradient", "tracin", "random"):
            got = perform("fidelity", made, {**query, "method": method, **SETS})
            assert got["bank"]["trained"] == 0
            assert (got["slope"] is None) is (method != "metagradient")
    with pytest.raises(AssertionError, match="was trained"):
        perform("fidelity", made, {**GAP, "method": "random", **SETS, "subsets": 9})


@pytest.fixture(scope="module")
def real_training():
    return training.train_many


def test_a_bank_grows_and_its_first_models_stay(fresh):
    run = fresh.run().id
    assert perform("fidelity", fresh, {**GAP, "method": "random", **SETS, "subsets": 6})["bank"]["trained"] == 6
    n = len(opened(fresh, None).dataset.train)
    assert to_train(fresh, run, n, 0, [0.05, 0.1], 10, "same") == 4 + 10
    grown = perform("fidelity", fresh, {**GAP, "method": "random", **SETS, "subsets": 10})
    assert grown["bank"]["trained"] == 4
    there, it = held(fresh, run, Shelf(grown["removed"])), opened(fresh, None)
    assert there["n"] == 10
    question = it.question([asked("loss", {})])
    said = _bank.answers(it, there, 10, question)["value"][:, 0]
    for row, value in zip(random_sets(np.ones(n, bool), grown["removed"], 10, 0), said, strict=True):
        one = training.train(it.trained.model, it.dataset.train, it.trained.recipe, 1.0 - row)
        assert value == pytest.approx(float(question.value(grads.outputs(training.load(one), it.dataset.evaluation))[0]), abs=1e-5)
    assert to_train(fresh, run, n, 0, [0.05], 10, "same") == 0
    assert fresh.check() == []


@pytest.mark.parametrize("form", ["weights", "outputs"])
def test_weights_and_outputs_say_the_same(fresh, monkeypatch, form):
    it = opened(fresh, None)
    monkeypatch.setattr(_bank, "smaller", lambda weights, outputs: form)
    got = perform("fidelity", fresh, {**GAP, "method": "tracin", **SETS})
    assert got["bank"]["kept"] == form
    width = len(it.bound.flat) if form == "weights" else len(it.dataset.evaluation) * 2
    assert got["bank"]["bytes"] == pytest.approx(8 * 4 * width, abs=200)
    there = held(fresh, it.run.id, Shelf(got["removed"]))
    said = _bank.answers(it, there, 3, it.question([asked("loss", {})]))["value"][:, 0]
    for row, value in zip(random_sets(it.seen, got["removed"], 3, 0), said, strict=True):
        one = training.train(it.trained.model, it.dataset.train, it.trained.recipe, 1.0 - row)
        logits = grads.outputs(training.load(one), it.dataset.evaluation)
        assert value == pytest.approx(float(it.question([asked("loss", {})]).value(logits)[0]), abs=1e-5)


def test_the_smaller_form_is_kept():
    assert (_bank.smaller(10, 10), _bank.smaller(11, 10), _bank.smaller(9, 10)) == ("weights", "outputs", "weights")


def test_a_cancelled_bank_keeps_what_it_has(fresh):
    run, records = fresh.run().id, len(fresh.records())

    def stop(event: Event) -> None:
        if event.stage == "retrain" and event.done >= 20:
            raise Cancelled

    args = {**GAP, "method": "random", "fraction": 0.05, "subsets": 36}
    with pytest.raises(Cancelled):
        perform("fidelity", fresh, args, stop)
    size = round(0.05 * len(opened(fresh, None).dataset.train))
    assert held(fresh, run, Shelf(size))["n"] == 16
    assert kept(fresh, *names_of(fresh, "random")) == []
    assert [r.kind for r in fresh.records()[records:]] == ["attribute"]
    events: list[Event] = []
    assert perform("fidelity", fresh, args, events.append)["bank"]["trained"] == 20
    assert max(e.done for e in events if e.stage == "retrain") <= 20


def test_models_that_were_deleted_are_trained_again(fresh):
    got = perform("fidelity", fresh, {**GAP, "method": "random", **SETS})
    [(digest, _)] = held(fresh, fresh.run().id, Shelf(got["removed"]))["parts"]
    fresh.objects.path(digest, "npy").unlink()
    again = perform("fidelity", fresh, {**GAP, "method": "random", **SETS})
    assert again["bank"]["trained"] == 8
    assert again["lds"] == got["lds"]


def test_figures_and_record_appear_together(fresh, monkeypatch):
    record = Project.record

    def broken(self, kind, **rest):
        if kind == "fidelity":
            raise OSError("no space left")
        return record(self, kind, **rest)

    monkeypatch.setattr(Project, "record", broken)
    with pytest.raises(OSError, match="no space"):
        perform("fidelity", fresh, {**GAP, "method": "random", **SETS})
    assert kept(fresh, *names_of(fresh, "random")) == []
    monkeypatch.setattr(Project, "record", record)
    got = perform("fidelity", fresh, {**GAP, "method": "random", **SETS})
    [found] = kept(fresh, *names_of(fresh, "random"))
    assert found["lds"] == got["lds"]
    body = fresh.records()[-1].body
    assert set(fresh.json(body["outputs"]["bank"])["objects"]) == {
        digest for digest, _ in held(fresh, fresh.run().id, Shelf(got["removed"]))["parts"]
    }
    assert body["inputs"]["scores"] == every(fresh, *names_of(fresh, "random")[:2])[0]["scores"]


def test_several_fractions_and_fresh_seeds(fresh):
    got = perform("fidelity", fresh, {**GAP, "method": "random", "fractions": [0.02, 0.5], "subsets": 8})
    assert [r["fraction"] for r in got["by_fraction"]] == [0.02, 0.5]
    assert got["lds"] == got["by_fraction"][0]["lds"]
    assert got["noise_ceiling"] is None
    free = perform("fidelity", fresh, {**GAP, "method": "metagradient", "fraction": 0.5, "subsets": 8, "truth": "fresh", "seeds": 3})
    assert free["bank"]["trained"] == 3 * 8
    assert free["noise_ceiling"] is None or 0 <= free["noise_ceiling"] <= 1
    perform("fidelity", fresh, {**GAP, "method": "metagradient", "fraction": 0.5, "subsets": 8})
    run, query, method = names_of(fresh, "metagradient")
    assert [(r["truth"], r["fraction"]) for r in kept(fresh, run, query, method)] == [("same", 0.5), ("fresh", 0.5)]
    perform("fidelity", fresh, {**GAP, "method": "metagradient", "fraction": 0.5, "subsets": 10})
    assert [r["n"] for r in kept(fresh, run, query, method)] == [10, 8], "the newest figures count"


def test_fresh_banks_are_the_changes_of_each_seed(fresh):
    """Small sets, so that the two seeds disagree: a second bank that is a copy of the first would have a ceiling of 1."""
    it = opened(fresh, None)
    question = it.question([asked("loss", {})])
    got = perform("fidelity", fresh, {"query": "loss", "method": "tracin", "fraction": 0.02, "subsets": 12, "truth": "fresh"})
    left_out, banks = random_sets(it.seen, got["removed"], 12, 0), []
    for seed in (1000, 1001):
        thetas = training.train_many(it.trained.model, it.dataset.train, it.trained.recipe, 1.0 - left_out, [seed] * 12)
        bounds = [training.bound_at(it.trained.model, it.trained.recipe, theta) for theta in thetas]
        banks.append([float(question.value(grads.outputs(bound, it.dataset.evaluation))[0]) for bound in bounds])
    predicted = left_out @ fresh.scores(every(fresh, it.run.id, described(asked("loss", {})))[0]["scores"]).column()
    assert got["lds"] == pytest.approx(np.mean([spearmanr(predicted, bank).statistic for bank in banks]))
    assert got["noise_ceiling"] == pytest.approx(max(0, spearmanr(*banks).statistic) ** 0.5)
    assert got["noise_ceiling"] < 1


# ---- Figures


def test_slope_has_the_interval_that_least_squares_gives():
    rng = np.random.default_rng(0)
    held_true = 0
    for _ in range(400):
        x = rng.normal(size=20) + 3
        found = slope(x, 1.4 * x + rng.normal(size=20))
        held_true += found.low <= 1.4 <= found.high
    assert 0.92 < held_true / 400 < 0.98
    assert np.isnan(slope(np.ones(9), np.arange(9.0)).slope)


def test_recalibration_is_learned_on_one_half_and_checked_on_the_other():
    x = np.random.default_rng(0).normal(size=20)
    y = np.where(np.arange(20) % 2, 3.0, 2.0) * x
    factor, after = recalibrated(x, y)
    assert factor == pytest.approx(2.0)
    assert after.slope == pytest.approx(1.5)
    assert after.n == 10
    assert np.isnan(recalibrated(x[:6], y[:6])[1].slope), "three sets are too few"


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.96, 0.99, "well"), (0.5, 0.9, "roughly"), (0.1, 0.39, "poorly"), (0.1, 0.5, "unclear"), (-0.3, 0.95, "unclear"),
        (None, None, "unclear"), (-0.9, -0.5, "poorly"),
    ],
)  # fmt: skip
def test_verdict(low, high, word):
    assert verdict(low, high) == word


# ---- Agreement


def test_agreement_is_that_of_the_scores(made):
    for method, given in (("metagradient", {}), ("tracin", {}), ("random", {}), ("random", {"seed": 7})):
        perform("attribute", made, {**GAP, "method": method, "set": given})
    got = perform("agreement", made, GAP)
    assert {"metagradient", "tracin", "random", "random (seed 7)"} <= set(got["names"])
    at = {name: place for place, name in enumerate(got["names"])}
    run, query, _ = names_of(made, "random")
    values = {name: made.scores(f["scores"]).column() for name, f in zip(got["names"], every(made, run, query), strict=True)}
    pair = at["metagradient"], at["tracin"]
    truth = spearmanr(values["metagradient"], values["tracin"]).statistic
    assert got["correlation"][pair[0]][pair[1]] == pytest.approx(truth)
    assert got["low"][pair[0]][pair[1]] < truth < got["high"][pair[0]][pair[1]]
    first = [set(np.argsort(values[name], kind="stable")[: got["top"]]) for name in ("metagradient", "tracin")]
    assert got["overlap"][pair[0]][pair[1]] == pytest.approx(len(first[0] & first[1]) / got["top"])
    assert got["correlation"][0][0] == pytest.approx(1.0)
    assert got["n"] == len(values["tracin"])
    assert "not truth" in got["sentence"]
    knowing = [place for place, method in enumerate(got["methods"]) if method["name"] != "random"]
    off = ~np.eye(len(knowing), dtype=bool)
    assert f"{np.array(got['correlation'])[np.ix_(knowing, knowing)][off].min():.2f}, between" in got["sentence"]
    assert f"{100 * np.array(got['overlap'])[np.ix_(knowing, knowing)][off].min():.0f} % in common" in got["sentence"]
    assert f"these {len(knowing)} methods" in got["sentence"], "what knows nothing is no judge of agreement"
    alone = {**got, "methods": [{"name": "random"}] * len(got["methods"])}
    assert sentence(alone).startswith("There is nothing to agree yet")
    assert abs(got["correlation"][at["random"]][at["random (seed 7)"]]) < 0.2


def test_agreement_needs_two_methods_and_a_question_that_exists(made):
    with pytest.raises(BadInput, match="two methods or more; this question was scored by 0"):
        perform("agreement", made, {"query": "demographic_parity_gap", "query_set": {"group": "group"}})
    with pytest.raises(BadInput):
        perform("agreement", made, {"query": "nonsense"})
