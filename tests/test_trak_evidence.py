"""TRAK with several models: each factor is averaged; damping and misses are those with which the models foretell each other best."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from influence.attribution._ridge import COARSE, Ridge, agreement, leave_one_model_out
from influence.attribution._trak_model import Pull, regression
from influence.attribution.trak import TRAK
from influence.grads import outputs, query_gradient, row_gradients
from influence.grads.projection import Projection
from influence.loop import tensors
from influence.training import load, train
from influence.types import Event
from influence.workspace import Workspace
from tests.test_trak import problem, vectors
from tests.tiny import question


def several(m: int = 6, n: int = 20):
    """Models with gradients, misses (two kinds) and rows of their own."""
    phi = vectors(m, n, 7).numpy()
    shown = np.random.default_rng(0).random((m, n)) < 0.5
    return phi, shown, np.random.default_rng(1).random((2, m, n)), vectors(m, n, seed=1).numpy()


def ridges(phi: np.ndarray, primal: bool = False) -> list[Ridge]:
    return [Ridge(own.T @ own, len(own), own) if primal else Ridge(own @ own.T, len(own)) for own in phi]


@pytest.mark.parametrize("primal", [False, True])
def test_leave_one_model_out_is_what_the_others_say_of_rows_that_a_model_was_not_shown(primal):
    phi, shown, misses, real = several()
    found = leave_one_model_out(ridges(phi, primal), shown, misses, real)
    for kind in range(2):
        for g, damping in enumerate(COARSE):
            foretold = np.zeros_like(real)
            for m in range(6):
                rest = [k for k in range(6) if k != m]
                for k in rest:
                    unit = np.square(phi[k]).sum() / 20
                    kernel = phi[k].T @ phi[k] + damping * unit * np.eye(7)
                    foretold[m] += phi[k] @ np.linalg.solve(kernel, phi[k].T @ (misses[kind, rest].mean(0) * shown[m]))
            each = [np.corrcoef(foretold[~shown[:, j], j], real[~shown[:, j], j])[0, 1] for j in range(20) if (~shown[:, j]).sum() >= 3]
            assert found[kind, g] == pytest.approx(np.mean(each), abs=1e-9)


@pytest.mark.parametrize("true", [1, 4, 6])
@pytest.mark.parametrize("kind", [0, 1])
def test_models_that_are_such_regressions_give_away_their_damping_and_their_misses(kind, true):
    phi, shown, misses, _ = several()
    phi[:], misses[:] = phi[0], misses[:, :1]
    real = ridges(phi)[0].moved((shown * misses[kind]).T, COARSE[true]).T
    found = leave_one_model_out(ridges(phi), shown, misses, real)
    assert np.unravel_index(found.argmax(), found.shape) == (kind, true)
    assert found.max() == pytest.approx(1)


def test_rows_that_too_few_models_were_not_shown_say_nothing():
    a, b = vectors(2, 3, 4).numpy()
    counted = np.ones((3, 4), dtype=bool)
    counted[0, 1:] = False
    assert agreement(a, b, counted) == pytest.approx(np.corrcoef(a[:, 0], b[:, 0])[0, 1])
    assert np.isnan(agreement(a, b, np.zeros((3, 4), dtype=bool)))


def said(scored: TRAK, *given: Any) -> tuple[np.ndarray, float]:
    """Scores and the damping that was told."""
    seen: list[Event] = []
    return scored(*given, seen.append).values, seen[-1].metrics["damping"]


@pytest.mark.parametrize(("dimension", "seed", "chosen"), [(0, 0, 0), (0, 1, 1), (12, 0, 0)])
def test_several_models_are_averaged_in_every_factor(dimension, seed, chosen):
    """Scores at the damping and with the misses that leave-one-model-out likes best, by dense algebra."""
    trained, rows, asked = problem(n=40)
    method = TRAK(models=6, dimension=dimension, seed=seed)
    values, damping = said(method, trained, rows, asked)
    kinds = [method._members(trained, rows, when, Workspace(), lambda event: None) for when in ("end", "early")]
    models = kinds[0]
    x = tensors(rows, "float64")[0]
    done = [[regression(outputs(bound, rows), rows, "cross_entropy") for bound in kind] for kind in kinds]
    project = Projection(dimension, seed).of_vectors(models[0], torch.eye(len(models[0].flat), dtype=torch.float64)) if dimension else None
    phi = [row_gradients(bound, x, one.slopes, "linear") for bound, one in zip(models, done[0], strict=True)]
    v = [query_gradient(bound, question(asked.examples, Pull.of(models, asked)))[1] for bound in models]
    if project is not None:
        phi, v = [p @ project for p in phi], [q @ project for q in v]
    misses = np.stack([[one.misses for one in kind] for kind in done])
    found = leave_one_model_out(
        ridges(np.stack([p.numpy() for p in phi]), bool(dimension)), method._shown(rows), misses, np.stack([one.values for one in done[0]])
    )
    kind, best = np.unravel_index(found.argmax(), found.shape)
    assert (damping, kind) == (COARSE[best], chosen)
    moved = [
        (p @ torch.linalg.solve(p.T @ p + damping * p.square().sum() / 40 * torch.eye(p.shape[1], dtype=torch.float64), q.T)).numpy()
        for p, q in zip(phi, v, strict=True)
    ]
    np.testing.assert_allclose(values, -np.mean(moved, 0) * misses[kind].mean(0)[:, None], rtol=1e-6, atol=1e-12)


def test_a_question_is_put_to_all_models_as_the_mean_of_them_puts_it():
    trained, _, asked = problem()
    models = [load(trained, kept) for kept in trained.checkpoints]
    z = [outputs(bound, asked.examples).requires_grad_() for bound in models]
    expected = [sum(torch.autograd.grad(asked.value(one)[q], one)[0] for one in z) / len(z) for q in range(len(asked.labels))]
    put = Pull.of(models, asked)
    torch.testing.assert_close(put.outward, torch.stack(expected))
    at = vectors(9, 3)
    torch.testing.assert_close(put.value(at, asked.examples), torch.stack([(each * at).sum() for each in expected]))


def test_few_models_and_models_of_all_rows_have_the_damping_of_leave_one_out():
    trained, rows, asked = problem()
    for method in (TRAK(models=3), TRAK(models=5, rows="all")):
        bound = method._members(trained, rows, "end", Workspace(), lambda event: None)[0]
        one = regression(outputs(bound, rows), rows, "cross_entropy")
        phi = row_gradients(bound, tensors(rows, "float64")[0], one.slopes, "linear").numpy()
        assert said(method, trained, rows, asked)[1] == Ridge(phi @ phi.T, 25).leave_one_out(one.labels)


@pytest.mark.parametrize("classes", [3, 0])
@pytest.mark.parametrize("damping", [0.3, 0])
@pytest.mark.parametrize("dimension", [0, 12])
@pytest.mark.parametrize("models", [1, 5])
def test_removed_rows_are_shown_to_no_model_whether_or_not_they_are_still_there(models, dimension, damping, classes):
    trained, rows, asked = problem(classes, n=40)
    seen = np.arange(40) % 3 > 0
    left = rows.take(seen)
    without = train(trained.model, left, trained.recipe, removed=tuple(rows.ids[~seen]))
    method = TRAK(models=models, dimension=dimension, damping=damping)
    (there, chosen), (gone, expected) = (said(method, without, some, asked) for some in (rows, left))
    assert chosen == expected
    assert gone.any(0).all()
    np.testing.assert_array_equal(there[~seen], 0)
    np.testing.assert_array_equal(there[seen], gone)


def test_short_trainings_of_one_epoch_are_the_trainings_themselves():
    trained, rows, asked = problem(n=40)
    for epochs, kept in ((1, 1), (2, 2)):
        workspace = Workspace()
        TRAK(models=4)(replace(trained, recipe=replace(trained.recipe, epochs=epochs)), rows, asked, workspace=workspace)
        assert len(list((workspace.folder / "ensemble").iterdir())) == kept
