"""Training in shards and slices, and forgetting by a part of it: every claim to the bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from influence import grads, training
from influence.actions import _oracles, _reruns, perform
from influence.actions._opened import opened
from influence.digest import digest
from influence.errors import BadInput
from influence.loop import Loop
from influence.models.ensemble import Ensemble
from influence.registry import attribution, build, described, mislabelled, models, unlearning
from influence.shards.layout import Layout, places
from influence.shards.stages import member
from influence.store import Project
from influence.types import Examples, Recipe, Selection, Trained
from tests.tiny import bind, examples, recipe


def sharded(rows: Examples, kind: str = "mlp", shards: int = 3, slices: int = 3, **given: object) -> Trained:
    how = recipe(**{"shards": shards, "slices": slices, "epochs": 6, **given})
    return training.train(Ensemble.of(bind(kind, rows), shards), rows, how)


def kept(trained: Trained) -> list[tuple[str, int, float]]:
    return [(c.digest, c.step, c.lr) for c in trained.checkpoints]


def forgotten(trained: Trained, rows: Examples, *ids: int, method: str = "sisa") -> Trained:
    made: Trained = unlearning.make(method)(trained, rows, Selection(ids))
    return made


def in_place(rows: Examples, how: Recipe, shard: int, part: int) -> list[int]:
    """Ids of one shard's slice."""
    own = places(how, rows.ids)
    return rows.ids[(own[0] == shard) & (own[1] == part)].tolist()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("classes", [3, 0])
def test_forgetting_is_training_all_shards_without_the_rows_to_the_bit(dtype, classes):
    rows = examples(90, classes=classes)
    trained = sharded(rows, dtype=dtype, loss="cross_entropy" if classes else "squared")
    gone = (in_place(rows, trained.recipe, 0, 1)[0], *in_place(rows, trained.recipe, 2, 2)[:2])
    made, truth = forgotten(trained, rows, *gone), forgotten(trained, rows, *gone, method="retrain")
    anew = training.train(trained.model, rows.without(Selection(gone)), trained.recipe, removed=gone)
    assert kept(made) == kept(truth) == kept(anew), "what is kept after each slice, too"
    assert made.claim == "L2"
    assert made.removed == gone
    weighted = training.train_many(trained.model, rows, trained.recipe, 1.0 - rows.mask(gone)[None])
    assert torch.equal(weighted[0], training.load(made).vector())


def test_batch_statistics_and_dropout_change_no_bit():
    rows = examples(40, shape=(3, 8, 8))
    trained = sharded(rows, "resnet9", shards=2, slices=2, epochs=1, batch_size=16, dtype="float32")
    gone = in_place(rows, trained.recipe, 1, 1)[:2]
    assert kept(forgotten(trained, rows, *gone)) == kept(forgotten(trained, rows, *gone, method="retrain"))
    flat = examples(90)
    model = Ensemble.of(replace(bind("mlp", flat), dropout=0.5), 3)
    trained = training.train(model, flat, recipe(shards=3, slices=2))
    gone = in_place(flat, trained.recipe, 1, 1)[:2]
    assert kept(forgotten(trained, flat, *gone)) == kept(forgotten(trained, flat, *gone, method="retrain"))


def test_other_shards_and_earlier_slices_are_what_they_were():
    rows = examples(90)
    trained = sharded(rows)
    made = forgotten(trained, rows, in_place(rows, trained.recipe, 1, 1)[0])
    same = [
        [
            all(torch.equal(a, b) for a, b in zip(*(member(t.checkpoints[r].load(), k).values() for t in (trained, made)), strict=True))
            for k in range(3)
        ]
        for r in range(3)
    ]
    assert same == [[True, True, True], [True, False, True], [True, False, True]]


def test_request_after_request_ends_at_the_same_weights_and_keeps_nothing_stale():
    rows = examples(90)
    trained = sharded(rows)
    first, second = in_place(rows, trained.recipe, 0, 2)[0], in_place(rows, trained.recipe, 0, 1)[0]
    once = forgotten(trained, rows, first)
    twice = forgotten(once, rows, second)
    assert kept(twice) == kept(forgotten(trained, rows, first, second))
    saw = {c.digest for c in trained.checkpoints[1:]} | {once.final.digest}
    assert not saw & {c.digest for c in twice.checkpoints}
    assert twice.removed == (first, second)


