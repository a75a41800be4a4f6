"""Newton steps of a linear head against real refits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from influence.curvature import Objective, fit, gradient
from influence.curvature.newton import closed, head
from influence.errors import BadInput
from influence.grads import Rows, sweep
from influence.loop import Bound
from influence.registry import attribution
from influence.training import train
from tests.tiny import Built, bind, examples, question, recipe

N = 60
RIDGE = 0.02


def converged(classes: int = 3, gone: np.ndarray | None = None, start: torch.Tensor | None = None) -> Objective:
    """A ridge logistic (classes) or linear regression at its minimum, n fixed, some rows gone; Newton's method in float64."""
    rows = examples(N, (5,), classes)
    kept = np.ones(N, bool) if gone is None else ~gone
    bound = Bound(bind("logistic", rows), 0, "float64")
    y = torch.from_numpy(np.array(rows.y))[kept]
    given = Rows(torch.from_numpy(np.array(rows.x))[kept] * 2, y, "cross_entropy" if classes else "squared")
    of = Objective(bound, given, rows.ids[kept], N, RIDGE, "last")
    bound.flat.copy_(torch.zeros_like(bound.flat) if start is None else start)
    for k in range(20):
        g = gradient(of) + RIDGE * bound.flat
        if g.norm() < 1e-13:
            break
        bound.flat.sub_((min(1.0, 0.4 + 0.1 * k) if start is None else 1.0) * solved(of, g[None])[0] * N)
    assert (gradient(of) + RIDGE * bound.flat).norm() < 1e-12
    return of


def solved(of: Objective, v: torch.Tensor) -> torch.Tensor:
    """(n H)^-1 v by the head's own factor, for directions (Q, P) of a model that is its head; its layer's bias follows the weights."""
    layer = head(of, RIDGE)
    found = torch.cholesky_solve(layer.gathered(v).T, layer.root).T.view(len(v), layer.outputs, -1)
    return torch.cat([found[..., :-1].flatten(1), found[..., -1]], 1)


def value(of: Objective, x: torch.Tensor) -> torch.Tensor:
    return of.bound.module(x).detach()[:, 0].sum()


def asked(of: Objective) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.from_numpy(np.random.default_rng(8).normal(size=(10, 5)))
    return x, torch.cat([g.flatten() for g in torch.autograd.grad(of.bound.module(x)[:, 0].sum(), of.bound.params)])[None]


@pytest.mark.parametrize(("classes", "left"), [(2, 0.4), (3, 0.6)])
def test_leave_one_out_is_nearer_to_refits_than_the_influence_function(classes, left):
    """What is left of the influence function's error is of higher order: the curvature at the refit is another."""
    of = converged(classes)
    x, v = asked(of)
    plain = sweep(of.bound, of.rows.x, of.rows.target, "cross_entropy", solved(of, v))[:, 0]
    newton = head(of, RIDGE).removals(v)[:, 0].numpy()
    real = np.array([float(value(converged(classes, np.arange(N) == i, of.bound.flat), x) - value(of, x)) for i in range(N)])
    error = {name: np.linalg.norm(found - real) / np.linalg.norm(real) for name, found in (("plain", plain), ("newton", newton))}
    assert error["newton"] < left * error["plain"], error


def test_least_squares_is_exact():
    of = converged(0)
    x, v = asked(of)
    found = head(of, RIDGE).removals(v)[:, 0].numpy()
    real = np.array([float(value(converged(0, np.arange(N) == i, of.bound.flat), x) - value(of, x)) for i in range(N)])
    np.testing.assert_allclose(found, real, rtol=1e-8, atol=1e-12)


def test_a_head_that_is_not_determined_is_refused():
    of = converged()
    with pytest.raises(BadInput, match="singular"):
        _ = head(replace(of, rows=of.rows.cut(slice(0, 2))), 0.0).root


def test_only_a_small_linear_last_layer_has_a_head():
    assert closed(Bound(Built("layer norm")), 3) == ""
    assert "last layer is linear" in closed(Bound(Built("layer norm")), 4)
    rows = examples(20, (3000,), 3)
    assert "9003 parameters" in closed(Bound(bind("logistic", rows)), 3)


def test_the_head_of_a_network_is_the_influence_function_of_its_last_layer_but_for_leverage():
    rows, ask = examples(80), question(examples(30, seed=1))
    trained = train(bind("mlp", rows), rows, recipe(weight_decay=0.05, epochs=10))
    given = {"damping": 0.3}
    exact = attribution.make("newton", given)(trained, rows, ask).values
    plain = attribution.make("influence_function", {**given, "layers": "last", "tolerance": 1e-10, "iterations": 500})(
        trained, rows, ask
    ).values
    assert np.corrcoef(exact[:, 0], plain[:, 0])[0, 1] > 0.99
    assert np.linalg.norm(exact - plain) < 0.3 * np.linalg.norm(exact)
    assert (exact != plain).any()


@pytest.mark.parametrize(("kind", "whole"), [("logistic", True), ("mlp", False)])
def test_sizes_are_claimed_only_where_the_head_is_the_whole_model(kind, whole):
    rows = examples(40)
    trained = train(bind(kind, rows), rows, recipe(weight_decay=0.05))
    assert attribution.make("newton")(trained, rows, question(examples(9, seed=1))).calibrated == whole


def test_rows_are_read_a_block_at_a_time(monkeypatch):
    of = converged()
    _, v = asked(of)
    once = head(of, RIDGE).removals(v)
    monkeypatch.setattr("influence.curvature.newton.ROWS", 7)
    several = head(of, RIDGE)
    assert max(len(seen.a) for seen in several.blocks()) == 7
    torch.testing.assert_close(several.removals(v), once, rtol=1e-10, atol=1e-14)


def test_kronecker_factors_of_the_head_are_near_its_exact_hessian():
    of = converged()
    _, v = asked(of)
    near = fit(of).solve(v, 0.0)
    assert torch.nn.functional.cosine_similarity(solved(of, v), near) > 0.9
