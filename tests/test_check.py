"""The table of checks before training: what it says is true of the data, and its prices are those of the machine."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from typer.testing import CliRunner

import influence
from influence.__main__ import app
from influence.actions import _checks, perform
from influence.data import suspects as suspicions
from influence.errors import BadInput
from influence.exchange import snippets
from influence.loop import Loop
from influence.store import Project
from tests.test_exchange import outside

N = 2000


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 3))
    group = np.where(np.arange(N) % 200 == 0, "rare", rng.choice(["a", "b"], N))
    frame = pd.DataFrame({"x": x[:, 0], "z": x[:, 1], "group": group, "label": np.where(x[:, 0] > 0, "yes", "no")})
    path = tmp_path_factory.mktemp("check") / "t.csv"
    frame.to_csv(path, index=False)
    return path


def found(checks, name):
    return next(check for check in checks if check["check"] == name)


def test_nothing_is_kept_and_small_groups_are_named(table, tmp_path):
    project = Project(tmp_path / "p")
    result = perform("check", project, {"data": str(table), "target": "label", "protected": ["group"]})
    assert not project.runs()
    assert not project.records()
    rows = found(result["checks"], "Groups of group")
    assert rows["verdict"] == "doubtful"
    assert "'rare'" in rows["mend"]
    assert found(result["checks"], "Classes")["verdict"] == "good"
    assert sum(result["n"].values()) == N
    assert {tuple(sorted(check)) for check in result["checks"]} == {("check", "code", "found", "leak", "mend", "verdict")}


def test_the_price_is_what_training_takes(table, tmp_path, monkeypatch):
    """On a clock on which the first step, which is slower, takes ten seconds, each other one and reading anything none."""
    project = Project(tmp_path / "p")
    given = {"data": str(table), "target": "label", "set": {"hidden": "16", "epochs": 3}}
    steps, step = [], Loop.gradient
    monkeypatch.setattr(Loop, "gradient", lambda self, t: steps.append(10.0 if t == 0 else 1.0) or step(self, t))
    monkeypatch.setattr(_checks, "time", SimpleNamespace(perf_counter=lambda: sum(steps)))
    told = perform("check", project, given)["costs"]
    steps.clear()
    trained = project.trained(perform("train", project, given)["run"])
    assert told["train"] == len(steps) == trained.final.step
    assert told["parameters"] == sum(v.numel() for v in trained.final.load().values())
    steps = trained.final.step
    assert told["mib"] == pytest.approx(steps * told["parameters"] * 4 / 2**20)


def test_what_cannot_be_trained_is_refused_as_training_refuses_it(table, tmp_path):
    project = Project(tmp_path / "p")
    for given, said in (({"target": "nothing"}, "nothing"), ({"target": "label", "model": "cnn"}, "images"), ({}, "target")):
        with pytest.raises(BadInput, match=said):
            perform("check", project, {"data": str(table), **given})


def test_a_leak_says_which_column_mends_it_and_is_none_once_it_is_said(table, tmp_path):
    frame = pd.read_csv(table)
    frame.assign(granted=frame["label"].map({"yes": 1, "no": 2})).to_csv(tmp_path / "t.csv", index=False)
    given = {"data": str(tmp_path / "t.csv"), "target": "label"}
    project = Project(tmp_path / "p")
    rows = found(perform("check", project, given)["checks"], "Target renamed")
    assert (rows["verdict"], rows["leak"]) == ("doubtful", "granted")
    checks = perform("check", project, {**given, "kinds": {"granted": "leak"}})["checks"]
    assert "granted" not in {check["leak"] for check in checks}
    given["data_set"] = {"text": "group"}
    rows = found(perform("check", project, given)["checks"], "Target renamed")
    assert (rows["verdict"], rows["leak"]) == ("none", ""), "a model of texts does not see the column"
    assert "The model does not see it" in rows["found"]


def test_copies_say_what_to_do_with_a_column_that_divides_rows_and_without(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=200), "z": rng.normal(size=200), "label": rng.choice(["a", "b"], 200)})
    twice = pd.concat([frame, frame]).reset_index(drop=True).assign(part=["train"] * 200 + ["test"] * 200)
    twice.to_csv(tmp_path / "t.csv", index=False)
    for given, way in (
        ({"split": "part"}, "change 'part' so that it keeps"),
        ({"drop": ["part"]}, "choose a column that says train or test"),
    ):
        args = {"data": str(tmp_path / "t.csv"), "target": "label", **given}
        checks = perform("check", Project(tmp_path / "p"), args)["checks"]
        copies = [check for check in checks if check["check"] == "In training too"]
        assert [check["verdict"] for check in copies] == ["doubtful", "doubtful"], "of the evaluation and of the holdout rows"
        assert all(f"take them out of the file, or {way}" in check["mend"] and not check["leak"] for check in copies)


@pytest.mark.parametrize(("given", "said"), [({}, "an input of the model"), ({"data_set": {"text": "x"}}, "not followed")])
def test_a_column_that_says_train_or_test_and_is_not_followed_is_seen(tmp_path, given, said):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=300), "label": rng.choice(["a", "b"], 300), "part": rng.choice(["train", "Test"], 300)})
    if given:
        frame["x"] = "some words " + frame["x"].round(2).astype(str)
    frame.to_csv(tmp_path / "t.csv", index=False)
    given = {"data": str(tmp_path / "t.csv"), "target": "label", **given}
    project = Project(tmp_path / "p")
    check = found(perform("check", project, given)["checks"], "Train and test rows")
    assert check["verdict"] == "doubtful"
    assert f"'part' says which rows are train and test, and is {said}" in check["found"]
    assert "--split part" in check["mend"]
    for mended in ({"split": "part"}, {"drop": ["part"]}):
        assert "Train and test rows" not in {c["check"] for c in perform("check", project, {**given, **mended})["checks"]}


def test_every_kind_of_suspicion_has_a_way_to_mend_it():
    source = Path(suspicions.__file__).read_text()
    kinds = set(re.findall(r'Finding\(\s*"([a-z ]+)"', source))
    assert kinds == set(_checks.MENDS)
    assert set(_checks.LEAKS) | set(_checks.DIVIDED) < kinds


def test_sizes_are_those_of_the_data_that_are_trained_on(table, tmp_path):
    project, given = Project(tmp_path / "p"), {"data": str(table), "target": "label", "protected": ["group"], "set": {"epochs": 1}}
    told = pd.DataFrame(**perform("check", project, given)["sizes"])
    made = project.dataset(project.run(perform("train", project, given)["run"]).dataset)
    assert told.columns.tolist() == ["Column", "Value", "Train", "Evaluation", "Holdout", "Share yes in training"]
    for row in told.itertuples(index=False):
        for role in ("train", "evaluation", "holdout"):
            assert getattr(row, role.capitalize()) == (made.split(role).columns[row.Column] == row.Value).sum()


def test_stated_preprocessing_is_what_is_checked(table, tmp_path):
    stated = {"kind": "table", "columns": [{"name": "x", "kind": "numeric", "mean": 0, "sd": 1, "median": 0, "missing": False}]}
    (tmp_path / "p.json").write_text(json.dumps(stated))
    project, given = Project(tmp_path / "p"), {"data": str(table), "target": "label", "preprocessing": str(tmp_path / "p.json")}
    result = perform("check", project, given)
    assert "inputs (1,)" in found(result["checks"], "Shapes")["found"]
    assert "not fitted" in result["notes"]
    with pytest.raises(BadInput, match="bring their own"):
        perform("check", project, {"data": "bundled:loans", "preprocessing": str(tmp_path / "p.json")})


def test_the_command_says_what_was_found_and_what_it_costs(table, tmp_path):
    project = str(tmp_path / "p")
    call = [str(table), "--target", "label", "--protected", "group", "--kind", "z=category", "--project", project]
    done = CliRunner().invoke(app, ["check", *call])
    assert done.exit_code == 0, done.output
    assert "LOOK  Groups of group: 3 groups" in done.output
    assert re.search(r"\n  column +value +train +evaluation +holdout +Share yes in training\n  label +no +[0-9,]+ ", done.output)
    assert re.search(r"about .* to train, about .* for a question to the metagradient", done.output)
    told = json.loads(CliRunner().invoke(app, ["check", *call, "--json"]).stdout)
    assert sum(told["n"].values()) == N
    assert told["costs"]["parameters"] > 1000, "z is a category of as many levels as are kept"
    refused = CliRunner().invoke(app, ["check", *call, "--kind", "age"])
    assert "Kinds of columns are COL=KIND; got 'age'. Give for example age=numeric." in refused.output
    refused = CliRunner().invoke(app, ["check", str(table), "--target", "nothing", "--project", project])
    assert refused.exit_code == 2
    assert not Project(tmp_path / "p").runs()


def test_a_model_that_is_only_checked_is_not_kept(tmp_path):
    outside(tmp_path)
    where = [str(tmp_path / "model"), str(tmp_path / "data"), "--project", str(tmp_path / "p"), "--check-only"]
    done = CliRunner().invoke(app, ["import-model", *where])
    assert done.exit_code == 0, done.output
    assert "checked, and not kept." in done.output
    assert "good  Its training can be followed" in done.output
    told = json.loads(CliRunner().invoke(app, ["import-model", *where, "--json"]).stdout)
    assert told["run"] == ""
    assert [Project(tmp_path / "p").runs(), Project(tmp_path / "p").records()] == [[], []]


def test_a_model_that_draws_when_asked_is_seen(tmp_path):
    class Drawing:
        inputs, outputs = (2,), 2

        def __call__(self):
            class Noise(nn.Linear):
                def forward(self, x):
                    return super().forward(x) + torch.rand(1)

            return Noise(2, 2)

    from influence.training import checkpoint
    from influence.types import Trained
    from tests import tiny

    rows = tiny.examples(30, (2,), 2)
    state = checkpoint({"weight": torch.eye(2), "bias": torch.zeros(2)}, 1, 0.1)

    class Data:
        evaluation = rows

    check = _checks.deterministic(Trained(Drawing(), (state,), None), Data())  # type: ignore[arg-type]
    assert check["verdict"] == "doubtful"
    assert "differ by up to" in check["found"]


def test_the_code_that_is_shown_runs(tmp_path, monkeypatch):
    """Every snippet in one program, as somebody would put it together."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(60, 4)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64)
    test, ids = np.arange(60) >= 40, np.arange(60)
    columns, classes = pd.DataFrame({"group": ["a", "b"] * 30}), ["no", "yes"]
    scope = {"torch": torch, "ids": ids, "x": inputs, "y": labels, "test": test, "columns": columns, "classes": classes}
    exec(snippets.DATA, scope)
    exec(snippets.PLACES, scope)
    own = torch.utils.data.TensorDataset(torch.from_numpy(inputs[:40]), torch.from_numpy(labels[:40]))
    model = nn.Linear(4, 2)
    scope |= {
        "model": model, "optimizer": torch.optim.SGD(model.parameters(), 0.1), "ids": ids[:40], "epochs": 2, "probe": own.tensors[0][:3],
        "loader": torch.utils.data.DataLoader(scope["Placed"](own), 8, shuffle=True), "F": F,
    }  # fmt: skip
    exec(snippets.RECORDER, scope)
    exec(snippets.CHECKPOINTS, scope)
    result = perform("import_model", Project(tmp_path / "p"), {"path": "my-model", "data": "my-data"})
    assert found(result["checks"], "Its training can be followed")["verdict"] == "good"
    assert perform("import_model", Project(tmp_path / "p"), {"path": "checkpoints", "data": "my-data", "rates": [0.1]})["run"]
    assert influence.Recorder


