"""Each score of labels is its formula, out-of-sample models are really not shown their rows, and the door keeps what it finds."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from typer.testing import CliRunner

from influence.__main__ import app
from influence.actions import mislabelled as looked
from influence.actions import perform
from influence.attribution.tracin import own_influence
from influence.cli.find_rows import mislabelled as command
from influence.errors import BadInput
from influence.grads import outputs
from influence.mislabelled import out_of_sample
from influence.mislabelled.loss import Loss
from influence.mislabelled.margin_over_training import MarginOverTraining
from influence.mislabelled.out_of_sample import OutOfSample, folds
from influence.mislabelled.own_influence import OwnInfluence
from influence.registry import mislabelled
from influence.store import Project
from influence.training import load, train
from influence.types import Selection, ignore
from influence.workspace import Workspace
from tests.tiny import bind, examples, recipe, target


@pytest.fixture(scope="module")
def problem():
    rows = examples(30)
    return train(bind("mlp", rows), rows, recipe(checkpoints=3)), rows


def test_loss_is_the_cross_entropy(problem):
    trained, rows = problem
    expected = F.cross_entropy(outputs(load(trained), rows), target(rows), reduction="none")
    np.testing.assert_allclose(Loss()(trained, rows).column(), expected, rtol=1e-12)


def test_margin_over_training_is_the_mean_over_checkpoints(problem):
    trained, rows = problem
    margins = []
    for kept in trained.checkpoints:
        z = outputs(load(trained, kept), rows).numpy()
        margins.append([z[i, y] - max(z[i, c] for c in range(3) if c != y) for i, y in enumerate(rows.y)])
    np.testing.assert_allclose(MarginOverTraining()(trained, rows).column(), -np.mean(margins, 0), rtol=1e-12)


def test_own_influence_counts_the_checkpoints_asked_for(problem):
    trained, rows = problem
    np.testing.assert_array_equal(OwnInfluence()(trained, rows).column(), own_influence(trained, rows))
    early = own_influence(replace(trained, checkpoints=trained.checkpoints[:1]), rows, "last")
    np.testing.assert_array_equal(OwnInfluence(layers="last", first=1)(trained, rows).column(), early)


def test_every_row_is_left_out_once_and_classes_are_spread_evenly():
    rows = examples(47)
    out = folds(rows, 5, 0)
    assert (out.sum(0) == 1).all()
    for c in range(3):
        sizes = out[:, rows.y == c].sum(1)
        assert sizes.max() - sizes.min() <= 1
    assert (out != folds(rows, 5, 1)).any()
    order = np.random.default_rng(0).permutation(47)
    np.testing.assert_array_equal(folds(rows.take(order), 5, 0), out[:, order])


@pytest.mark.parametrize("removed", [(), (103, 110)])
def test_out_of_sample_is_what_plain_trainings_without_the_rows_say(problem, removed):
    trained, rows = problem
    trained = replace(trained, removed=removed)
    expected, m = np.zeros((30, 3)), 0
    for r in range(2):
        for out in folds(rows, 3, r):
            how = replace(trained.recipe, seed=3_000_017 + m)
            gone = (*rows.ids[out].tolist(), *removed)
            alone = train(trained.model, rows, how, removed=gone)
            expected[out] += torch.softmax(outputs(load(alone), rows), 1).numpy()[out] / 2
            m += 1
    scored = OutOfSample(folds=3, repeats=2, epochs="recipe")
    own = expected[np.arange(30), rows.y]
    np.testing.assert_allclose(scored(trained, rows).column(), 1 - own, rtol=1e-9)
    np.testing.assert_array_equal(scored.labels(trained, rows), expected.argmax(1))
    expected[np.arange(30), rows.y] = -1
    by_margin = replace(scored, by="normalised margin")(trained, rows).column()
    np.testing.assert_allclose(by_margin, expected.max(1) - own, rtol=1e-9)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_fewer_rows_than_folds_are_judged_one_by_one(n):
    rows = examples(n)
    trained = train(bind("logistic", rows), rows, recipe(epochs=1, batch_size=2))
    scores = OutOfSample()(trained, rows).column()
    assert ((scores > 0) & (scores < 1)).all()


def test_rows_that_training_never_saw_are_not_listed(tmp_path):
    project = Project(tmp_path / "p")
    perform("train", project, {"data": "bundled:loans", "data_set": {"n": 500}, "set": {"epochs": 1}})
    gone = project.dataset(project.run().dataset).train.ids[:60].tolist()
    project.choose(Selection(tuple(gone), reason={"words": "the first"}))
    run = perform("unlearn", project, {"method": "retrain"})["run"]
    found = perform("mislabelled", project, {"run": run, "method": "loss"})
    table = project.table(found["table"])
    assert len(table) == found["n"] == len(project.dataset(project.run(run).dataset).train) - 60
    assert not set(table["id"]) & set(gone)


def test_judges_are_trained_shorter_for_as_long_as_that_foretells_labels_better(problem):
    trained, rows = problem
    long = replace(trained, recipe=replace(trained.recipe, epochs=20, lr=0.05))
    lengths, surprise = [20, 10, 5, 2, 1], []
    for epochs in lengths:
        of = replace(long, recipe=replace(long.recipe, epochs=epochs))
        p = OutOfSample(folds=3, repeats=1, epochs="recipe").probabilities(of, rows, ignore, Workspace())
        surprise.append(-np.log(p[np.arange(30), rows.y]).mean())
    stop = next(k for k in range(4) if surprise[k + 1] >= surprise[k])
    assert stop == 2, "the problem must need a choice"
    judges = replace(long, recipe=replace(long.recipe, epochs=lengths[stop]))
    expected = OutOfSample(folds=3, repeats=2, epochs="recipe")(judges, rows).column()
    np.testing.assert_allclose(OutOfSample(folds=3, repeats=2)(long, rows).column(), expected, rtol=1e-9)


def test_out_of_sample_trains_in_parts_and_only_once(problem, monkeypatch, tmp_path):
    trained, rows = problem
    score, workspace = OutOfSample(folds=3, repeats=2), Workspace(tmp_path)
    whole = score(trained, rows).column()
    monkeypatch.setattr("influence.training.TOGETHER", 4)
    np.testing.assert_allclose(score(trained, rows, workspace=workspace).column(), whole, rtol=1e-9)
    monkeypatch.setattr(out_of_sample, "train_many", None)
    replace(score, by="normalised margin")(trained, rows, workspace=workspace)
    score.labels(trained, rows, workspace=workspace)
    with pytest.raises(TypeError):
        replace(score, seed=1)(trained, rows, workspace=workspace)


# ---- The door


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with a model of 300 rows of which every tenth has another label than its side says."""
    folder = tmp_path_factory.mktemp("labels")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3))
    right = np.where(x[:, 0] > 0, "yes", "no")
    wrong = np.arange(500) % 10 == 0
    label = np.where(wrong, np.where(right == "yes", "no", "yes"), right)
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "wrong": wrong, "label": label})
    frame.to_csv(folder / "t.csv", index=False)
    project = Project(folder / "p")
    given = {"data": str(folder / "t.csv"), "target": "label", "audit": ["wrong"], "set": {"epochs": 10, "batch_size": 32}}
    return project, perform("train", project, given)["run"]