def test_a_stage_goes_on_from_the_one_before_with_draws_of_its_own():
    rows = examples(90)
    trained = sharded(rows)
    layout = Layout.of(trained.recipe, rows.ids, ())
    shard, part = places(trained.recipe, rows.ids)
    loops = [Loop.of(bind("mlp", rows), rows.take((shard == 1) & (part <= r)), layout.stage(1, r), None, ()) for r in range(2)]
    for r, loop in enumerate(loops):
        loop.bound.put(loops[r - 1].bound.vector() if r else loop.bound.vector())
        loop.run(0, len(loop.batches))
        by_hand, own = loop.bound.state(), member(trained.checkpoints[r].load(), 1)
        assert all(torch.equal(by_hand[name], own[name]) for name in own)
    stages = [layout.stage(k, r) for k in range(3) for r in range(3)]
    assert len({stage.seed for stage in stages}) == 9
    assert {stage.epochs for stage in stages} == {3}


def test_only_what_saw_the_rows_is_trained_again():
    rows, seen = examples(90), []
    trained = sharded(rows)
    layout = Layout.of(trained.recipe, rows.ids, ())
    gone = in_place(rows, trained.recipe, 2, 2)[0]
    unlearning.make("sisa")(trained, rows, Selection((gone,)), report=seen.append)
    assert {event.total for event in seen} == {int(layout.steps[2, 2])}
    share = unlearning.make("sisa").share(trained, rows, Selection((gone,)))
    assert share == layout.steps[2, 2] / layout.steps.sum()
    assert f"1 of 3 shards trained again, {share:.1%}" in seen[-1].note
    early = in_place(rows, trained.recipe, 2, 0)[0]
    assert layout.share([early]) == layout.steps[2].sum() / layout.steps.sum()


def test_a_row_keeps_its_shard_and_slice_when_others_go():
    how, ids = recipe(shards=4, slices=3), np.arange(1000)
    own, fewer = places(how, ids), places(how, ids[::7])
    assert all((a[::7] == b).all() for a, b in zip(own, fewer, strict=True))
    assert np.bincount(own[0] * 3 + own[1], minlength=12).min() > 50
    assert abs(np.corrcoef(*own)[0, 1]) < 0.1
    assert (places(replace(how, seed=1), ids)[0] != own[0]).mean() > 0.5


def test_stages_see_about_as_many_rows_as_one_training():
    rows = examples(600)
    for slices in (1, 2, 4, 7):
        how = recipe(shards=3, slices=slices, epochs=28, batch_size=10)
        assert Layout.of(how, rows.ids, ()).steps.sum() == pytest.approx(28 * 60, rel=0.1)


def test_one_shard_of_one_slice_is_training_as_ever():
    rows = examples(40)
    how, model = recipe(), bind("mlp", rows)
    assert not how.sharded
    assert kept(training.train(model, rows, how)) == kept(training.train(model, rows, replace(how, shards=1, slices=1)))


def test_slices_of_one_shard():
    rows = examples(60)
    trained = sharded(rows, shards=1, slices=4)
    gone = in_place(rows, trained.recipe, 0, 3)[0]
    assert len(trained.checkpoints) == 4
    assert kept(forgotten(trained, rows, gone)) == kept(forgotten(trained, rows, gone, method="retrain"))


@pytest.mark.parametrize("classes", [3, 0])
def test_the_ensemble_is_the_mean_of_its_members(classes):
    rows = examples(60, classes=classes)
    trained = sharded(rows, loss="cross_entropy" if classes else "squared")
    said, x = grads.outputs(training.load(trained), rows), torch.from_numpy(rows.x)
    parts = []
    for k in range(3):
        one = bind("mlp", rows)().double()
        one.load_state_dict(member(trained.final.load(), k))
        parts.append(one(x).softmax(1).log() if classes else one(x))
    mean = torch.stack(parts).exp().mean(0).log() if classes else torch.stack(parts).mean(0)
    assert torch.allclose(said, mean.detach(), atol=1e-12)
    assert not torch.allclose(parts[0], parts[1], atol=1e-3), "members are models of their own"


def test_the_architecture_comes_back_from_its_description():
    model = Ensemble.of(bind("mlp", examples(9), hidden="5,4"), 3)
    again = models.make(**described(model))
    assert replace(again, inputs=model.inputs, outputs=model.outputs) == model
    assert model.one == bind("mlp", examples(9), hidden="5,4")
    with pytest.raises(BadInput, match="more than one shard"):
        models.make("ensemble")()


def test_too_few_rows_are_refused_with_numbers():
    rows = examples(40)
    with pytest.raises(BadInput, match=r"40 rows are too few for 80 shards: shard \d+ has [01] in it, and needs 2"):
        sharded(rows, shards=80, slices=1)
    with pytest.raises(BadInput, match=r"too few for 3 shards of 60 slices: shard 1 has \d in its first slice"):
        sharded(rows, shards=3, slices=60)
    trained = sharded(rows, shards=4, slices=1)
    whole = in_place(rows, trained.recipe, 2, 0)
    for method in ("sisa", "retrain"):
        with pytest.raises(BadInput, match="Shard 3 of 4 would keep 1 of its rows"):
            forgotten(trained, rows, *whole[1:], method=method)


