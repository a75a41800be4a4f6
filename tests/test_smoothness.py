"""Smoothness of a training: its arithmetic, and its door: measured once per run and settings, told as measured."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

from influence.__main__ import app
from influence.actions import perform
from influence.actions._opened import opened
from influence.actions.smoothness import in_words, kept, trainings
from influence.errors import BadInput, Cancelled
from influence.loop import Loop
from influence.replay import smoothness as module
from influence.replay.smoothness import agreement, smoothness
from influence.store import Project
from influence.training import train
from tests.tiny import bind, examples, recipe

LOANS = {"data": "bundled:loans", "data_set": {"n": 600}, "set": {"epochs": 2, "batch_size": 64}}
WILD = recipe(lr=3.0, epochs=20, momentum=0.9, schedule="constant", batch_size=10)
"""Diverges without some of its rows."""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Project:
    project = Project(tmp_path_factory.mktemp("smoothness") / "p")
    perform("train", project, LOANS)
    return project


def test_agreement_of_signs():
    start = torch.zeros(3)
    assert agreement(start, torch.tensor([1.0, -2.0, 1.0]), torch.tensor([2.0, -3.0, 0.5])) == pytest.approx((1 + 2 - 1) / 4)
    with pytest.raises(BadInput, match="moved no parameter"):
        agreement(start, start, start)


def test_sets_are_drawn_among_the_rows_that_training_saw(monkeypatch):
    rows = examples(40)
    trained = train(bind("mlp", rows, hidden="4"), rows, recipe(epochs=1), removed=rows.ids[:30].tolist())
    taken = []
    end = module._end
    monkeypatch.setattr(module, "_end", lambda trained, rows, w, *rest: taken.append(w) or end(trained, rows, w, *rest))
    smoothness(trained, rows, share=0.2, sets=3)
    assert [np.flatnonzero(w < 1).min() >= 30 for w in taken[1:]] == [True] * 6
    assert [(w < 1).sum() for w in taken[1:]] == [2] * 6


def test_a_training_that_diverges_is_no_verdict():
    rows = examples(60)
    with pytest.raises(BadInput, match="diverged"):
        smoothness(train(bind("mlp", rows, hidden="30,30"), rows, WILD), rows, share=0.05)


def test_a_smooth_training_is_told_from_a_rough_one():
    rows = examples(60)
    smooth = smoothness(train(bind("logistic", rows), rows, recipe()), rows, share=0.05)
    assert smooth.n == 5
    assert smooth.value == pytest.approx(np.mean(smooth.values))
    low, high = stats.t.interval(0.95, 4, smooth.value, stats.sem(smooth.values))
    assert (smooth.low, smooth.high) == pytest.approx((low, min(1.0, high)))
    assert smooth.verdict.startswith("Smooth")
    wild = replace(WILD, lr=1.0)
    rough = smoothness(train(bind("mlp", rows, hidden="30,30"), rows, wild), rows, share=0.05)
    assert rough.value < 0.5 < smooth.value
    assert not rough.verdict.startswith("Smooth")


def test_smoothness_needs_a_recipe_and_sets():
    rows = examples(10)
    trained = train(bind("logistic", rows), rows, recipe())
    with pytest.raises(BadInput, match="needs the recipe"):
        smoothness(replace(trained, recipe=None), rows)
    with pytest.raises(BadInput, match="At least two sets"):
        smoothness(trained, rows, sets=1)


def test_it_is_measured_once_recorded_and_found_again(made):
    assert kept(made, made.run().id) == []
    before = len(made.records())
    first = perform("smoothness", made, {"sets": 3})
    it = opened(made, None)
    direct = smoothness(it.trained, it.dataset.train, 0.01, 3, 0)
    assert (first["value"], first["low"], first["high"], first["n"]) == (direct.value, direct.low, direct.high, 3)
    assert (first["word"], first["verdict"]) == (direct.word, direct.verdict)
    assert not first["found"]
    (record,) = made.records()[before:]
    assert (record.kind, record.body["settings"]) == ("smoothness", {"share": 0.01, "sets": 3, "seed": 0})
    assert record.body["measures"]["value"] == first["value"]
    again = perform("smoothness", made, {"sets": 3})
    assert again["found"]
    assert again["computed"] == first["computed"]
    assert len(made.records()) == before + 1
    assert not perform("smoothness", made, {"sets": 3, "again": True})["found"]
    other = perform("smoothness", made, {"sets": 2, "seed": 1})
    assert kept(made, made.run().id)[0]["computed"] == other["computed"]
    assert len(kept(made, made.run().id)) == 2
    assert kept(made, "another run") == []
    assert made.check() == []


def test_it_costs_as_many_trainings_as_it_says(made, monkeypatch):
    ran, run = [], Loop.run
    monkeypatch.setattr(Loop, "run", lambda self, *rest: (ran.append(self), run(self, *rest))[1])
    got = perform("smoothness", made, {"sets": 4, "seed": 7})
    assert len(ran) == got["trainings"] == trainings(4) == 9


def test_a_cancelled_measurement_leaves_nothing(made):
    before = kept(made, made.run().id), len(made.records())

    def stop(event):
        if event.done == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        perform("smoothness", made, {"seed": 9}, stop)
    assert (kept(made, made.run().id), len(made.records())) == before


def test_what_cannot_be_measured_is_refused(made):
    for wrong in ({"share": 0.0}, {"share": 1.5}, {"share": float("nan")}, {"sets": 1}):
        with pytest.raises(BadInput, match="At least two sets"):
            perform("smoothness", made, wrong)


def test_approximately_unlearned_weights_are_not_measured(made):
    ids = made.dataset(made.run().dataset).train.ids[:5].tolist()
    new = perform("unlearn", made, {"ids": ids, "method": "finetune", "set": {"epochs": 1}})["run"]
    with pytest.raises(BadInput, match="approximate unlearning"):
        perform("smoothness", made, {"run": new})


def test_the_words_hold_value_interval_and_n():
    said = in_words({"value": 0.9123, "low": 0.85, "high": 0.97, "share": 0.01, "n": 5})
    assert said == "0.912 (0.850 to 0.970) at 1\N{NO-BREAK SPACE}%, 5 sets of rows"


def test_the_command_measures_and_finds(made):
    for found in (False, True):
        ran = CliRunner().invoke(app, ["smoothness", "--sets", "2", "--share", "0.02", "--project", str(made.path), "--json"])
        assert ran.exit_code == 0, ran.output
        assert json.loads(ran.stdout)["found"] is found
    ran = CliRunner().invoke(app, ["smoothness", "--sets", "1", "--project", str(made.path)])
    assert ran.exit_code == 2
    assert "At least two sets" in ran.stderr
