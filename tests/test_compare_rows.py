"""What `compare` keeps of single rows, layers and the attack, beside what the models really say; and models that read rows otherwise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from influence import grads
from influence.actions import _comparison, perform
from influence.actions._opened import opened
from influence.evaluation._tables import row_losses, softmax
from influence.evaluation.utility import area
from influence.store import Project
from tests import investigation

LOANS = {"data": "bundled:loans", "data_set": {"n": 800}, "set": {"epochs": 3, "batch_size": 64}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with a model of loans, one unlearned and one retrained without 20 rows, and a model of a number."""
    folder = tmp_path_factory.mktemp("compared")
    project = Project(folder / "p")
    runs = {"numeric": perform("train", project, investigation.table(0, folder))["run"], "loans": perform("train", project, LOANS)["run"]}
    ids = list(project.dataset(project.run(runs["loans"]).dataset).planted)[:20]
    new = perform("unlearn", project, {"run": runs["loans"], "ids": ids, "method": "finetune", "set": {"epochs": 1}})
    return project, {**runs, "unlearned": new["run"], "retrained": new["retrained"]}


@pytest.fixture(scope="module")
def compared(made):
    """The comparison of the unlearned loans with a random removal, its tables, and the models by role."""
    project, runs = made
    found = perform("compare", project, {"run": runs["unlearned"], "group": "group", "random": True})
    tables = {name: project.table(digest) for name, digest in found["tables"].items()}
    return found, tables, {role: opened(project, run) for role, run in found["runs"].items()}


def test_rows_are_what_each_model_says_of_them(made, compared):
    _, tables, models = compared
    rows = tables["rows"]
    for part, role in (("holdout", "holdout"), ("forgotten", "train"), ("retained", "train")):
        here = rows[rows["part"] == part]
        for name, it in models.items():
            examples = it.dataset.split(role)
            examples = examples.take(examples.mask(here["id"].tolist()))
            logits = grads.outputs(it.bound, examples).numpy()
            assert np.allclose(here[f"loss_{name}"], row_losses(logits, examples.y, True), atol=1e-5)
            assert list(here[f"said_{name}"]) == [examples.classes[k] for k in logits.argmax(1)]
            own = softmax(logits)[np.arange(len(examples)), examples.y]
            assert np.allclose(np.exp(-here[f"loss_{name}"]), own, atol=1e-5)
    gone = rows[rows["part"] == "forgotten"]["id"]
    assert set(gone) == set(models["unlearned"].trained.removed)
    assert not set(rows[rows["part"] == "retained"]["id"]) & set(gone)


def test_the_attack_is_the_area_under_the_curve_of_losses(compared):
    _, tables, _ = compared
    rows, attack = tables["rows"], tables["attack"].set_index(["role", "metric"])
    members, others = (-rows.loc[rows["part"] == part, "loss_unlearned"].to_numpy() for part in ("forgotten", "holdout"))
    value, (low, high) = area(members, others)
    told = attack.loc[("unlearned", "attack_auc")]
    assert (told["value"], told["low"], told["high"]) == pytest.approx((value, low, high))
    assert (told["n"], told["others"]) == (len(members), len(others))
    assert len(others) * 0.01 < 10, "too few to say at 1 %"
    assert attack.xs("found_at_0.01", level="metric")["value"].isna().all()


def test_a_model_is_like_itself_in_every_layer_and_no_row_moves(made):
    """Compared with a model of the same weights: taken from the original without a step."""
    project, runs = made
    ids = opened(project, runs["loans"]).dataset.train.ids[:15].tolist()
    same = perform("unlearn", project, {"run": runs["loans"], "ids": ids, "method": "finetune", "set": {"epochs": 1, "lr": 1e-6}})
    found = perform("compare", project, {"run": same["run"], "group": "group"})
    layers, places = (project.table(found["tables"][name]) for name in ("layers", "places"))
    own = layers[(layers["first"] == "original") & (layers["second"] == "unlearned")]
    assert len(own) > 1
    assert own["value"].to_numpy() == pytest.approx(1, abs=1e-3)
    assert places["moved_unlearned"].max() < 0.01
    assert places["moved_original"].max() < 1e-6
    assert set(places["part"]) == {"forgotten", "retained", "holdout"}


