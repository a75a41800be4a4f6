"""Curvature products, factors and solves against dense matrices in float64."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

from influence.curvature import Objective, cg, damping, fit, ggn, gradient, kept
from influence.curvature import ekfac as ekfac_file
from influence.curvature.blocks import put
from influence.curvature.ggn import _backward, _forward
from influence.curvature.outputs import EXACT, FEW, curved, root
from influence.grads import Rows, row_gradients
from influence.loop import Bound
from influence.losses import per_example
from influence.types import Event
from tests.tiny import MODULES, OTHERS, Built, recipe

products, outputs = (sys.modules[f"influence.curvature.{name}"] for name in ("ggn", "outputs"))
N = 9
LOSSES = ["cross_entropy", "squared", "huber"]
SHAPES = {**{name: shape for name, (shape, _) in MODULES.items()}, **dict.fromkeys(OTHERS, (4,))}


class Fixed:
    """An architecture that is one given module."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self) -> nn.Module:
        return self.module


def objective(model, shape=(4,), loss="cross_entropy", n=N, classes=3, decay=0.0, layers="all", tokens=False) -> Objective:
    bound = Bound(model, 0, "float64")
    bound.module.eval()
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.integers(0, 7, (n, *shape)) if tokens else rng.normal(size=(n, *shape)))
    y = torch.from_numpy(rng.integers(0, classes, n) if loss == "cross_entropy" else rng.normal(size=n) * 1.5)
    return Objective(bound, Rows(x, y, loss), np.arange(n), n + 1, decay, layers)


def built(what: str, **given) -> Objective:
    return objective(Built(what), SHAPES[what], tokens=what == "embedding", **given)


def regression() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))


