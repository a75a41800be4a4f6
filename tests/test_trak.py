"""Projections keep inner products on average; TRAK against dense algebra, its damping against brute force, its ensembles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from influence.attribution._ridge import GRID, Ridge
from influence.attribution._trak_model import regression
from influence.attribution.trak import EXACT, TRAK, WIDE
from influence.errors import BadInput
from influence.grads import Rows, outputs, query_gradient, row_gradients
from influence.grads.projection import Projection, Sparse
from influence.loop import Bound, tensors
from influence.training import checkpoint, load, train
from influence.types import Event, Trained
from influence.workspace import Workspace
from tests.tiny import MODULES, OTHERS, Built, Mean, bind, examples, question, recipe


def vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def matrix(sparse: Sparse) -> torch.Tensor:
    """The projection as a dense matrix, (dimension, size)."""
    return sparse(torch.eye(sparse.size, dtype=torch.float64)).T


@pytest.mark.parametrize("dimension", [8, 10, 3])
def test_each_coordinate_has_s_nonzeros_in_as_many_blocks(dimension):
    r = matrix(Sparse(50, dimension))
    s = min(4, dimension)
    torch.testing.assert_close(r.abs().sum(0), torch.full((50,), np.sqrt(s), dtype=torch.float64))
    assert ((r != 0).sum(0) == s).all()
    assert 0.3 < (r > 0).sum() / (r != 0).sum() < 0.7


def test_inner_products_are_kept_on_average_with_the_promised_deviation():
    g, h = vectors(2, 60)
    h = h + g
    found = torch.stack([torch.dot(*Sparse(60, 32, seed)(torch.stack([g, h]))) for seed in range(1500)])
    promised = np.sqrt(2 / 32) * float(g.norm() * h.norm())
    assert abs(float(found.mean() - g @ h)) < 4 * float(found.std()) / np.sqrt(1500)
    assert 0.3 * promised < float(found.std()) < 1.05 * promised


def test_projections_are_keyed_by_seed_and_name():
    first = matrix(Sparse(9, 6, 1, "a"))
    torch.testing.assert_close(matrix(Sparse(9, 6, 1, "a")), first, rtol=0, atol=0)
    assert all((matrix(other) != first).any() for other in (Sparse(9, 6, 2, "a"), Sparse(9, 6, 1, "b")))


@pytest.mark.parametrize("kind", [*MODULES, *OTHERS])
def test_rows_are_projected_as_questions_are(kind):
    rows = examples(9, MODULES[kind][0] if kind in MODULES else (4,))
    if kind == "embedding":
        rows = replace(rows, x=np.random.default_rng(1).integers(0, 7, (9, 4)))
    bound = Bound(Built(kind), 3, "float64")
    x, y = tensors(rows, "float64")
    how = Projection(16, seed=5)
    found = torch.cat([part for _, part in how.of_rows(bound, Rows(x, y, "cross_entropy"))])
    whole = how.of_vectors(bound, row_gradients(bound, x, y, "cross_entropy"))
    torch.testing.assert_close(found, whole, rtol=1e-9, atol=1e-12)


def test_projected_gradients_keep_inner_products_on_average():
    rows = examples(5, (4,))
    bound = Bound(bind("mlp", rows, hidden="6"), 3, "float64")
    g = row_gradients(bound, *tensors(rows, "float64"), "cross_entropy")[:2]
    found = []
    for seed in range(1000):
        a, b = Projection(24, seed).of_vectors(bound, g)
        found.append(float(a @ b))
    assert abs(np.mean(found) - float(g[0] @ g[1])) < 4 * np.std(found) / np.sqrt(len(found))


def test_the_margin_and_its_slopes_are_those_of_autograd():
    rows = examples(12, classes=4)
    z = vectors(12, 4).requires_grad_()
    y = torch.from_numpy(rows.y)
    p = z.softmax(1)[torch.arange(12), y]
    values, slopes, misses, labels = regression(z.detach(), rows, "cross_entropy")
    torch.testing.assert_close(torch.from_numpy(values), torch.logit(p).detach())
    torch.testing.assert_close(slopes, torch.autograd.grad(torch.logit(p).sum(), z, retain_graph=True)[0])
    torch.testing.assert_close(
        -torch.from_numpy(misses)[:, None] * slopes, torch.autograd.grad(-p.log().sum(), z)[0]
    )  # the gradient of the loss
    assert (labels == 1).all()


def problem(classes: int = 3, hidden: str = "5", n: int = 25):
    rows, ask = examples(n, (4,), classes), examples(9, (4,), classes, seed=1)
    how = recipe(loss="cross_entropy" if classes else "squared", lr=0.05)
    return train(bind("mlp", rows, hidden=hidden), rows, how), rows, question(ask) if classes else question(ask, Mean())


@pytest.mark.parametrize("dimension", [0, 12])
@pytest.mark.parametrize("classes", [3, 0])
def test_scores_are_those_of_dense_algebra(dimension, classes):
    trained, rows, asked = problem(classes)
    bound = load(trained)
    z = outputs(bound, rows)
    _, slopes, misses, _ = regression(z, rows, trained.recipe.loss)
    phi = row_gradients(bound, tensors(rows, "float64")[0], slopes, "linear")
    v = query_gradient(bound, asked)[1]
    unit = float(phi.square().sum()) / len(rows)
    if dimension:
        r = Projection(dimension, 3).of_vectors(bound, torch.eye(phi.shape[1], dtype=torch.float64))
        phi, v = phi @ r, v @ r
        unit = float(phi.square().sum()) / len(rows)
    kernel = phi.T @ phi + 0.3 * unit * torch.eye(phi.shape[1], dtype=torch.float64)
    expected = -(v @ torch.linalg.solve(kernel, phi.T)).T.numpy() * misses[:, None]
    found = TRAK(dimension=dimension, damping=0.3, seed=3)(trained, rows, asked)
    np.testing.assert_allclose(found.values, expected, rtol=1e-7, atol=1e-12)


def test_linear_regression_without_a_row_is_predicted_up_to_its_leverage():
    """For least squares, removing row i changes F by s_i / (1 - h_i) exactly (Cook 1977)."""
    rows, ask = examples(30, (3,), 0), examples(1, (3,), 0, seed=1)
    model = bind("logistic", rows)
    x = np.concatenate([rows.x, np.ones((30, 1))], axis=1)

    def fitted(keep: np.ndarray) -> np.ndarray:
        return np.linalg.lstsq(x[keep], rows.y[keep], rcond=None)[0]

    everything = np.ones(30, dtype=bool)
    state = {"1.weight": torch.from_numpy(fitted(everything)[None, :3].copy()), "1.bias": torch.from_numpy(fitted(everything)[3:].copy())}
    trained = Trained(model, (checkpoint(state, 1, 0.1),), recipe(loss="squared"))
    asked = question(ask, Output())
    scores = TRAK(damping=1e-7)(trained, rows, asked).values[:, 0]
    leverage = np.einsum("ij,jk,ik->i", x, np.linalg.inv(x.T @ x), x)
    at = np.append(ask.x[0], 1)
    real = [at @ (fitted(np.arange(30) != i) - fitted(everything)) for i in range(30)]
    np.testing.assert_allclose(scores / (1 - leverage), real, rtol=1e-4)


class Output(Mean):
    """The first row's output."""

    def value(self, logits, examples):
        return logits[0, :1]

    measured = value


