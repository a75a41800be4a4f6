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
