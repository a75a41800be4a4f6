"""What is special to the influence function: its factors are kept, its damping and residual are told, its layers are chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from influence.curvature import damping, fit
from influence.errors import BadInput
from influence.grads import query_gradient, row_gradients
from influence.registry import attribution
from influence.settled import objective
from influence.training import load, train
from influence.types import Event
from influence.workspace import Workspace
from tests.test_curvature import dense
from tests.tiny import Frozen, bind, examples, question, recipe


@pytest.fixture(scope="module")
def problem():
    rows = examples(60)
    how = recipe(weight_decay=0.02, epochs=20)
    return train(bind("mlp", rows, hidden=(6,)), rows, how), rows, question(examples(30, seed=1))


def scores(problem, report=lambda event: None, workspace=None, **given) -> np.ndarray:
    return attribution.make("influence_function", given)(*problem, report, workspace).values


@pytest.mark.parametrize("layers", ["all", "last"])
def test_it_is_the_dense_solve(problem, layers):
    trained, rows, ask = problem
    of = objective(trained, rows, layers)
    x, y = of.rows.x, of.rows.target
    real = dense(of) + 0.1 * torch.eye(len(of.bound.flat), dtype=torch.float64)
    _, v = query_gradient(of.bound, ask)
    v = v * of.mask
    expected = row_gradients(of.bound, x, y, "cross_entropy") @ torch.linalg.solve(real, v.T) / len(rows)
    found = scores(problem, layers=layers, damping=0.1, iterations=500, tolerance=1e-10)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-9)
    near = scores(problem, layers=layers, damping=0.1, solver="ekfac")
    assert stats.spearmanr(near[:, 0], found[:, 0]).statistic > 0.9


def test_a_second_question_costs_no_fit(problem, tmp_path):
    trained, rows, ask = problem
    stages = []
    for asked in (ask, question(examples(20, seed=2))):
        events: list[Event] = []
        scores((trained, rows, asked), events.append, Workspace(tmp_path))
        stages.append({event.stage for event in events})
    assert stages == [{"bases", "values", "cg", "sweep"}, {"cg", "sweep"}]


def test_it_says_which_damping_it_took_and_how_far_the_solve_came(problem):
    trained, rows, _ = problem
    events: list[Event] = []
    scores(problem, events.append, iterations=2, tolerance=1e-9)
    assert events[-1].metrics["damping"] == pytest.approx(damping.from_recipe(trained.recipe, len(rows)))
    assert events[-1].metrics["relative residual"] > 1e-9
    assert "Allow more iterations" in events[-1].note
    events.clear()
    scores(problem, events.append, iterations=500, tolerance=1e-6)
    assert events[-1].note == ""


def test_without_a_recipe_the_weights_show_the_ridge(problem):
    trained, rows, ask = problem
    bare = replace(trained, recipe=None, trajectory=None)
    single = replace(rows, x=rows.x.astype("f4")), replace(ask, examples=replace(ask.examples, x=ask.examples.x.astype("f4")))
    events: list[Event] = []
    found = scores((bare, *single), events.append)
    ridge = 0.02 + damping.from_recipe(trained.recipe, len(rows))
    assert events[-1].metrics["damping"] == pytest.approx(ridge, rel=0.7)
    assert stats.spearmanr(found[:, 0], scores(problem)[:, 0]).statistic > 0.95


def test_rows_that_training_never_saw_count_for_nothing(problem):
    trained, rows, ask = problem
    gone = tuple(rows.ids[:5])
    without = train(trained.model, rows, trained.recipe, removed=gone)
    of = objective(without, rows)
    assert of.n == len(rows)
    assert len(of.rows) == len(rows) - 5
    for name in ("influence_function", "newton"):
        found = attribution.make(name)(without, rows, ask).values
        assert not found[:5].any()
        assert found[5:].all()
        rest = attribution.make(name)(without, rows.take(np.arange(len(rows)) >= 5), ask).values
        np.testing.assert_allclose(found[5:], rest, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["influence_function", "newton"])
def test_a_model_that_cannot_learn_is_refused(problem, name):
    trained, rows, ask = problem
    with pytest.raises(BadInput, match="are frozen, so no row moved them"):
        attribution.make(name)(replace(trained, model=Frozen(trained.model)), rows, ask)
    last = load(trained).names[-1].rpartition(".")[0]
    half = replace(trained, model=Frozen(trained.model, last))
    with pytest.raises(BadInput, match="All parameters of the last layer are frozen"):
        attribution.make(name, {"layers": "last"} if name == "influence_function" else None)(half, rows, ask)
    assert attribution.make("influence_function")(half, rows, ask).values.any()


def test_factors_do_not_depend_on_the_order_of_rows(problem):
    trained, rows, _ = problem
    one, other = (fit(objective(trained, r)) for r in (rows, rows.take(np.arange(len(rows))[::-1].copy())))
    v = torch.randn(2, len(one.of.bound.flat), dtype=torch.float64)
    torch.testing.assert_close(one.solve(v, 0.1), other.solve(v, 0.1))