def test_a_whole_first_slice_may_go():
    rows = examples(90)
    trained = sharded(rows)
    gone = in_place(rows, trained.recipe, 1, 0)
    assert kept(forgotten(trained, rows, *gone)) == kept(forgotten(trained, rows, *gone, method="retrain"))


def test_a_class_may_be_missing_in_a_shard():
    rows = examples(90)
    own = places(recipe(shards=3, slices=2), rows.ids)[0]
    rows = rows.take(~((own == 1) & (rows.y == 2)))
    trained = sharded(rows, slices=2)
    assert np.isfinite(grads.outputs(training.load(trained), rows).numpy()).all()


def test_only_what_needs_no_single_training_is_open():
    rows = examples(40)
    trained, plain = sharded(rows), training.train(bind("mlp", rows), rows, recipe())
    ready = {
        kind.what: [n for n, c in kind.classes.items() if not c().unavailable(trained)] for kind in (attribution, unlearning, mislabelled)
    }
    assert list(ready.values()) == [["random", "retraining"], ["retrain", "sisa"], ["loss", "out_of_sample"]]
    said = unlearning.make("finetune").unavailable(trained)
    assert said.startswith(
        "finetune needs one model trained on all rows together; this one was trained in 3 shards. Choose sisa or retrain"
    )
    assert "5 shards and 4 slices" in unlearning.make("sisa").unavailable(plain)
    assert not unlearning.make("finetune").unavailable(plain)
    with pytest.raises(BadInput, match="trained in 3 shards"):
        forgotten(trained, rows, 100, method="finetune")
    assert "trained in 3 shards" in attribution.make("tracin").unavailable(replace(trained, recipe=None)), "brought without its recipe"
    with pytest.raises(BadInput, match="5 shards and 4 slices"):
        forgotten(plain, rows, 100)


def test_sisa_needs_what_was_kept_after_each_slice():
    rows = examples(60)
    trained = sharded(rows)
    assert "after each slice" in unlearning.make("sisa").unavailable(replace(trained, checkpoints=trained.checkpoints[-1:]))
    assert "approximate" in unlearning.make("sisa").unavailable(replace(trained, claim="L1"))


def test_fresh_seeds_draw_shards_anew():
    rows = examples(60)
    trained = sharded(rows, slices=2)
    many = training.train_many(trained.model, rows, trained.recipe, np.ones((2, 60)), seeds=[0, 5])
    assert torch.equal(many[0], training.load(trained).vector())
    fresh = training.train(trained.model, rows, replace(trained.recipe, seed=5))
    assert torch.equal(many[1], training.load(fresh).vector())


def test_another_model_than_an_ensemble_is_refused():
    rows = examples(40)
    with pytest.raises(BadInput, match="ensemble of 3 members"):
        training.train(bind("mlp", rows), rows, recipe(shards=3))


def test_divergence_is_told():
    with pytest.raises(BadInput, match="Lower lr"):
        sharded(examples(60, classes=0), loss="squared", lr=9.0, epochs=40)


