"""Verifying a run: the oracles are what they are said to be, kept and shared, and the verdict is right both ways."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from influence import grads, training
from influence.actions import _oracles, _original, _relearning, _reruns, _verified, perform
from influence.actions._opened import opened
from influence.actions.verify import as_unusual, blind, held, in_words, kept, original_in_words
from influence.actions.verify import told as sentences
from influence.errors import BadInput, Cancelled
from influence.readable.prove import verify as verified
from influence.registry import unlearning, verification
from influence.store import Project
from influence.types import Course, Selection
from influence.verification._pool import Pool
from influence.verification._verdict import grains, measured, overall

SETTINGS = {"data": "bundled:loans", "data_set": {"n": 1500}, "set": {"epochs": 12, "batch_size": 64}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return without_planted(tmp_path_factory.mktemp("project") / "p")


def without_planted(folder):
    """A project with a model of simulated loans, retrained without its planted rows, and one that only claims to be."""
    project = Project(folder)
    first = perform("train", project, SETTINGS)["run"]
    ids = list(opened(project, first).dataset.planted)
    how = {"retrain": {"truth": "fresh", "seed": 3}, "finetune": {}}
    runs = {name: perform("unlearn", project, {"run": first, "ids": ids, "method": name, "set": set})["run"] for name, set in how.items()}
    return project, {"original": first, **runs}


def test_retraining_passes_and_a_trace_is_found_beside_the_same_oracles(made):
    project, runs = made
    right = perform("verify", project, {"run": runs["retrain"], "oracles": 24})
    wrong = perform("verify", project, {"run": runs["finetune"], "oracles": 24})
    assert (right["trained"], wrong["trained"]) == (24, 0)
    assert right["overall"]["verdict"] == "inside"
    assert wrong["overall"] == {"verdict": "outside", "chance": pytest.approx(1 / 25), "oracles": 24}
    for each in right["measures"].values():
        assert each["null_low"] <= each["null_high"]
        assert each["n"] == right["n"]["forget"] > 20
        assert each["label"]
    assert wrong["measures"]["margins"]["value"] > wrong["measures"]["margins"]["null_high"]
    assert kept(project, runs["finetune"])["overall"] == wrong["overall"]
    assert [record.kind for record in project.records()].count("verify") >= 2
    assert project.check() == []
    assert "can't be told from 24 models" in in_words(right)
    assert "can be told from 24 models" in in_words(wrong)
    assert "It differs in: " in in_words(wrong)
    assert "margins of removed rows" in in_words(wrong)


def test_a_pass_shows_nothing_where_not_even_the_original_is_told(made):
    """Fine-tuning by steps of next to nothing: beside the same oracles the original stands where the model does."""
    project, runs = made
    random = np.random.default_rng(0).choice(opened(project, runs["original"]).dataset.train.ids, 20, replace=False).tolist()
    lazy = {"run": runs["original"], "method": "finetune", "set": {"lr": 1e-7}}
    told = {}
    for name, ids in (("random", random), ("planted", list(opened(project, runs["original"]).dataset.planted))):
        told[name] = perform("verify", project, {"run": perform("unlearn", project, {**lazy, "ids": ids})["run"], "oracles": 24})
        assert told[name]["original"]["chance"] == told[name]["overall"]["chance"]
        for each in told[name]["measures"].values():
            assert each["original"] == pytest.approx(each["value"], abs=1e-3)
    assert blind(told["random"])
    assert in_words(told["random"]).startswith("On these rows the measures can't even tell the original, which saw them: 2 of 24 models")
    assert original_in_words(told["random"]) == ""
    assert not blind(told["planted"])
    assert "The original, which saw the rows, can be told from the oracles: none of 24 is as unusual." in sentences(told["planted"])
    path = project.path / perform("report", project, {"run": told["random"]["run"]})["html"]
    assert "even tell the original, which saw them" in path.read_text()
    lines = verified(project, told["random"])
    assert lines[0] == in_words(told["random"])
    assert "original" in lines[1]


def test_what_the_original_says_is_read_from_its_own_rows(made):
    project, runs = made
    ids = opened(project, runs["original"]).dataset.train.ids[20:60].tolist()
    settings = {"preprocessing": "refitted"}
    run = perform("unlearn", project, {"run": runs["original"], "ids": ids, "method": "retrain", "set": settings})["run"]
    it = opened(project, run)
    said, first = _original.said(it), opened(project, runs["original"])
    assert it.run.dataset != first.run.dataset
    np.testing.assert_allclose(said["forget"], first.outputs("train").numpy()[20:60], atol=1e-6)
    np.testing.assert_allclose(said["unseen"], first.outputs("holdout").numpy(), atol=1e-6)


def test_oracles_are_trained_without_the_rows_each_from_its_own_seed(made):
    project, runs = made
    perform("verify", project, {"run": runs["retrain"], "oracles": 3})
    it = opened(project, runs["retrain"])
    said = _oracles.pooled(it, 3)
    train, gone = it.dataset.train, it.trained.removed
    for k in (0, 2):
        recipe = replace(it.trained.recipe, seed=_oracles.SEED + k)
        alone = training.train(it.trained.model, train.take(~train.mask(gone)), recipe, removed=gone)
        for part, rows in _oracles.parts(it).items():
            outputs = grads.outputs(training.load(alone), rows).numpy()
            np.testing.assert_allclose(said[part][1 + k], outputs, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(said["unseen"][0], it.outputs("holdout").numpy(), atol=1e-6)


def test_more_oracles_are_added_to_those_there(made):
    project, runs = made
    before = perform("verify", project, {"run": runs["retrain"], "oracles": 24})
    more = perform("verify", project, {"run": runs["retrain"], "oracles": 26})
    assert (before["trained"], more["trained"]) == (0, 2)
    fewer = perform("verify", project, {"run": runs["retrain"], "oracles": 10})
    assert fewer["overall"]["verdict"] == "too few"
    assert "takes 19" in in_words(fewer)


@pytest.mark.slow
def test_really_retrained_models_are_called_different_as_often_as_said(made):
    """Each of 100 retrained models beside 24 others: at 5 %, 10 or fewer alarms of 100."""
    project, runs = made
    it = opened(project, runs["retrain"])
    _oracles.grow(it, 100, lambda event: None)
    said, parts, again = _oracles.pooled(it, 100), _oracles.parts(it), _oracles.relearned(it, 100)
    measures = [verification.make(name) for name in verification.classes]
    sides = {type(measure).id: measure.side for measure in measures} | {"relearn": _relearning.Relearn.side}
    rng, chances = np.random.default_rng(0), []
    for judged in range(1, 101):
        at = [judged, *rng.choice(np.delete(np.arange(1, 101), judged - 1), 24, replace=False)]
        given = Pool({part: out[at] for part, out in said.items()}, parts)
        values = measured(measures, given) | {"relearn": again[at].mean(1)}
        chances.append(overall(values, sides, grains(measures, given))["chance"])
    assert sum(chance <= 0.05 for chance in chances) <= 10
    assert min(chances) < 0.2


def test_the_method_is_judged_by_reruns_from_other_originals(made):
    project, runs = made
    wrong = perform("verify", project, {"run": runs["finetune"], "oracles": 24, "runs": 6})
    right = perform("verify", project, {"run": runs["retrain"], "oracles": 24, "runs": 6})
    assert set(wrong["method"]) == {"klom", "epsilon", "u_lira"}
    assert {each["verdict"] for each in wrong["method"].values()} == {"outside"}
    assert {each["verdict"] for each in right["method"].values()} == {"inside"}
    it = opened(project, runs["finetune"])
    first, other = _reruns.pooled(it, 2)
    assert not np.allclose(first, other), "each from its own original"
    recipe = replace(it.trained.recipe, seed=_reruns.SEED + 1)
    original = training.train(it.trained.model, it.dataset.train, recipe)
    made_so = unlearning.make("finetune", {"seed": _reruns.SEED + 1})(original, it.dataset.train, Selection(it.trained.removed))
    alone = grads.outputs(training.load(made_so), _oracles.parts(it)["forget"]).numpy()
    np.testing.assert_allclose(other, alone, rtol=5e-2, atol=5e-2)
    with pytest.raises(BadInput, match="at least 5"):
        perform("verify", project, {"run": runs["finetune"], "oracles": 24, "runs": 2})
    for oracles in (3, 24):  # a later look at the model alone
        again = perform("verify", project, {"run": runs["finetune"], "oracles": oracles})
        assert kept(project, runs["finetune"])["runs"] == again["runs"] == 6
        assert set(again["method"]) == {"klom", "epsilon", "u_lira"}
    assert again["method"] == wrong["method"]

    def html(which):
        return (project.path / perform("report", project, {"run": runs[which]})["html"]).read_text(encoding="utf-8")

    assert "The method, not" not in html("original")
    told = html("finetune").split("The method, not this model alone")[1]
    assert "6 originals, each trained from its own seed" in told
    for test in _verified.judged(wrong, "method"):
        line = f'{test.label}</th><td class="num">{test.value}</td><td class="range">{test.band}'
        assert line in told
    found_at = _verified.method_in_words(wrong)
    assert len(found_at) == 2, "a sentence for each low rate of false alarms"
    assert all(line in told for line in found_at)


def test_a_models_own_verdict_is_kept_before_its_method_is_judged(made, monkeypatch):
    project, runs = made
    ids = opened(project, runs["original"]).dataset.train.ids[30:38].tolist()
    run = perform("unlearn", project, {"run": runs["original"], "ids": ids, "method": "finetune"})["run"]

    def stopped(count):
        def stop(*args):
            raise Cancelled

        with monkeypatch.context() as patch:
            patch.setattr(_reruns, "_add", stop)
            with pytest.raises(Cancelled):
                perform("verify", project, {"run": run, "oracles": 5, "runs": count})

    stopped(5)
    assert (kept(project, run)["oracles"], kept(project, run)["runs"], kept(project, run)["method"]) == (5, 0, {})
    whole = perform("verify", project, {"run": run, "oracles": 5, "runs": 5})
    stopped(6)
    assert (kept(project, run)["runs"], kept(project, run)["method"]) == (5, whole["method"]), "nor is what was known of the method lost"


def test_a_lost_rerun_is_made_again_and_none_is_counted_twice(made):
    project, runs = made
    it = opened(project, runs["finetune"])
    _reruns.grow(it, 5, lambda event: None)
    project.objects.drop(_reruns._whole(it)[1])
    assert len(_reruns._whole(it)) == 1
    _reruns.grow(it, 6, lambda event: None)
    assert len(set(_reruns._whole(it))) == len(_reruns._whole(it)) == 6


def test_a_method_that_is_run_again_hears_when_it_is_to_end_and_what_is_done_stays(made):
    project, runs = made
    it = opened(project, runs["finetune"])
    there = _reruns.held(it)

    def stop(event):
        assert (event.stage, event.metrics) == ("reruns", {})
        if _reruns.held(it) == there + 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        _reruns.grow(it, there + 4, stop)
    assert _reruns.held(it) == there + 2


def test_rows_that_training_never_saw_are_not_judged_as_forgotten(made):
    project, runs = made
    train = opened(project, runs["original"]).dataset.train
    never, gone = train.ids[:50].tolist(), train.ids[100:108].tolist()
    first = perform("train", project, {**SETTINGS, "exclude": never})["run"]
    run = perform("unlearn", project, {"run": first, "ids": [*never[:2], *gone], "method": "finetune"})
    assert run["n_removed"] == 8, "the others were gone already"
    assert project.run(run["run"]).body["n_removed"] == 8
    it = opened(project, run["run"])
    parts = _oracles.parts(it)
    assert set(parts["forget"].ids) == set(gone)
    assert not set(parts["retained"].ids) & {*never, *gone}
    told = perform("verify", project, {"run": run["run"], "oracles": 3})
    assert (told["n"]["forget"], told["forgot"]) == (8, 8)


def test_fewer_oracles_do_not_hide_those_that_are_kept(made):
    project, runs = made
    perform("verify", project, {"run": runs["retrain"], "oracles": 24})
    perform("verify", project, {"run": runs["retrain"], "oracles": 4})
    assert held(project, project.run(runs["finetune"])) >= 24


def course(places: list[int], **more: np.ndarray) -> Course:
    went = {"ids": np.arange(3), "places": np.array(places), "sizes": np.ones(len(places), int), "lr": np.ones(len(places)), **more}
    return Course("d", "of", lambda: went)


def test_trainings_elsewhere_are_verified_only_if_others_can_be_laid_out_like_them():
    assert _oracles._shuffled(course([0, 1, 2, 2, 1, 0]))
    for other in ([0, 1, 2, 0, 1, 2], [0, 0, 2, 1, 2, 1], [0, 1, 2], [0, 1, 2, 1]):
        assert not _oracles._shuffled(course(other)), other
    assert not _oracles._shuffled(course([0, 1, 2, 2, 1, 0], widths=np.ones(6)))


def test_outputs_that_are_not_finite_are_refused(made, monkeypatch):
    project, runs = made
    inner = _oracles.outputs
    monkeypatch.setattr(_oracles, "outputs", lambda it, bound: {part: out * np.nan for part, out in inner(it, bound).items()})
    with pytest.raises(BadInput, match="not finite"):
        perform("verify", project, {"run": runs["retrain"], "oracles": 3})


def test_parts_are_the_removed_rows_and_samples(made, monkeypatch):
    project, runs = made
    monkeypatch.setattr(_oracles, "ROWS", 100)
    monkeypatch.setattr(_oracles, "UNSEEN", 90)
    it = opened(project, runs["retrain"])
    parts = _oracles.parts(it)
    assert set(parts["forget"].ids) <= set(it.trained.removed)
    assert not set(parts["retained"].ids) & set(it.trained.removed)
    assert (len(parts["retained"]), len(parts["unseen"])) == (100, 90)
    assert set(parts["unseen"].ids) <= set(it.dataset.holdout.ids)


def test_a_cancelled_training_keeps_what_is_there(made):
    project, runs = made
    ids = opened(project, runs["original"]).dataset.train.ids[:7].tolist()
    run = perform("unlearn", project, {"run": runs["original"], "ids": ids, "method": "retrain"})["run"]

    def stop(event):
        if event.stage == "oracles" and event.done >= 17:
            raise Cancelled

    with pytest.raises(Cancelled):
        perform("verify", project, {"run": run, "oracles": 40}, stop)
    assert kept(project, run) is None
    assert _oracles.held(opened(project, run)) == 16
    assert perform("verify", project, {"run": run, "oracles": 20})["trained"] == 4


def test_how_many_oracles_are_as_unusual_is_counted_without_the_model():
    assert as_unusual(1 / 25, 24) == "none"
    assert as_unusual(3 / 25, 24) == "2"
    assert as_unusual(1.0, 1000) == "1,000"


def test_refusals(made):
    project, runs = made
    with pytest.raises(BadInput, match="does without none of its training rows"):
        perform("verify", project, {"run": runs["original"]})
    with pytest.raises(BadInput, match="at least 2"):
        perform("verify", project, {"run": runs["retrain"], "oracles": 1})
    for count in (-1, -30, 4):
        with pytest.raises(BadInput, match=f"{count} runs of the method were asked for; it takes at least 5"):
            perform("verify", project, {"run": runs["retrain"], "oracles": 5, "runs": count})
    other = Project(project.path.parent / "empty")
    with pytest.raises(BadInput, match=r"Run `unlearn` first"):
        perform("verify", other, {})