def test_the_matrix_fits_into_the_memory_allowed():
    assert TRAK()._dimension(EXACT, 2048) == 0
    assert TRAK()._dimension(EXACT + 1, 2048) == WIDE
    small = TRAK()._dimension(1000, 16)
    assert 24 * small**2 <= 16 * 2**20 < 24 * (small + 1) ** 2
    assert TRAK(dimension=77)._dimension(10**6, 1) == 77


@pytest.mark.parametrize("together", [5, 100])
@pytest.mark.parametrize("primal", [False, True])
def test_leave_one_out_is_the_best_of_really_leaving_each_row_out(primal, together, monkeypatch):
    monkeypatch.setattr("influence.attribution._ridge.ROWS", together)
    phi = vectors(18, 6).numpy()
    labels = phi @ vectors(6, seed=1).numpy() + 2 * vectors(18, seed=2).numpy()
    unit = np.square(phi).sum() / 18
    errors = []
    for damping in GRID:
        error = 0.0
        for i in range(18):
            rest = np.arange(18) != i
            w = np.linalg.solve(phi[rest].T @ phi[rest] + damping * unit * np.eye(6), phi[rest].T @ labels[rest])
            error += (phi[i] @ w - labels[i]) ** 2
        errors.append(error)
    found = (Ridge(phi.T @ phi, 18, phi) if primal else Ridge(phi @ phi.T, 18)).leave_one_out(labels)
    assert found == GRID[np.argmin(errors)]
    assert GRID[0] < found < GRID[-1]


def test_several_models_are_trained_once_and_averaged(tmp_path):
    trained, rows, asked = problem()
    seen: list[Event] = []
    kept = Workspace(tmp_path)
    first = TRAK(models=4)(trained, rows, asked, seen.append, kept)
    assert {event.stage for event in seen} == {"retrain", "gradients", "score"}
    again: list[Event] = []
    np.testing.assert_array_equal(TRAK(models=4)(trained, rows, asked, again.append, kept).values, first.values)
    assert {event.stage for event in again} == {"score"}
    assert not np.allclose(first.values, TRAK(models=4, rows="all")(trained, rows, asked).values)
    assert np.corrcoef(first.values[:, 0], TRAK(models=8)(trained, rows, asked).values[:, 0])[0, 1] > 0.5


def test_what_it_cannot_do_is_said():
    trained, rows, asked = problem()
    own = replace(trained, recipe=None)
    assert "recipe" in TRAK(models=2).unavailable(own)
    with pytest.raises(BadInput, match="recipe"):
        TRAK(models=2)(own, rows, asked)
    single = replace(rows, y=np.zeros_like(rows.y), classes=("one",))
    with pytest.raises(BadInput, match="two classes"):
        regression(torch.zeros(25, 1), single, "cross_entropy")