def test_metrics_are_those_of_the_whole_model():
    rows, seen = examples(90), []
    trained = sharded(rows)
    gone = in_place(rows, trained.recipe, 1, 2)[0]

    def look(bound) -> dict[str, float]:
        return {"mean": float(bound.module(torch.from_numpy(rows.x)).detach().mean())}

    made = unlearning.make("sisa")(trained, rows, Selection((gone,)), monitor=look, report=seen.append)
    told = [event.metrics["mean"] for event in seen if event.metrics]
    # the first look comes before any step: the other shards as they are, this one before its last slice
    before = {f"members.1.{k}": v for k, v in member(trained.checkpoints[1].load(), 1).items()}
    start = training.load(trained).load({**trained.final.load(), **before})
    assert told[0] == look(start)["mean"]
    assert told[-1] == look(training.load(made))["mean"]
    assert len(told) > 2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with a model in shards, and one that forgot two rows by a part of its training."""
    torch.set_num_threads(1)
    project = Project(tmp_path_factory.mktemp("shards") / "p")
    how = {"shards": 3, "slices": 2, "epochs": 4, "hidden": "8"}
    run = perform("train", project, {"data": "bundled:loans", "data_set": {"n": 600}, "set": how})["run"]
    ids = project.dataset(project.run(run).dataset).train.ids[[3, 9]].tolist()
    return project, run, ids, perform("unlearn", project, {"run": run, "method": "sisa", "ids": ids})


def test_a_run_in_shards_is_unlearned_verified_compared_and_reported(made):
    project, run, ids, result = made
    new, truth = project.trained(result["run"]), project.trained(result["retrained"])
    assert kept(new) == kept(truth)
    assert project.run(result["run"]).body["weights_claim"] == "L2"
    assert result["claim_note"].startswith("Preprocessing kept")
    assert (new.recipe.shards, new.recipe.slices, len(new.checkpoints)) == (3, 2, 2)
    again = perform(
        "unlearn", project, {"run": result["run"], "method": "sisa", "ids": project.dataset(project.run(run).dataset).train.ids[:1]}
    )
    assert project.trained(again["run"]).removed == (*ids, project.dataset(project.run(run).dataset).train.ids[0])
    verdict = perform("verify", project, {"run": result["run"], "oracles": 2})
    assert verdict["trained"] == 2
    assert perform("compare", project, {"run": result["run"]})["runs"].keys() == {"original", "unlearned", "retrained"}
    assert "ensemble" in (project.path / perform("report", project, {"run": result["run"]})["html"]).read_text()


def test_sisa_is_judged_as_a_method_from_originals_with_what_was_kept_after_each_slice(made):
    project, _, ids, result = made
    verdict = perform("verify", project, {"run": result["run"], "oracles": 5, "runs": 5})
    assert set(verdict["method"]) == {"klom", "epsilon", "u_lira"}
    it = opened(project, result["run"])
    train, recipe = it.dataset.train, it.trained.recipe
    seed = _oracles.seeds(recipe, train.ids, ~train.mask(ids), _reruns.SEED, 2)[1]
    original = training.train(it.trained.model, train, replace(recipe, seed=seed))
    made_so = unlearning.make("sisa")(original, train, Selection(tuple(ids)))
    np.testing.assert_array_equal(_reruns.pooled(it, 2)[1], _oracles.outputs(it, training.load(made_so))["forget"])


def test_oracles_are_laid_out_as_the_users_model_could_have_been():
    """By some seeds a shard has too few rows: those are passed over, or no oracle could be trained for a model that could."""
    few, ids, there = recipe(shards=5, slices=4), np.arange(120), np.ones(120, bool)
    found = _oracles.seeds(few, ids, there, 1_000_003, 64)
    fits = [Layout.of(replace(few, seed=seed), ids, ()).fits(there) for seed in range(1_000_003, found[-1] + 1)]
    assert len(found) == len(set(found)) == 64 == sum(fits) < len(fits)
    assert _oracles.seeds(few, ids, there, 1_000_003, 9) == found[:9]
    assert _oracles.seeds(recipe(), ids, there, 5, 3) == [5, 6, 7]
    with pytest.raises(BadInput, match="Train with fewer shards"):
        _oracles.seeds(few, ids[:30], there[:30], 0, 4)


def test_preprocessing_is_fitted_again_for_shards_too(made):
    project, run, ids, _ = made
    result = perform("unlearn", project, {"run": run, "method": "retrain", "ids": ids, "set": {"preprocessing": "refitted"}})
    assert result["claim"] == "L2"
    assert project.trained(result["run"]).model.members == 3


def test_what_follows_one_training_says_why_not(made):
    project, run, _, _ = made
    for action, args in [("prepare", {"run": run}), ("smoothness", {"run": run}), ("unlearn", {"run": run, "method": "scrub", "ids": [1]})]:
        with pytest.raises(BadInput, match=r"one model trained on all rows together; this one was trained in 3 shards\. Choose"):
            perform(action, project, args)
    scores = perform("attribute", project, {"run": run, "query": "loss", "method": "retraining", "set": {"subsets": 10}, "baseline": True})
    assert scores["train_seconds"] is None


def test_an_ensemble_leaves_and_comes_back(made, tmp_path):
    project, run, _, _ = made
    for form in ("record", "pt2"):
        perform("export_model", project, {"out": str(tmp_path / form), "run": run, "format": form})
        brought = perform("import_model", project, {"path": str(tmp_path / form), "data": "bundled:loans", "data_set": {"n": 600}})["run"]
        rows = project.dataset(project.run(run).dataset).holdout
        told = [grads.outputs(training.load(project.trained(each)), rows) for each in (run, brought)]
        torch.testing.assert_close(*told)
        assert "trained in 3 shards" in attribution.make("tracin").unavailable(project.trained(brought))


def test_identities_of_recipes_and_old_runs_are_what_they_were():
    assert digest(Recipe()) == "0639d911f9d05f3f85444777688ec69379e32274b46a2fe789f1b0e8961480df", "as before there were shards"
    assert len({digest(Recipe(**given)) for given in ({}, {"shards": 2}, {"slices": 2}, {"shards": 2, "slices": 2})}) == 4
    old = {name: value for name, value in Recipe().given.items() if name not in ("shards", "slices")}
    assert build(Recipe, old) == Recipe()