def second(loss: str, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.autograd.functional.hessian(lambda o: per_example(loss, o[None], y[None])[0], out)


def dense(of: Objective) -> torch.Tensor:
    """The Gauss-Newton matrix with decay, one row at a time, (P, P)."""
    bound, rows = of.bound, of.rows
    params = {name: p.detach() for name, p in zip(bound.names, bound.params, strict=True)}
    total = of.decay * torch.eye(len(bound.flat), dtype=torch.float64)
    for x, y in zip(rows.x, rows.target, strict=True):
        j = jacrev(lambda p, x=x: functional_call(bound.module, p, (x[None],))[0])(params)
        j = torch.cat([part.flatten(1) for part in j.values()], 1)
        total += j.T @ second(rows.loss, bound.module(x[None])[0].detach(), y) @ j / of.n
    return total * of.mask * of.mask[:, None]


def directions(of: Objective, q: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(5).normal(size=(q, len(of.bound.flat))))


@pytest.mark.parametrize("loss", LOSSES)
def test_second_derivative_by_the_outputs_and_its_root(loss):
    classes = 4 if loss == "cross_entropy" else 1
    of = objective(Fixed(nn.Linear(4, classes)), loss=loss, classes=classes)
    out, y = of.bound.module(of.rows.x).detach(), of.rows.target
    eye = torch.eye(classes, dtype=torch.float64)[:, None].expand(-1, N, -1)
    found, columns = curved(loss, out, y, eye), root(loss, out, y, of.ids)
    for i in range(N):
        real = second(loss, out[i], y[i])
        torch.testing.assert_close(found[:, i], real)
        torch.testing.assert_close(torch.einsum("kc,kd->cd", columns[:, i], columns[:, i]), real)
    if loss == "huber":
        assert 0 < (found == 0).sum() < N


def test_two_classes_need_one_column_and_many_are_drawn_by_id():
    two = torch.randn(5, 2, dtype=torch.float64)
    r = root("cross_entropy", two, torch.zeros(5), np.arange(5))
    assert len(r) == 1
    torch.testing.assert_close(r[0][:, :, None] * r[0][:, None], torch.stack([second("cross_entropy", o, torch.tensor(0)) for o in two]))
    out = torch.randn(1, EXACT + 4, dtype=torch.float64)
    many = root("cross_entropy", out.expand(4000, -1), torch.zeros(4000), np.arange(4000))
    assert len(many) == 1
    mean = many[0].T @ many[0] / 4000
    torch.testing.assert_close(mean, second("cross_entropy", out[0], torch.tensor(0)), rtol=0, atol=0.02)
    again = root("cross_entropy", out.expand(4000, -1), torch.zeros(4000), np.arange(4000)[::-1])
    torch.testing.assert_close(again[0].flip(0), many[0])


def test_of_many_rows_one_column_is_drawn_and_the_sum_is_right():
    out, ids = torch.randn(1, 3, dtype=torch.float64), np.arange(4000)
    rows = (out.expand(4000, -1), torch.zeros(4000), ids)
    few, many = root("cross_entropy", *rows, among=FEW // 3), root("cross_entropy", *rows, among=FEW // 3 + 1)
    assert (len(few), len(many)) == (3, 1)
    torch.testing.assert_close(many[0].T @ many[0] / 4000, second("cross_entropy", out[0], torch.tensor(0)), rtol=0, atol=0.02)


def test_factors_of_many_rows_are_near_those_of_all_columns(monkeypatch):
    of = objective(Fixed(nn.Linear(4, 3)), n=3000, classes=3)
    exact = fit(of)
    monkeypatch.setattr(outputs, "FEW", 0)
    drawn, v = fit(of), torch.randn(1, of.bound.flat.numel(), dtype=torch.float64)
    assert not torch.equal(exact.spectrum()[0], drawn.spectrum()[0])
    near = torch.cosine_similarity(exact.solve(v, 0.01), drawn.solve(v, 0.01))
    assert 0.99 < float(near) < 1


@pytest.mark.parametrize("what", SHAPES)
def test_gauss_newton_product_is_the_dense_one(what):
    of = built(what, decay=0.03)
    v = directions(of)
    torch.testing.assert_close(ggn(of, v), v @ dense(of))


@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_gauss_newton_product_of_regressions(loss):
    of = objective(Fixed(regression()), loss=loss)
    v = directions(of)
    torch.testing.assert_close(ggn(of, v), v @ dense(of))


def test_products_are_added_up_over_batches_and_directions(monkeypatch):
    of = built("layer norm")
    v = directions(of, 5)
    whole = ggn(of, v)
    monkeypatch.setattr(products, "ROWS", 2)
    monkeypatch.setattr(products, "TOGETHER", 2)
    torch.testing.assert_close(ggn(of, v), whole)


def test_layers_that_are_not_asked_about_do_not_move():
    of = built("layer norm", layers="last", decay=0.1)
    v = directions(of)
    torch.testing.assert_close(ggn(of, v), v @ dense(of))
    assert not ggn(of, v)[:, ~of.mask].any()
    assert not fit(of).solve(v, 0.1)[:, ~of.mask].any()
    assert not gradient(of)[~of.mask].any()


@pytest.mark.parametrize("what", ["layer norm", "grouped conv", "tied", "used twice"])
def test_both_ways_to_push_agree(what):
    of = built(what)
    v = directions(of)
    args = (of.bound, of.places, of.rows.x, v)
    torch.testing.assert_close(_forward(*args), _backward(*args))


class NoForward(torch.autograd.Function):
    """An operation that has no forward mode and no rule for vmap; its backward can be differentiated."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()


def test_an_operation_without_forward_mode():
    class Sine(nn.Module):
        def forward(self, x):
            return NoForward.apply(x)

    module = nn.Sequential(nn.Linear(4, 3), Sine(), nn.Linear(3, 3))
    of = objective(Fixed(module))
    v = directions(of)
    found = ggn(of, v)
    module[1].forward = torch.sin
    torch.testing.assert_close(found, v @ dense(of))


def objective_at(of: Objective, flat: torch.Tensor) -> torch.Tensor:
    bound = of.bound
    params = dict(zip(bound.names, bound.views(flat), strict=True))
    return per_example("cross_entropy", functional_call(bound.module, params, (of.rows.x,)), of.rows.target).sum() / of.n


@pytest.mark.parametrize("what", ["layer norm", "conv1d", "tied"])
def test_gradient_is_that_of_the_objective(what):
    of = built(what, decay=0.02)
    torch.testing.assert_close(gradient(of), torch.autograd.functional.jacobian(lambda flat: objective_at(of, flat), of.bound.flat.clone()))


def test_gauss_newton_is_the_hessian_where_outputs_are_linear():
    of = built("bare layer")
    real = torch.autograd.functional.hessian(lambda flat: objective_at(of, flat), of.bound.flat.clone())
    v = directions(of)
    torch.testing.assert_close(ggn(of, v), v @ real + of.decay * v)


@pytest.mark.parametrize("kind", ["classes that are equally likely", "one numeric output"])
def test_factors_are_exact_where_the_curvature_is_a_kronecker_product(kind):
    module = nn.Linear(4, 3 if kind.startswith("classes") else 1)
    if kind.startswith("classes"):
        nn.init.zeros_(module.weight)
        nn.init.zeros_(module.bias)
    of = objective(Fixed(module), loss="cross_entropy" if kind.startswith("classes") else "squared", decay=0.05)
    factors, real, v = fit(of), dense(of), directions(of)
    torch.testing.assert_close(factors.apply(v, lambda block: block.values + 0.05), v @ real)
    torch.testing.assert_close(factors.solve(v, 0.1), torch.linalg.solve(real + 0.1 * torch.eye(len(real)), v.T).T)


def along(factors, block, place: int) -> torch.Tensor:
    """The flat direction of one eigenvalue, (P,)."""
    one = torch.zeros(block.values.numel(), dtype=torch.float64)
    one[place] = 1
    total = torch.zeros(1, len(factors.of.bound.flat), dtype=torch.float64)
    put(block.shape, block.out(one.view(1, *block.shape.size)), factors.of.bound.views(total))
    return total[0]


@pytest.mark.parametrize("what", SHAPES)
def test_every_eigenvalue_is_the_mean_square_along_its_direction(what):
    """E[(u^T g)²] over the model's own predictions, for each direction of each block: u^T G u by the dense matrix."""
    of = built(what)
    factors, real = fit(of), dense(of)
    count = sum(block.values.numel() for block in factors.blocks)
    assert count == len(of.bound.flat)
    empirical = row_gradients(of.bound, of.rows.x, of.rows.target, of.rows.loss)
    for block in factors.blocks:
        for place in range(0, block.values.numel(), max(1, block.values.numel() // 7)):
            u = along(factors, block, place)
            torch.testing.assert_close(u @ u, torch.tensor(1.0, dtype=torch.float64))
            torch.testing.assert_close(block.values.flatten()[place], u @ real @ u, atol=1e-12, rtol=1e-8)
            torch.testing.assert_close(block.spread.flatten()[place], (empirical @ u).square().sum() / of.n, atol=1e-12, rtol=1e-8)


def test_a_bias_belongs_to_its_weight_and_a_table_stays_small():
    shapes = {
        what: [(b.shape.size, sorted(b.shape.sides)) for b in fit(built(what)).blocks] for what in ("grouped conv", "embedding", "tied")
    }
    both = ["left", "right"]
    assert shapes["grouped conv"] == [((2, 4, 19), both), ((1, 1, 8), ["right"]), ((1, 1, 8), ["right"]), ((1, 3, 201), both)]
    assert shapes["embedding"][0] == ((1, 7, 5), ["right"])
    assert shapes["tied"][:3] == [((1, 4, 4), both), ((1, 1, 4), ["right"]), ((1, 1, 4), ["right"])]


def test_factors_go_on_where_they_stopped(tmp_path, monkeypatch):
    of = built("layer norm")
    events: list[Event] = []

    def stop(event: Event) -> None:
        events.append(event)
        if event.stage == "values":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(of, tmp_path, report=stop)
    events.clear()
    factors = fit(of, tmp_path, report=events.append)
    assert {event.stage for event in events} == {"values"}
    v = directions(of)
    torch.testing.assert_close(factors.solve(v, 0.1), fit(of).solve(v, 0.1))
    monkeypatch.setattr(ekfac_file._Passes, "_asked", None)
    torch.testing.assert_close(fit(of, tmp_path).solve(v, 0.1), factors.solve(v, 0.1))


@pytest.mark.parametrize("loss", ["cross_entropy", "squared"])
@pytest.mark.parametrize("what", SHAPES)
def test_products_on_a_kept_graph_are_those_of_the_matrix(what, loss):
    of = replace(built(what, loss=loss, classes=3), decay=0.3)
    v = directions(of)
    product, expected = kept(of), ggn(of, v)
    for _ in range(2):
        torch.testing.assert_close(product(v), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("why", ["too large", "once only"])
def test_without_a_kept_graph_products_go_forward_each_time(why, monkeypatch):
    of, made = built("layer norm"), []
    inner = products._Graph.__init__
    monkeypatch.setattr(products._Graph, "__init__", lambda self, of, rows: made.append(len(rows)) or inner(self, of, rows))
    v = directions(of)
    kept(of)
    assert made == [4, N]
    if why == "too large":
        monkeypatch.setattr(products, "KEPT", 0)
    else:

        def once(self, v):
            raise RuntimeError("derivative not implemented")

        monkeypatch.setattr(products._Graph, "__call__", once)
    made.clear()
    torch.testing.assert_close(kept(of)(v), ggn(of, v))
    assert made == ([4] if why == "too large" else [4, N])


def test_conjugate_gradients_solve_all_sides_and_the_factors_help():
    of = built("layer norm", n=60)
    system = replace(of, decay=0.01)
    real, b = dense(system), directions(of, 4)
    b[3] = 0
    events: list[Event] = []
    plain = cg(lambda v: ggn(system, v), b, None, 400, 1e-10)
    factors = fit(of)
    helped = cg(lambda v: ggn(system, v), b, lambda v: factors.solve(v, 0.01), 400, 1e-10, events.append)
    exact = torch.linalg.solve(real, b.T).T
    for solved in (plain, helped):
        torch.testing.assert_close(solved.x, exact, rtol=1e-6, atol=1e-8)
        assert solved.residual.max() <= 1e-10
    assert events[-1].done == events[-1].total
    assert events[-1].note == ""
    assert events[-1].metrics["relative residual"] <= 1e-10


def test_factors_save_iterations():
    of = objective(Fixed(nn.Linear(30, 3)), (30,), n=200)
    of = replace(of, rows=replace(of.rows, x=of.rows.x * torch.logspace(1, -2, 30, dtype=torch.float64)), decay=1e-4)
    factors, b = fit(of), directions(of)
    plain, helped = (cg(lambda v: ggn(of, v), b, p, 1000, 1e-6).iterations for p in (None, lambda v: factors.solve(v, 0.0)))
    assert helped < 0.2 * plain


def test_a_solve_that_ends_early_is_nearer_with_every_product_though_its_residual_grows():
    a = torch.logspace(0, 4, 12, dtype=torch.float64)
    b, rough = torch.ones(1, 12, dtype=torch.float64), a * torch.linspace(1, 0.02, 12, dtype=torch.float64)
    found = [cg(lambda v: v * a, b, lambda r: r / rough, k, 1e-12) for k in range(8)]
    errors = [float((a * (solved.x - b / a).square()).sum()) for solved in found]
    assert found[1].residual > 1 == found[0].residual
    assert all(later < earlier for earlier, later in pairwise(errors))


def test_a_solve_that_fell_short_says_so():
    of = replace(built("layer norm", n=60), decay=1e-3)
    events: list[Event] = []
    b = directions(of)
    found = cg(lambda v: ggn(of, v), b, None, 3, 1e-6, events.append)
    real = (b - ggn(of, found.x)).norm(dim=1) / b.norm(dim=1)
    torch.testing.assert_close(found.residual, real)
    assert "did not reach the tolerance 1e-06" in events[-1].note
    assert [event.note for event in events[:-1]] == [""] * 2


def test_damping_stands_for_the_time_of_training():
    how = recipe(weight_decay=0.0, lr=0.1, momentum=0.5, schedule="constant", batch_size=5, epochs=4)
    assert damping.from_recipe(how, 20) == pytest.approx(1 / (16 * 0.1 / 0.5))
    tau = 16 * 0.1 / 0.5
    for decay in (1e-6, 0.01, 1.0):
        ridge = decay + damping.from_recipe(replace(how, weight_decay=decay), 20)
        assert 1 / ridge == pytest.approx((1 - np.exp(-decay * tau)) / decay, rel=1e-6)
    assert damping.from_recipe(replace(how, optimizer="adam"), 20) is None
    assert damping.from_recipe(replace(how, max_norm=1e-3), 20) is None
    assert damping.decay(replace(how, optimizer="adamw", weight_decay=0.1)) == damping.decay(None) == 0


def descent(tau: float, decay: float, n: int = 400) -> Objective:
    """Linear regression trained from zero by gradient descent for a time tau; curvatures over three decades."""
    of = objective(Fixed(nn.Linear(60, 1, bias=False)), (60,), "squared", n=n)
    scale = torch.logspace(0, -1.7, 60, dtype=torch.float64)
    rows = replace(of.rows, x=of.rows.x * scale)
    of = replace(of, rows=rows)
    truth = torch.from_numpy(np.random.default_rng(3).normal(size=60))
    rows.target.copy_(rows.x @ truth + 0.1 * rows.target)
    with torch.no_grad():
        of.bound.flat.zero_()
        for _ in range(int(tau / 0.05)):
            of.bound.flat.sub_(0.05 * (gradient(of) + decay * of.bound.flat))
    return of


def test_where_training_clips_the_weights_show_the_damping():
    """At least what the step sizes would show: clipping leaves less time. Where nothing is shown, that is all there is."""
    tau = 20.0
    factors = fit(descent(tau, 0.0))
    how = recipe(weight_decay=0.0, lr=1.0, momentum=0.0, schedule="constant", batch_size=factors.of.n)
    for epochs in (10, 1000):
        shown = damping.from_recipe(replace(how, epochs=epochs), factors.of.n)
        assert damping.chosen(factors, replace(how, epochs=epochs)) == pytest.approx(1 / epochs)
        clipped = damping.chosen(factors, replace(how, epochs=epochs, max_norm=1.0))
        assert clipped == pytest.approx(max(shown, damping.from_weights(factors)))
    assert clipped == pytest.approx(1 / tau, rel=0.35)


@pytest.mark.parametrize(
    ("tau", "decay"), [(20.0, 0.0), (200.0, 0.05), *(pytest.param(*case, marks=pytest.mark.slow) for case in [(200.0, 0.0), (20.0, 0.005)])]
)
def test_damping_is_read_off_the_weights(tau, decay):
    real = decay / (1 - np.exp(-decay * tau)) if decay else 1 / tau
    assert damping.from_weights(fit(descent(tau, decay))) == pytest.approx(real, rel=0.35)
