"""What pages say of models that cannot be trained again, or only in shards: no cost of what is not done, no button that can only fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from influence.actions import _pace, perform
from influence.actions._new_run import new_run
from influence.ui import costs
from tests import drawing
from tests.drawing import text

no_worker, shown, trained = drawing.no_worker, drawing.shown, drawing.trained


@pytest.fixture(scope="module")
def weights(trained) -> str:
    """A run of weights alone, as they are brought without their training."""
    own = trained.run()
    made = replace(trained.trained(own.id), recipe=None)
    told = {"source": {}, "groups": own.body["groups"]}
    return new_run(trained, "import", trained.dataset(own.dataset), made, settings={}, extra=told, seconds=0.41, name="weights")[0]


def box(at, kind: str, key: str):
    return next(e for e in getattr(at, kind) if e.key == key)


def methods_raced(at):
    box(at, "segmented_control", "run.many").set_value("Race several")
    return drawing.drawn(at)


def test_bringing_a_model_is_not_told_as_its_training(trained, weights, shown):
    run = trained.run(weights)
    assert costs.training_seconds(run) is None
    assert _pace.estimate(trained, run, 20) is None
    at = shown(trained, "run", run=weights)
    for said in (text(at), text(methods_raced(at))):
        assert "Its training time is not known here." in said
        assert "0.41" not in said
        assert "is retrained as well" not in said


def test_a_retraining_for_comparison_is_told_only_where_it_will_be_made(trained, shown):
    run = trained.run(next(r.id for r in trained.runs() if r.kind == "train"))
    rows = trained.current()
    at = shown(trained, "run", run=run.id)
    box(at, "radio", "run.method").set_value("influence_step")
    assert "For comparison the model is retrained as well, once." in text(drawing.drawn(at))
    perform("unlearn", trained, {"run": run.id, "ids": list(rows.ids)})
    assert "is retrained as well" not in text(drawing.drawn(at))


@pytest.fixture(scope="module")
def shards(trained) -> str:
    """A run of a model that was trained in shards."""
    return perform("train", trained, {**drawing.SMALL, "set": {"epochs": 2, "batch_size": 64, "shards": 2}})["run"]


def test_a_preview_of_weights_alone_promises_a_ranking_and_no_retraining(trained, weights, shown):
    at = shown(trained, "plan", run=weights)
    said = text(at)
    assert "only ranks rows" in said
    assert "retraining" not in said.partition("only ranks rows")[2].partition("Current selection")[0]
    assert "real training" not in said
    perform("prepare", trained, {"run": weights, "group": "group"})
    at = shown(trained, "plan", run=weights)
    assert "Retraining needs the recipe by which the model was trained; this model has none." in text(at)
    assert "plan.confirm" not in [b.key for b in at.button]
    assert "From a target to rows" not in text(at)


def test_no_preview_is_offered_of_a_model_in_shards(trained, shards, shown):
    at = shown(trained, "plan", run=shards)
    assert "A preview needs one model trained on all rows together" in text(at)
    assert "plan.prepare" not in [b.key for b in at.button]
    assert "real training" not in text(at)
    assert "Score rows by retraining" in drawing.links(at)


def test_verify_is_not_offered_where_no_oracle_can_be_trained(trained, weights, shown):
    new = perform("unlearn", trained, {"run": weights, "ids": list(trained.current().ids), "method": "finetune"})["run"]
    at = shown(trained, "verify", run=new)
    assert "Verifying needs the recipe by which the model was trained; this model has none." in text(at)
    assert "verify.run" not in [b.key for b in at.button]
    assert "Train a model here" in drawing.links(at)