def test_rows_removed_twice_are_compared_with_the_model_between(made):
    project, runs = made
    train = opened(project, runs["retrained"]).dataset.train
    ids = train.ids[~train.mask(opened(project, runs["retrained"]).trained.removed)][:12].tolist()
    second = perform("unlearn", project, {"run": runs["retrained"], "ids": ids, "method": "retrain"})["run"]
    found = perform("compare", project, {"run": second, "group": "group"})
    rows = project.table(found["tables"]["rows"])
    assert set(rows[rows["part"] == "forgotten"]["id"]) == set(ids)
    gone = set(opened(project, second).trained.removed)
    assert len(gone) == len(ids) + 20
    assert not set(rows[rows["part"] == "retained"]["id"]) & gone


def test_numbers_are_told_in_the_targets_own_unit_also_where_preprocessing_was_fitted_again(made):
    project, runs = made
    ids = opened(project, runs["numeric"]).dataset.train.ids[:40].tolist()
    given = {"run": runs["numeric"], "ids": ids, "method": "retrain", "set": {"preprocessing": "refitted"}}
    found = perform("compare", project, {"run": perform("unlearn", project, given)["run"], "group": "side"})
    tables = {name: project.table(digest) for name, digest in found["tables"].items()}
    assert "classes" not in tables
    assert "flips" not in tables
    holdout = tables["rows"][tables["rows"]["part"] == "holdout"]
    for role in found["runs"]:
        error = (holdout[f"said_{role}"] - holdout["target"]).abs()
        assert np.allclose(error, holdout[f"loss_{role}"], rtol=1e-4, atol=1e-2)
        mae = tables["metrics"].query("role == @role and metric == 'mae' and group == ''")["value"].iloc[0]
        assert mae == pytest.approx(error.mean(), rel=1e-4)
        forgotten = tables["rows"][tables["rows"]["part"] == "forgotten"]
        still = tables["forgetting"].query("role == @role and metric == 'mae'")["value"].item()
        assert still == pytest.approx(forgotten[f"loss_{role}"].mean(), rel=1e-4)
    moved = tables["metrics"].query("role == 'retrained' and metric == 'mae' and group == ''").iloc[0]
    assert moved["change"] == pytest.approx((holdout["loss_retrained"] - holdout["loss_original"]).mean(), rel=1e-3)
    assert moved["change_low"] < moved["change"] < moved["change_high"]


def test_comparisons_of_older_versions_are_made_anew(made, compared):
    project, runs = made
    found = compared[0]
    assert _comparison.kept(project, runs["unlearned"], "group") is not None
    project.note(_comparison.key(runs["unlearned"], "group"), {k: v for k, v in found.items() if k != "version"})
    assert _comparison.kept(project, runs["unlearned"], "group") is None
    perform("compare", project, {"run": runs["unlearned"], "group": "group"})
    assert isinstance(project.table(_comparison.kept(project, runs["unlearned"], "group")["tables"]["metrics"]), pd.DataFrame)


def test_a_model_of_several_members_has_layers_but_no_last_hidden_one(made):
    project, _ = made
    run = perform("train", project, {**LOANS, "set": {"epochs": 1, "shards": 2}})["run"]
    ids = opened(project, run).dataset.train.ids[:5].tolist()
    found = perform("compare", project, {"run": perform("unlearn", project, {"run": run, "ids": ids, "method": "sisa"})["run"]})
    assert "places" not in found["tables"]
    layers = project.table(found["tables"]["layers"])
    same = layers[(layers["first"] == "unlearned") & (layers["second"] == "retrained")]
    assert set(same["layer"].str.split(".").str[0]) == {"members"}
    assert same["value"].to_numpy() == pytest.approx(1), "SISA is retraining"
