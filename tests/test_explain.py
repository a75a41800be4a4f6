"""What in a row the answer rests on, as an action: columns, pixels and words of small models; kept and found again."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from influence import features
from influence.__main__ import app
from influence.actions import explain, perform
from influence.actions._opened import opened
from influence.errors import BadInput
from influence.queries._groups import log_odds
from influence.store import Project
from influence.ui.explaining import shaded


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    folder = tmp_path_factory.mktemp("explain")
    project = Project(folder / "p")
    perform("train", project, {"data": "bundled:loans", "data_set": {"n": 500}, "set": {"epochs": 3}, "name": "loans"})
    perform("train", project, {"data": "bundled:digits", "set": {"epochs": 1}, "name": "digits"})
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    goal = 5000 + 1000 * (x[:, 0] - x[:, 1])
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": rng.choice(["u", "v", "w"], 300), "goal": goal}).to_csv(folder / "n.csv", index=False)
    perform("train", project, {"data": str(folder / "n.csv"), "target": "goal", "set": {"epochs": 5}, "name": "number"})
    label = rng.choice(["bad", "good"], 160)
    text = [f"A {'fine' if name == 'good' else 'DULL'} film, number{k % 9}" for k, name in enumerate(label)]
    pd.DataFrame({"review": text, "label": label}).to_csv(folder / "t.csv", index=False)
    given = {"data": str(folder / "t.csv"), "target": "label", "data_set": {"text": "review"}, "set": {"epochs": 3}, "name": "texts"}
    perform("train", project, given)
    return project


def run_of(project: Project, name: str):
    return next(run for run in project.runs() if run.name == name)


def told(project: Project, name: str, **args):
    run = run_of(project, name)
    data = project.dataset(run.dataset)
    return perform("explain", project, {"run": run.id, "id": str(data.evaluation.ids[2]), "row": str(data.train.ids[4]), **args}), data


def test_columns_are_the_sums_of_their_inputs(project):
    found, data = told(project, "loans")
    it = opened(project, run_of(project, "loans").id)
    mean = torch.from_numpy(np.asarray(data.train.x).mean(0, dtype=np.float64))
    for side, rows, place in (("traced", data.evaluation, 2), ("row", data.train, 4)):
        at = list(data.train.classes).index(found["class"])
        every = features.of_numbers(
            it.bound, torch.from_numpy(np.array(rows.x[place])), mean, lambda z, at=at: log_odds(z, torch.full((len(z),), at))
        )
        values = project.array(found[side]["parts"])
        owner = {feature: entry["name"] for entry in data.encoding["columns"] for feature in data.encoding["features"]
                 if feature == entry["name"] or feature.startswith(f"{entry['name']} = ")}  # fmt: skip
        for value, entry in zip(values, data.encoding["columns"], strict=True):
            own = [v for v, feature in zip(every.values, data.encoding["features"], strict=True) if owner[feature] == entry["name"]]
            assert value == pytest.approx(sum(own), abs=1e-9)
        assert found[side]["of"] == "columns"
        assert values.sum() == pytest.approx(found[side]["value"] - found[side]["baseline"], abs=1e-4)
        assert found[side]["complete"]
    logits = it.outputs("evaluation")[2]
    assert found["class"] == data.train.classes[int(logits.argmax())]
    assert found["traced"]["value"] == pytest.approx(float(log_odds(logits[None], logits.argmax()[None])), abs=1e-5)


@pytest.mark.parametrize(("name", "of"), [("digits", "pixels"), ("texts", "tokens"), ("number", "columns")])
def test_parts_add_up_for_every_kind_of_data(project, name, of):
    found, data = told(project, name)
    for side in ("traced", "row"):
        values = project.array(found[side]["parts"])
        assert found[side]["of"] == of
        assert found[side]["complete"]
        assert values.sum() == pytest.approx(found[side]["value"] - found[side]["baseline"], abs=0.01 * np.abs(values).sum() + 1e-4)
        if of != "columns":
            assert values.shape == data.train.x.shape[1:]


def test_a_number_is_explained_in_its_own_unit(project):
    found, _ = told(project, "number")
    run = run_of(project, "number")
    said = project.table(run.body["predictions"]).query("split == 'evaluation'").reset_index(drop=True)
    assert found["class"] == ""
    assert found["traced"]["value"] == pytest.approx(said["prediction"][2], rel=1e-4)
    assert abs(project.array(found["traced"]["parts"])).max() > 50


def test_it_is_kept_and_found_again(project):
    first, data = told(project, "loans")
    records = len(project.records())
    again, _ = told(project, "loans")
    assert (again["traced"]["found"], again["row"]["found"]) == (True, True)
    assert len(project.records()) == records
    id, run = str(data.evaluation.ids[2]), run_of(project, "loans").id
    assert explain.kept(project, run, "evaluation", id, first["class"])["parts"] == first["traced"]["parts"]
    assert explain.kept(project, run, "train", id, first["class"]) is None or id == first["row"]["id"]
    other = next(name for name in data.train.classes if name != first["class"])
    turned, _ = told(project, "loans", class_=other)
    np.testing.assert_allclose(project.array(turned["traced"]["parts"]), -project.array(first["traced"]["parts"]), rtol=1e-3, atol=1e-5)


def test_a_changed_row_is_explained_as_the_row_that_it_equals(project):
    from influence.data.edit import cell, fields

    data = project.dataset(run_of(project, "loans").dataset)
    cells = {field.name: cell(data, field, 7) for field in fields(data)}
    found, _ = told(project, "loans", edit=cells)
    other = perform("explain", project, {"run": found["run"], "id": str(data.evaluation.ids[7]), "class_": found["class"]})
    assert found["traced"]["parts"] == other["traced"]["parts"]
    assert found["edit"]


def test_the_mean_is_of_the_rows_that_the_model_saw(project):
    run = run_of(project, "loans")
    data = project.dataset(run.dataset)
    x = np.asarray(data.train.x)
    rich = data.train.ids[np.argsort(-x[:, data.encoding["features"].index("income")])[:60]]
    new = perform("unlearn", project, {"run": run.id, "ids": rich.tolist(), "method": "finetune", "set": {"epochs": 1}})["run"]
    found = perform("explain", project, {"run": new, "id": str(data.evaluation.ids[2]), "class_": "granted"})
    it = opened(project, new)
    left = torch.from_numpy(x[~np.isin(data.train.ids, rich)].mean(0, dtype=np.float64)).to(it.bound.flat.dtype)
    with torch.no_grad():
        z = it.bound.module(left[None])
    place = list(data.train.classes).index("granted")
    assert found["traced"]["baseline"] == pytest.approx(float(log_odds(z, torch.tensor([place]))), abs=1e-5)
    assert found["n_baseline"] == len(data.train) - 60


@pytest.mark.parametrize(
    ("given", "said"),
    [({"id": "nobody"}, "no evaluation row"), ({"row": "nobody"}, "no training row"), ({"class_": "maybe"}, "maybe"),
     ({"edit": {"income": "much"}}, "must be a number")],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_nothing_is_kept(project, given, said):
    records = len(project.records())
    with pytest.raises(BadInput, match=said):
        told(project, "loans", **given)
    assert len(project.records()) == records


def test_words_are_those_of_the_text(project):
    found, data = told(project, "texts")
    text = data.evaluation.columns["review"].iloc[2]
    read, spans = explain.spans_of(data, text)
    values = project.array(found["traced"]["parts"])
    assert [read[a:b] for a, b in spans] == text.lower().replace(",", " ,").split()
    strongest = read[slice(*spans[int(np.abs(values[: len(spans)]).argmax())])]
    assert strongest in ("fine", "dull")


def test_shaded_words_run_nothing_and_say_their_sign():
    html = shaded("<b>x</b> good bad", [(0, 8), (9, 13), (14, 17)], np.array([0.0, 1.0, -0.5]), 1.0)
    assert "<b>" not in html
    assert "&lt;b&gt;x&lt;/b&gt;" in html
    assert "rgba(0, 114, 178, 0.60)" in html
    assert html.count("dotted") == 1
    assert html.index("dotted") > html.index("good")


def test_commands_say_the_same(project):
    found, data = told(project, "loans")
    args = ["explain", found["id"], "--row", found["row"]["id"], "--run", found["run"], "--project", str(project.path)]
    answer = CliRunner().invoke(app, [*args, "--json"])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.output)["traced"]["parts"] == found["traced"]["parts"]
    text = CliRunner().invoke(app, args).output
    values = project.array(found["traced"]["parts"])
    name = data.encoding["columns"][int(np.abs(values).argmax())]["name"]
    assert text.index(name) < min(text.index(e["name"]) for e in data.encoding["columns"] if e["name"] != name)
    bad = CliRunner().invoke(app, [*args, "--edit", "income=much"])
    assert bad.exit_code == 2
    assert "must be a number" in bad.output


@pytest.mark.parametrize(("order", "expected"), [("kac", [0, 1, 5]), ("akc", [1, 0, 5]), ("ack", [1, 5, 0])])
def test_a_column_without_an_input_adds_nothing_and_takes_nothing_from_its_neighbours(order, expected):
    columns = {
        "a": {"name": "a", "kind": "numeric", "sd": 1.0, "missing": False},
        "k": {"name": "k", "kind": "numeric", "sd": 0.0, "missing": False},
        "c": {"name": "c", "kind": "category", "levels": ["u", "v"], "missing": False, "other": False},
    }
    dataset = SimpleNamespace(encoding={"columns": [columns[name] for name in order]})
    found = explain._by_column(features.Parts(np.array([1.0, 2.0, 3.0]), 6.0, 0.0, 64), dataset)
    assert found.values.tolist() == expected