def test_the_callback_for_lightning_records_what_lightning_does(tmp_path, monkeypatch):
    """Lightning itself is not needed: its hooks are called here, in the order in which it calls them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "lightning", SimpleNamespace(Callback=object))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)).astype(np.float32), rng.integers(0, 2, 60)
    influence.save_data("my-data", x, y, np.arange(60) >= 40, classes=("no", "yes"))
    rows, target = torch.from_numpy(x[:40]), torch.from_numpy(y[:40])
    scope = {"influence": influence, "ids": np.arange(40), "probe": rows[:3], "classes": ("no", "yes")}
    exec(snippets.LIGHTNING, scope)
    module, callback = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Dropout(0.3), nn.Linear(6, 2)), scope["Recording"]()
    rule = torch.optim.AdamW(module.parameters(), 0.01)
    trainer = SimpleNamespace(optimizers=[rule], gradient_clip_val=None)
    callback.on_train_start(trainer, module)
    for k, places in enumerate(torch.randperm(40).split(8)):
        batch = (rows[places], target[places], places)
        callback.on_train_batch_start(trainer, module, batch, k)
        rule.zero_grad()
        F.cross_entropy(module(batch[0]), batch[1]).backward()
        rule.step()
        callback.on_train_batch_end(trainer, module, None, batch, k)
    callback.on_train_end(trainer, module)
    result = perform("import_model", Project(tmp_path / "p"), {"path": "my-model", "data": "my-data"})
    assert found(result["checks"], "Its training can be followed")["verdict"] == "good"


def test_the_page_on_bringing_a_model_shows_this_very_code():
    text = (Path(__file__).parents[1] / "docs" / "bring-your-model.md").read_text()
    for name in ("RECORDER", "DATA", "CHECKPOINTS", "PLACES", "TRAINER", "LIGHTNING"):
        assert getattr(snippets, name) in text, name