def test_the_action_finds_keeps_and_records(made):
    project, run = made
    first = perform("mislabelled", project, {"set": {"repeats": 2}})
    again = perform("mislabelled", project, {"set": {"repeats": 2}})
    assert (first["found"], again["found"]) == (False, True)
    assert again["scores"] == first["scores"]
    assert perform("mislabelled", project, {"set": {"repeats": 2}, "again": True})["scores"] == first["scores"]
    records = [r for r in project.records() if r.kind == "mislabelled"]
    assert len(records) == 2
    assert records[0].body["outputs"]["scores"] == first["scores"]
    assert project.check() == []
    train = project.dataset(project.run(run).dataset).train
    table, scores = project.table(first["table"]), project.scores(first["scores"])
    assert table["score"].is_monotonic_decreasing
    assert first["first"] == table["id"].head(20).tolist()
    at = pd.Index(train.ids).get_indexer(table["id"])
    np.testing.assert_array_equal(table["score"], scores.column()[at])
    assert table["given"].tolist() == [train.classes[y] for y in train.y[at]]
    assert (table["given"] != table["suggested"]).sum() == first["differ"]
    wrong = train.columns["wrong"].to_numpy()[at]
    assert wrong[: wrong.sum()].mean() > 0.8


def test_the_first_rows_become_a_selection_that_says_why(made):
    project, _ = made
    found = perform("mislabelled", project, {"method": "loss"})
    chosen = looked.first(project, found, 7)
    assert list(chosen.ids) == project.table(found["table"])["id"].head(7).tolist()
    assert chosen.reason["words"] == "the 7 rows whose labels are likeliest wrong by the score “loss”"
    assert chosen.reason["scores"] == found["scores"]
    assert looked.first(project, found, 1).reason["words"] == "the row whose label is likeliest wrong by the score “loss”"
    with pytest.raises(BadInput, match="cannot be chosen"):
        looked.first(project, found, 100_000)


def test_the_default_is_registered_and_the_commands_own():
    assert looked.DEFAULT in mislabelled.classes
    assert inspect.signature(command).parameters["method"].default == looked.DEFAULT


def call(*args: str):
    return CliRunner().invoke(app, ["mislabelled", *args])


def test_the_command_writes_what_other_commands_read(made, tmp_path):
    project, _ = made
    place = ["--project", str(project.path)]
    out, csv = tmp_path / "s.parquet", tmp_path / "s.csv"
    done = call("--method", "loss", "--out", str(out), "--csv", str(csv), "--top", "5", "--json", *place)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    listed = pd.read_csv(csv)
    assert list(listed.columns) == ["id", "given", "suggested", "score"]
    assert listed["id"].tolist() == said["first"][:5]
    from influence.commands import ranked_ids

    assert ranked_ids(out, 5) == said["first"][:5]
    refused = call("--method", "nonsense", *place)
    assert refused.exit_code == 2
    assert "There is no score of labels 'nonsense'; there are: " in refused.stderr
    assert call("--method", "loss", "--csv", str(tmp_path), *place).exit_code == 2
    for given, said in ((["--top", "5"], "Give --csv"), (["--top", "999999", "--csv", str(csv)], "--top must be between 1 and")):
        refused = call("--method", "loss", *given, *place)
        assert refused.exit_code == 2
        assert said in refused.stderr
    assert len(pd.read_csv(csv)) == 5, "a refusal writes nothing"
    refused = CliRunner(env={"INFLUENCE_MEMORY": "abc"}).invoke(app, ["mislabelled", "--method", "loss", *place])
    assert refused.exit_code == 2
    assert "INFLUENCE_MEMORY" in refused.stderr
