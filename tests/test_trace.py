"""Tracing one prediction: TracIn's terms and its turned-round form against one row at a time in float64; the actions and commands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from influence.__main__ import app
from influence.actions import perform, trace
from influence.attribution.activation_similarity import ActivationSimilarity
from influence.attribution.tracin import TracIn, swayed
from influence.data.edit import cell, fields
from influence.errors import BadInput
from influence.evidence import words
from influence.loop import tensors
from influence.queries._groups import log_odds
from influence.store import Project
from influence.training import load, train
from tests.tiny import Mean, bind, examples, question, recipe


def problem(classes: int = 3):
    rows, ask = examples(21, (4,), classes), examples(9, (4,), classes, seed=1, ids=range(9))
    how = recipe(loss="cross_entropy" if classes else "squared", checkpoints=3, lr=0.05)
    return train(bind("mlp", rows, hidden="5"), rows, how), rows, ask


def value(classes: int, said: torch.Tensor):
    return (lambda z: log_odds(z, said)) if classes else (lambda z: z[:, 0])


def gradient(of: torch.Tensor, bound) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(of, bound.params)])


def test_log_odds_are_those_of_the_probability():
    z = torch.randn(6, 4, dtype=torch.float64)
    own = torch.tensor([0, 1, 2, 3, 0, 1])
    p = z.softmax(1)[torch.arange(6), own]
    torch.testing.assert_close(log_odds(z, own), (p / (1 - p)).log())


@pytest.mark.parametrize("classes", [3, 0])
def test_terms_by_checkpoint_are_the_formulas_and_add_up(classes):
    trained, rows, ask = problem(classes)
    asked = question(ask, Mean())
    terms = TracIn().by_checkpoint(trained, rows, asked)
    assert terms.shape == (len(trained.checkpoints), len(rows), 1)
    assert len(trained.checkpoints) == 3
    for term, kept in zip(terms, trained.checkpoints, strict=True):
        bound = load(trained, kept)
        x, y = tensors(rows, bound.dtype)
        v = gradient(Mean().value(bound.module(tensors(ask, bound.dtype)[0]), ask)[0], bound)
        for i in range(len(rows)):
            z = bound.module(x[i : i + 1])
            loss = nn.functional.cross_entropy(z, y[i : i + 1]) if classes else _squared(z, y[i])
            np.testing.assert_allclose(term[i, 0], kept.lr * float(v @ gradient(loss, bound)), rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(terms.sum(0), TracIn()(trained, rows, asked).values, rtol=1e-12)


def _squared(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    from influence.losses import per_example

    return per_example("squared", z, y[None]).sum()


@pytest.mark.parametrize("classes", [3, 2, 0])
def test_a_row_sways_predictions_by_the_products_of_gradients(classes):
    trained, rows, ask = problem(classes)
    said = load(trained).module(tensors(ask, "float64")[0]).argmax(1)
    found = swayed(trained, rows.take(np.array([4])), ask, value(classes, said))
    expected = np.zeros(len(ask))
    for kept in trained.checkpoints:
        bound = load(trained, kept)
        x, y = tensors(rows, bound.dtype)
        z = bound.module(x[4:5])
        own = gradient(nn.functional.cross_entropy(z, y[4:5]) if classes else _squared(z, y[4]), bound)
        for q, at in enumerate(tensors(ask, bound.dtype)[0]):
            out = bound.module(at[None])
            expected[q] += kept.lr * float(own @ gradient(value(classes, said[q : q + 1])(out)[0], bound))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13)


def test_both_ways_are_one_number():
    """What a row does to a prediction is the same, asked of the row or of the prediction."""
    trained, rows, ask = problem()
    said = load(trained).module(tensors(ask, "float64")[0]).argmax(1)
    from influence.queries.prediction import Prediction

    asked = question(ask, Prediction("5", ask.classes[int(said[5])]))
    there = TracIn()(trained, rows, asked).column()
    back = [swayed(trained, rows.take(np.array([i])), ask, value(3, said))[5] for i in range(len(rows))]
    np.testing.assert_allclose(back, there, rtol=1e-9, atol=1e-13)


def test_a_row_that_training_never_saw_sways_nothing_and_has_no_terms():
    trained, rows, ask = problem()
    without = replace(trained, removed=(rows.ids[4],))
    one = rows.take(np.array([4]))
    assert not swayed(without, one, ask, lambda z: z[:, 0]).any()
    assert swayed(trained, one, ask, lambda z: z[:, 0]).any()
    terms = TracIn().by_checkpoint(without, rows, question(ask))
    assert not terms[:, 4].any()
    assert terms[:, 5].all()


def test_values_without_a_slope_are_refused():
    trained, rows, ask = problem()
    with pytest.raises(BadInput, match="not finite"):
        swayed(trained, rows.take(np.array([4])), ask, lambda z: z[:, 0] * torch.nan)


@pytest.mark.parametrize("normalise", ["cosine", "none"])
def test_rows_alike_are_so_in_the_last_hidden_layer(normalise):
    trained, rows, ask = problem()
    module = load(trained).module
    linear = [m for m in module.modules() if isinstance(m, nn.Linear)][-1]
    seen: list[torch.Tensor] = []
    hook = linear.register_forward_hook(lambda _m, given, _out: seen.append(given[0].detach()))
    for part in (rows, ask):
        module(tensors(part, "float64")[0])
    hook.remove()
    h, q = seen
    expected = h @ q.T
    if normalise == "cosine":
        expected = nn.functional.cosine_similarity(h[:, None], q[None], dim=2)
    found = ActivationSimilarity(normalise=normalise, batch=8).alike(trained, rows, ask)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-9)


# ---- Actions and commands


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    project = Project(tmp_path_factory.mktemp("trace") / "p")
    perform("train", project, {"data": "bundled:loans", "data_set": {"n": 600}, "set": {"epochs": 3}})
    return project


def test_a_trace_is_kept_and_found_again(project):
    dataset = project.dataset(project.run().dataset)
    id = str(dataset.evaluation.ids[2])
    first = perform("trace", project, {"id": id})
    assert (first["method"]["name"], first["found"]) == ("metagradient", False)
    assert project.records()[-1].kind == "trace"
    records = len(project.records())
    again = perform("trace", project, {"id": id})
    assert again["found"]
    assert len(project.records()) == records
    same = ("scores", "similar", "steps", "shared", "proponents", "opponents", "nearest")
    assert [again[name] for name in same] == [first[name] for name in same]
    by_attribute = perform("attribute", project, {"query": "prediction", "query_set": first["query"]["given"]})
    assert by_attribute["found"]
    assert by_attribute["scores"] == first["scores"]


def test_a_row_sways_a_prediction_as_its_trace_says(project):
    dataset = project.dataset(project.run().dataset)
    row, back = dataset.train.ids[3], {}
    found = project.scores(perform("swayed", project, {"row": str(row)})["scores"])
    assert found.ids.tolist() == dataset.evaluation.ids.tolist()
    for id in found.ids[:3]:
        scores = project.scores(perform("trace", project, {"id": str(id), "method": "tracin"})["scores"])
        back[id] = float(scores.column()[scores.ids == row][0])
    np.testing.assert_allclose(found.column()[:3], list(back.values()), rtol=1e-3, atol=1e-6)


def test_what_a_trace_tells_is_what_is_kept(project):
    dataset = project.dataset(project.run().dataset)
    told = perform("trace", project, {"id": str(dataset.evaluation.ids[0]), "method": "tracin"})
    scores, steps, similar = (project.scores(told[name]) for name in ("scores", "steps", "similar"))
    np.testing.assert_allclose(steps.values.sum(1), scores.column(), rtol=1e-5, atol=1e-9)
    assert not told["calibrated"]
    assert told["steps_at"] == [c.step for c in project.trained(project.run().id).checkpoints]
    near, strong = similar.ids[np.argsort(-similar.column())[:20]], scores.ids[np.argsort(-np.abs(scores.column()))[:20]]
    assert told["shared"] == len(np.intersect1d(near, strong))
    assert told["chance"] == pytest.approx(400 / len(scores.ids))
    assert [row["id"] for row in told["nearest"]] == near[:10].tolist()
    assert told["proponents"][0]["score"] == pytest.approx(scores.column().min())
    assert told["opponents"][0]["score"] == pytest.approx(scores.column().max())


def test_rows_that_a_model_was_made_without_are_not_among_those_alike(project):
    run, dataset = project.run(), project.dataset(project.run().dataset)
    id = str(dataset.evaluation.ids[1])
    near = [row["id"] for row in perform("trace", project, {"id": id, "method": "tracin"})["nearest"]]
    new = perform("unlearn", project, {"run": run.id, "ids": near[:3], "method": "finetune", "set": {"epochs": 1}})["run"]
    told = perform("trace", project, {"id": id, "run": new, "method": "tracin"})
    assert not {row["id"] for row in told["nearest"]} & set(near[:3])
    assert told["chance"] == pytest.approx(400 / (len(dataset.train) - 3))
    assert perform("swayed", project, {"row": str(near[0]), "run": new})["unseen"]


@pytest.mark.parametrize(("command", "given", "said"), [("trace", "nobody", "no evaluation row"), ("swayed", "nobody", "no training row")])
def test_unknown_rows_are_refused_with_ids_to_choose_from(project, command, given, said):
    records = len(project.records())
    answer = CliRunner().invoke(app, [command, given, "--project", str(project.path)])
    assert answer.exit_code == 2
    assert said in answer.output
    assert "their ids are like" in answer.output
    assert len(project.records()) == records


def test_commands_tell_the_first_rows_of_each_side(project):
    dataset = project.dataset(project.run().dataset)
    evaluation, training = str(dataset.evaluation.ids[0]), str(dataset.train.ids[0])
    told = perform("trace", project, {"id": evaluation})
    text = CliRunner().invoke(app, ["trace", evaluation, "--project", str(project.path)]).output
    for side in ("proponents", "opponents", "nearest"):
        assert all(f"{row['id']}" in text for row in told[side])
    assert f"Of the 20 strongest rows {told['shared']} are among the 20 most alike" in text
    back = perform("swayed", project, {"row": training})
    text = CliRunner().invoke(app, ["swayed", training, "--project", str(project.path)]).output
    assert f"training row {training} sways most" in text
    assert "rank only" in text
    assert all(f"{row['id']}" in text for side in ("lowered", "raised") for row in back[side])


def test_a_model_without_a_last_hidden_layer_is_asked_for_gradients(project, monkeypatch):
    monkeypatch.setattr(ActivationSimilarity, "unavailable", lambda self, trained: "None here.")
    told = perform("trace", project, {"id": str(project.dataset(project.run().dataset).evaluation.ids[4]), "method": "tracin"})
    assert told["alike"] == trace.GRADIENTS
    assert -1 - 1e-6 <= told["nearest"][-1]["score"] <= told["nearest"][0]["score"] <= 1 + 1e-6


# ---- What if the row were another?


def equal_to(project, place: int, other: int) -> tuple[str, dict]:
    """The id of an evaluation row, and cells that make it equal to another."""
    dataset = project.dataset(project.run().dataset)
    return str(dataset.evaluation.ids[place]), {field.name: cell(dataset, field, other) for field in fields(dataset)}


@pytest.mark.parametrize("method", ["metagradient", "tracin"])
def test_a_row_that_is_made_equal_to_another_has_its_trace_to_the_bit(project, method):
    id, cells = equal_to(project, 0, 5)
    dataset = project.dataset(project.run().dataset)
    told = perform("trace", project, {"id": id, "method": method, "edit": cells})
    asked = {"id": str(dataset.evaluation.ids[5]), "class_": told["query"]["given"]["class_"]}
    other = perform("attribute", project, {"query": "prediction", "query_set": asked, "method": method})
    np.testing.assert_array_equal(project.scores(told["scores"]).values, project.scores(other["scores"]).values)
    assert told["value"] == other["value"]
    before = perform("trace", project, {"id": id, "method": method})
    assert (told["before"]["scores"], told["before"]["value"]) == (before["scores"], before["value"])
    assert told["value"] != before["value"]
    assert told["proponents"] != before["proponents"]
    logits = load(project.trained(project.run().id)).module(tensors(dataset.evaluation, "float32")[0])[5].softmax(0).detach()
    assert (told["says"], told["p"]) == (dataset.train.classes[int(logits.argmax())], pytest.approx(float(logits.max()), abs=1e-6))
    similar = project.scores(perform("trace", project, {"id": asked["id"], "method": "tracin"})["similar"])
    np.testing.assert_allclose(project.scores(told["similar"]).values, similar.values, atol=1e-6)


def test_a_changed_row_is_kept_apart_and_found_again(project):
    id, cells = equal_to(project, 1, 6)
    first = perform("trace", project, {"id": id, "method": "tracin", "edit": cells})
    records, asked = (
        len(project.records()),
        perform("attribute", project, {"query": "prediction", "query_set": first["query"]["given"], "method": "tracin"}),
    )
    assert asked["scores"] == first["before"]["scores"] != first["scores"]
    again = perform("trace", project, {"id": id, "method": "tracin", "edit": cells})
    assert (again["found"], again["scores"], len(project.records())) == (True, first["scores"], records)
    whole = perform("trace", project, {"id": id, "method": "tracin", "edit": {name: cells[name] for name in ("income",)}})
    assert whole["edit"].keys() == {"income"}
    assert whole["scores"] != first["scores"]
    own = perform(
        "trace", project, {"id": id, "method": "tracin", "edit": {"income": cell(dataset_of(project), fields_by(project)["income"], 1)}}
    )
    assert "before" not in own  # nothing really changed


def dataset_of(project):
    return project.dataset(project.run().dataset)


def fields_by(project):
    return {field.name: field for field in fields(dataset_of(project))}


def test_what_a_row_cannot_be_is_refused_and_nothing_is_kept(project):
    id, records, notes = str(dataset_of(project).evaluation.ids[3]), len(project.records()), len(project.notes(""))
    for edit in ({"branch": "Moon"}, {"income": float("nan")}, {"income": 1e9}, {"nothing": 1}):
        with pytest.raises(BadInput):
            perform("trace", project, {"id": id, "edit": edit})
    assert (len(project.records()), len(project.notes(""))) == (records, notes)


def test_commands_trace_a_changed_row(project):
    id, cells = equal_to(project, 2, 7)
    args = [f"--edit={name}={value}" for name, value in cells.items()]
    text = CliRunner().invoke(app, ["trace", id, "--method", "tracin", *args, "--project", str(project.path)]).output
    assert "as the row is, it was" in text
    told = perform("trace", project, {"id": id, "method": "tracin", "edit": cells})
    assert f"row {id} is {words.number(told['value']['measured'])}" in text


def test_rows_of_a_list_say_how_they_moved():
    assert trace.moved([1, 2, 3, 4], [3, 9, 1, 4]) == (["+2", "new", "-2", "="], [2])
    assert trace.moved([], [5]) == (["new"], [])
