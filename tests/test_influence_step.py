"""The step that removes rows in the weights: against dense solves, closed forms and retraining."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from influence import optim, training
from influence.curvature import damping
from influence.errors import BadInput
from influence.loop import Bound
from influence.registry import models, unlearning
from influence.types import Event, Examples, Recipe, Selection, Trained
from influence.unlearning import _budget, _metric, _response
from influence.unlearning._guard import Guard
from influence.unlearning._response import Settled, Without, by_id
from influence.workspace import Workspace

LONG = {"batch_size": 300, "epochs": 3000, "lr": 0.2, "schedule": "constant", "warmup": 0.0, "weight_decay": 0.01, "dtype": "float64"}


def rows(n: int = 300, kind: str = "number") -> Examples:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    score = x @ np.array([1.0, -1.0, 0.5, 0.0]) + rng.normal(size=n)
    frame = pd.DataFrame(index=range(n))
    if kind == "number":
        return Examples(x, score.astype(np.float32), np.arange(n), frame)
    return Examples(x, (score > 0).astype(np.int64), np.arange(n), frame, ("no", "yes"))


def fitted(train: Examples, model: str = "logistic", removed: tuple[int, ...] = (), **recipe: object) -> Trained:
    built = replace(models.make(model), inputs=train.shape, outputs=train.outputs)
    loss = "cross_entropy" if train.classes else "squared"
    return training.train(built, train, Recipe(**{**LONG, "loss": loss, **recipe}), removed=removed)


def distance(a: Trained, b: Trained) -> float:
    return float((training.load(a).flat - training.load(b).flat).norm())


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_of_a_linear_regression_it_is_the_retrained_model():
    train = rows()
    trained, gone = fitted(train), Selection(tuple(range(60)))
    made = unlearning.make("influence_step", {"products": 50, "rows": 300})(trained, train, gone)
    oracle = fitted(train.without(gone), removed=gone.ids)
    x = np.column_stack([train.x[60:], np.ones(240)]).astype(np.float64)
    # Loss is (z - y)² summed over places that stay, over all 300: the minimum of that with decay, in closed form.
    solved = np.linalg.solve(2 * x.T @ x / 300 + 0.01 * np.eye(5), 2 * x.T @ train.y[60:].astype(np.float64) / 300)
    told = training.load(made).flat.numpy()
    np.testing.assert_allclose(training.load(oracle).flat.numpy(), solved, atol=1e-6)
    np.testing.assert_allclose(told, solved, atol=1e-5)
    assert distance(trained, oracle) > 0.01


def test_of_a_logistic_regression_newton_ends_where_retraining_does():
    train = rows(kind="class")
    trained, gone = fitted(train), Selection(tuple(np.flatnonzero(train.y == 1)[:60].tolist()))
    oracle = fitted(train.without(gone), removed=gone.ids)
    away = distance(trained, oracle)
    once, thrice = (
        unlearning.make("influence_step", {"products": 50, "rows": 300, "turns": turns})(trained, train, gone) for turns in (1, 6)
    )
    assert distance(thrice, oracle) < 1e-4 * away
    assert 10 * distance(thrice, oracle) < distance(once, oracle) < 0.5 * away, "one turn is Newton's first step"


def test_one_turn_is_the_dense_solve(monkeypatch):
    monkeypatch.setattr(_response, "TOLERANCE", 1e-12)
    train = rows(kind="class")
    trained, gone = fitted(train, epochs=50), tuple(range(40))
    of = Settled.at(trained, train, Workspace())
    forget, retained = train.take(train.mask(gone)), train.without(Selection(gone))
    step = of.step(forget, retained, products=50, rows=300, turns=1)
    bound = training.load(trained)

    def loss(flat: torch.Tensor, part: Examples) -> torch.Tensor:
        weight, bias = flat[:-2].view(2, 4), flat[-2:]
        z = torch.from_numpy(np.array(part.x)).double() @ weight.T + bias
        return torch.nn.functional.cross_entropy(z, torch.from_numpy(np.array(part.y)), reduction="sum") / 300

    flat = bound.flat.clone()
    hessian = torch.autograd.functional.hessian(lambda f: loss(f, retained), flat) + (0.01 + 1 / of.tau) * torch.eye(len(flat))
    g = torch.autograd.functional.jacobian(lambda f: loss(f, forget), flat)
    dense = torch.linalg.solve(hessian.double(), g)
    torch.testing.assert_close(step, dense, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("turns", [1, 3, 10])
def test_of_a_quadratic_the_way_is_that_of_implicit_euler_and_tends_to_gradient_flow(turns, monkeypatch):
    monkeypatch.setattr(_response, "TOLERANCE", 1e-12)
    train = rows()
    of = Settled.at(fitted(train, epochs=20, weight_decay=0.0, lr=0.02), train, Workspace())
    forget, retained = train.take(np.arange(60)), train.take(np.arange(60, 300))
    x = torch.from_numpy(np.column_stack([retained.x, np.ones(240)])).double()
    h, u = torch.linalg.eigh(2 * x.T @ x / 300)
    g = u.T @ _response.gradient(of.rows(forget))
    told = u.T @ of.step(forget, retained, products=60, rows=300, turns=turns)
    flow = (1 - torch.exp(-h * of.tau)) / h * g
    torch.testing.assert_close(told, (1 - (1 + h * of.tau / turns) ** -turns) / h * g, rtol=1e-5, atol=1e-9)
    assert float((told - flow).norm() / flow.norm()) < 0.5 / turns


def test_time_is_that_of_the_recipe():
    for decay, tau in ((0.0, 7.0), (0.01, 50.0), (0.5, 3.0)):
        ridge = decay / np.expm1(decay * tau) if decay else 1 / tau
        assert damping.time_of(ridge, decay) == pytest.approx(tau)


def test_goal_has_the_slope_of_the_removed_rows_and_its_own_gradient():
    train = rows(kind="class")
    trained = fitted(train, epochs=5)
    of, forget, retained = Settled.at(trained, train, Workspace()), train.take(np.arange(40)), train.take(np.arange(40, 300))
    g = _response.gradient(of.rows(forget))
    goal = Without(replace(of.rows(retained), decay=0.3), g, torch.linspace(0.0, 0.4, len(g)).to(g))
    torch.testing.assert_close(goal.gradient(), -g)
    flat, rng = goal.of.bound.flat, torch.Generator().manual_seed(0)
    flat.add_(0.1 * torch.randn(len(flat), dtype=flat.dtype, generator=rng))
    told, at = goal.gradient(), flat.clone()
    for k in range(len(flat)):
        values = []
        for sign in (1e-5, -1e-5):
            flat.copy_(at)
            flat[k] += sign
            values.append(goal.value())
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(float(told[k]), rel=1e-4, abs=1e-8)


def test_a_step_that_leads_up_is_halved_or_not_taken(monkeypatch):
    train = rows(kind="class")
    of = Settled.at(fitted(train, epochs=5), train, Workspace())
    g = _response.gradient(of.rows(train.take(np.arange(40))))
    goal = Without(of.rows(train.take(np.arange(40, 300))), g)
    start = goal.of.bound.flat.clone()

    def turned(step: torch.Tensor) -> torch.Tensor:
        monkeypatch.setattr(_response, "cg", lambda *given: SimpleNamespace(x=step[None]))
        found = goal.turn(torch.zeros_like(g), lambda r: r, 1)
        assert torch.equal(goal.of.bound.flat, start), "the model is as it was"
        return found

    assert not turned(-1000 * g).any(), "against the slope no part of it leads down"
    share = float(turned(200 * g).norm() / (200 * g).norm())
    assert share in [pytest.approx(1 / 2**k) for k in range(1, 6)], "the whole of it leads up, a half or less down"
    torch.testing.assert_close(turned(0.1 * g), 0.1 * g)


def test_every_turn_looks_at_other_rows(monkeypatch):
    train = rows(kind="class")
    trained, seen = fitted(train, epochs=5), []
    inner = _response.sample
    monkeypatch.setattr(_response, "sample", lambda *given: seen.append(inner(*given)) or seen[-1])
    of = Settled.at(trained, train, Workspace())
    of.step(train.take(np.arange(40)), train.take(np.arange(40, 300)), products=2, rows=50, turns=3)
    assert len(seen) == 3
    assert all(len(part) == 50 for part in seen)
    assert len(set(np.concatenate([part.ids for part in seen]).tolist())) > 90


def test_factors_are_fitted_once_for_all_requests(monkeypatch):
    train = rows(kind="class")
    trained, space = fitted(train, epochs=5), Workspace()
    method = unlearning.make("influence_step")
    method.prepare(trained, train, space)
    monkeypatch.setattr("influence.curvature.ekfac._Passes.bases", lambda self: pytest.fail("fitted again"))
    shuffled = train.take(np.random.default_rng(0).permutation(len(train)))
    a, b = (method(trained, part, Selection((1, 2, 3)), workspace=space) for part in (train, shuffled))
    assert a.final.digest == b.final.digest


def test_the_retained_rows_end_the_step(monkeypatch):
    train = rows(kind="class")
    trained, gone = fitted(train, epochs=50), Selection(tuple(range(40)))
    away = -3.0 * training.load(trained).flat
    monkeypatch.setattr(Settled, "step", lambda self, *given: away.clone())
    seen: list[Event] = []
    made = unlearning.make("influence_step")(trained, train, gone, report=seen.append)
    taken = training.load(made).flat - training.load(trained).flat
    share = float(taken.norm() / away.norm())
    assert 0.0 < share < 1.0
    assert f"Only {share:.0%} of the way was gone" in seen[-1].note
    guard = Guard(training.load(trained), trained.recipe, train.without(gone), 0.1)
    assert guard.holds(training.load(made))
    monkeypatch.setattr(Settled, "step", lambda self, *given: 100 * away)
    stayed = unlearning.make("influence_step")(trained, train, gone, report=seen.append)
    assert torch.equal(training.load(stayed).flat, training.load(trained).flat)
    assert seen[-1].note.startswith("The model is as it was")


def test_what_is_not_finite_is_refused():
    train = rows(kind="class")
    trained = fitted(train, epochs=2)
    broken = {name: value * torch.inf for name, value in trained.final.load().items()}
    bad = replace(trained, checkpoints=(training.checkpoint(broken, 1, 0.1),))
    with pytest.raises(BadInput, match="The step is not finite"):
        unlearning.make("influence_step")(bad, train, Selection((1, 2)))


def test_a_step_whose_fall_is_less_than_rounding_is_taken(monkeypatch):
    train = rows(kind="class")
    of = Settled.at(fitted(train, epochs=5), train, Workspace())
    goal = Without(of.rows(train.take(np.arange(40, 300))), 1e-12 * _response.gradient(of.rows(train.take(np.arange(40)))))
    value = goal.value()
    monkeypatch.setattr(Without, "value", lambda self: value)
    assert goal.turn(torch.zeros_like(goal.pull), lambda r: r, 2).any()


def test_where_no_turn_leads_down_newtons_step_answers(monkeypatch):
    train = rows(kind="class")
    of = Settled.at(fitted(train, epochs=2), train, Workspace())
    told = of.step(train.take(np.arange(3)), train, products=50, rows=300)
    monkeypatch.setattr(Without, "value", lambda self: 0.0)
    torch.testing.assert_close(of.step(train.take(np.arange(3)), train, products=50, rows=300), told)


ADAM = {"optimizer": "adamw", "lr": 1e-3, "batch_size": 50, "epochs": 10, "weight_decay": 0.3, "eps_root": 1e-8}


@pytest.mark.parametrize("turns", [1, 3])
def test_where_adam_trained_it_flows_in_its_metric(turns, monkeypatch):
    monkeypatch.setattr(_response, "TOLERANCE", 1e-12)
    train = rows()
    trained = fitted(train, **ADAM)
    of, forget, retained = Settled.at(trained, train, Workspace()), train.take(np.arange(60)), train.take(np.arange(60, 300))
    assert of.tau == pytest.approx(60 * 1e-3)
    x = torch.from_numpy(np.column_stack([retained.x, np.ones(240)])).double()
    h, g = 2 * x.T @ x / 300, _response.gradient(of.rows(forget))
    pulls = h + torch.diag(of.metric * 0.3)
    moved = torch.zeros_like(g)
    for _ in range(turns):  # an implicit Euler step of M d' = g - h d - 0.3 M d
        moved += torch.linalg.solve(pulls + torch.diag(of.metric * (turns / of.tau)), g - pulls @ moved)
    torch.testing.assert_close(of.step(forget, retained, products=60, rows=300, turns=turns), moved, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize(("n", "gone", "dropped"), [(300, 0, False), (303, 0, False), (303, 80, False), (303, 0, True)])
def test_the_metric_is_what_adam_divides_by(n, gone, dropped, optimizer, monkeypatch):
    """Its own running square, over 500 epochs in orders of their own, at weights that stand still.

    Of 303 rows the last batch has 3, be they there or gone; some who train elsewhere drop it.
    """
    monkeypatch.setattr(_metric, "PARTS", n)  # each row by itself, so that nothing is estimated
    train = rows(n, kind="class")
    trained = fitted(train, removed=tuple(range(gone)), **{**ADAM, "optimizer": optimizer})
    if dropped:
        monkeypatch.setattr(Recipe, "went", SimpleNamespace(load=lambda: {"sizes": [50] * 60}))
    of, drawn = _response.objective(trained, train), np.random.default_rng(0)
    flat, decay = of.bound.flat.clone(), 1 - 1e-6
    rule = optim.OPTIMIZERS[optimizer](replace(trained.recipe, lr=1e-9, beta2=decay))
    slots = {name: torch.zeros_like(flat) for name in rule.slots}
    each = [_response.gradient(replace(of, rows=of.rows.cut(torch.tensor([k])), n=1)) for k in range(n - gone)]
    each = torch.stack(each + [torch.zeros_like(flat)] * gone)
    batches = [part for _ in range(500) for part in torch.from_numpy(drawn.permutation(n)).split(50) if len(part) == 50 or not dropped]
    for k, part in enumerate(batches):
        rule.step(flat, slots, each[part].mean(0), 1e-9, k)
    expected = (slots["square"] / (1 - decay ** len(batches)) + 1e-8).sqrt() + 1e-8
    told = _metric.metric(of, trained, train, replace(trained.recipe), Workspace())
    torch.testing.assert_close(told, expected, rtol=0.05, atol=0.0)


def test_strong_decay_of_some_numbers_costs_no_more_products():
    """Biases do not decay, weights do, by six times their size while training lasts: as few products as without decay find the step."""
    train = rows(kind="class")
    found = {}
    for decay in (0.0, 100.0):
        trained = fitted(train, "mlp", **{**ADAM, "weight_decay": 0.01, "decayed": "matrices"})
        of = Settled.at(trained, train, Workspace())
        of = replace(of, shrinks=of.shrinks * decay / 0.01)
        forget, retained = train.take(np.arange(60)), train.take(np.arange(60, 300))
        near, exact = (of.step(forget, retained, products=products, rows=300, turns=1) for products in (4, 400))
        found[decay] = float((near - exact).norm() / exact.norm())
    assert found[100.0] <= found[0.0]


def test_of_few_batches_the_metric_is_as_expected_too(monkeypatch):
    """Where seven of them tell the variance: over other names of the rows, that is other batches."""
    train = rows(310, kind="class")
    trained = fitted(train, **ADAM)
    of = _response.objective(trained, train)
    monkeypatch.setattr(_metric, "PARTS", 310)
    exact = _metric.squared(of, trained.recipe)
    monkeypatch.setattr(_metric, "PARTS", 7)
    found = torch.stack([_metric.squared(replace(of, ids=of.ids + 1000 * k), trained.recipe) for k in range(200)])
    sure = 4 * found.std(0) / 200**0.5
    assert ((found.mean(0) - exact).abs() < sure).all()
    assert (sure < 0.2 * exact).all(), "it would see a factor"


def test_rows_of_numbers_that_few_rows_move_take_part():
    """One row alone moves a number: it is in the metric, so that its removal does not throw the weight away."""
    train = rows(310, kind="class")
    x, last = np.concatenate([train.x, np.zeros((310, 1), np.float32)], 1), int(np.argsort(_metric.keys(0, "metric", train.ids))[-1])
    x[last, 4] = 1.0
    train = replace(train, x=x)
    trained = fitted(train, **{**ADAM, "weight_decay": 0.0, "eps_root": 0.0})
    of = Settled.at(trained, train, Workspace())
    step = of.step(train.take(np.array([last])), train.without(Selection((last,))), products=20, rows=309)
    assert float(step.abs().max()) < 2 * of.tau, "no further than a few steps of the training would go"
    assert step.isfinite().all()


def test_of_a_model_trained_by_adam_it_is_near_the_retrained_one():
    """Beside it the same flow in the metric of the weights, which is another training."""
    train = rows(1000, kind="class")
    train = replace(train, x=(train.x * np.array([1.0, 30.0, 0.1, 1.0])).astype(np.float32))
    settings = {"optimizer": "adam", "lr": 3e-3, "batch_size": 50, "epochs": 6, "weight_decay": 0.0, "schedule": "linear"}
    gone = Selection(tuple(np.flatnonzero(train.y == 1)[:100].tolist()))
    trained, oracle = fitted(train, **settings), fitted(train, removed=gone.ids, **settings)
    made = unlearning.make("influence_step", {"rows": 900})(trained, train, gone)
    of = Settled.at(trained, train, Workspace())
    forget, retained = train.take(train.mask(gone.ids)), train.without(gone)
    plain = training.load(trained).flat + replace(of, metric=None, curvature=None).step(forget, retained, 4, 900, 3)
    away = distance(trained, oracle)
    assert distance(made, oracle) < 0.5 * away
    assert float((plain - training.load(oracle).flat).norm()) > 2 * distance(made, oracle)


def test_by_id_keeps_what_is_sorted():
    train = rows()
    assert by_id(train) is train
    assert (by_id(train.take(np.arange(300)[::-1].copy())).ids == train.ids).all()


def test_the_budget_says_how_many_rows_are_looked_at(monkeypatch):
    train = rows(3000, kind="class")
    trained = fitted(train, "mlp", epochs=20, batch_size=100, lr=0.02)
    bound, recipe = training.load(trained), trained.recipe
    forward = 2 * sum(part.numel() for name, part in bound.module.named_parameters() if part.ndim == 2)
    assert forward < 2 * len(bound.flat), "biases are not counted by PyTorch, but are weights"
    worth = 20 * 3000 + 600 * _budget.STEP / (3 * 2 * len(bound.flat))
    all_rows = worth / (_budget.BEFORE + 4 * _budget.PRODUCT)
    most = _budget.MOST, 3
    for share, expected in ((1200, (600, 2)), (400, (400, 1)), (1800, (600, 3)), (90_000, most), (1, (_budget.FEWEST, 1))):
        told = _budget.affordable(bound, train, 3000, recipe, share / all_rows, 3, 4)
        assert told == pytest.approx(expected, abs=1), f"{share} rows in all"
    quarter = 1200 / all_rows
    assert unlearning.make("influence_step", {"budget": quarter}).expected(trained, train) == pytest.approx(quarter, rel=0.02)
    few = unlearning.make("influence_step", {"budget": 1e-9}).expected(trained, train)
    assert few == pytest.approx(_budget.FEWEST / all_rows), "never fewer rows than tell something, and that is told"
    seen: list[int] = []
    inner = _response.sample
    monkeypatch.setattr(_response, "sample", lambda of, n, *rest: seen.append(n) or inner(of, n, *rest))
    unlearning.make("influence_step", {"budget": quarter})(trained, train, Selection((1, 2)))
    unlearning.make("influence_step", {"rows": 77, "turns": 1})(trained, train, Selection((1, 2)))
    assert seen == [pytest.approx(600, abs=1)] * 2 + [77]


def test_a_convolution_costs_what_it_does_at_every_place():
    train = rows(300, kind="class")
    images = replace(train, x=np.random.default_rng(0).normal(size=(300, 1, 28, 28)).astype(np.float32))
    bound = Bound(replace(models.make("cnn"), inputs=images.shape, outputs=images.outputs))
    assert _budget._forward(bound, images) > 10 * 2 * len(bound.flat)
    assert _budget._row(bound, 4) == _budget.BEFORE + 4 * _budget.CONVOLVED
