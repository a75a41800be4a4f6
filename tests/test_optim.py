"""Adjoints of the optimisers' steps against autograd of the same step, written as a function; schedules against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from influence.errors import BadInput
from influence.optim import clip, clip_adjoint, optimizer, step_sizes
from influence.types import Recipe

P = 7


def drawn(seed: int, q: int = 2) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], torch.Tensor]:
    """Adjoints after a step, the state before it and the batch gradient."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    at = {name: normal(q, P) for name in ("theta", "velocity", "mean", "square")}
    state = {"theta": normal(P), "velocity": normal(P), "mean": normal(P), "square": normal(P).square() + 0.01}
    return at, state, normal(P)


def functional(recipe: Recipe, state: dict[str, torch.Tensor], g: torch.Tensor, lr: float, t: int) -> dict[str, torch.Tensor]:
    """One step as a differentiable function, from the formulas in the papers."""
    theta, d = state["theta"], recipe.weight_decay
    if recipe.max_norm:
        g = g * torch.clamp(recipe.max_norm / (g.norm() + 1e-6), max=1.0)
    if recipe.optimizer != "adamw":
        g = g + d * theta
    if recipe.optimizer == "sgd":
        velocity = recipe.momentum * state["velocity"] + g
        moved = g + recipe.momentum * velocity if recipe.nesterov else velocity
        return {"theta": theta - lr * moved, "velocity": velocity}
    mean = recipe.beta1 * state["mean"] + (1 - recipe.beta1) * g
    square = recipe.beta2 * state["square"] + (1 - recipe.beta2) * g**2
    mean_hat, square_hat = mean / (1 - recipe.beta1 ** (t + 1)), square / (1 - recipe.beta2 ** (t + 1))
    kept = theta - lr * d * theta if recipe.optimizer == "adamw" else theta
    moved = kept - lr * mean_hat / (torch.sqrt(square_hat + recipe.eps_root) + recipe.eps)
    return {"theta": moved, "mean": mean, "square": square}


recipes = st.builds(
    Recipe,
    optimizer=st.sampled_from(["sgd", "adam", "adamw"]),
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    nesterov=st.booleans(),
    max_norm=st.sampled_from([0.0, 0.5, 2.0, 100.0]),
    weight_decay=st.sampled_from([0.0, 0.01, 0.7]),
    beta1=st.sampled_from([0.0, 0.9]),
    beta2=st.sampled_from([0.0, 0.5, 0.999]),
    eps=st.sampled_from([0.0, 1e-8, 0.1]),
    eps_root=st.sampled_from([0.0, 1e-8, 0.1]),
)


@settings(max_examples=60, deadline=None)
@given(recipes, st.floats(1e-4, 2.0), st.integers(0, 50), st.integers(0, 10**6))
def test_adjoint_is_that_of_autograd(recipe, lr, t, seed):
    rule = optimizer(recipe)
    at, state, g = drawn(seed)
    names = ("theta", *rule.slots)
    leaves = {name: state[name].clone().requires_grad_() for name in names} | {"g": g.clone().requires_grad_()}
    after = functional(recipe, leaves, leaves["g"], lr, t)
    for q in range(2):
        total = sum((at[name][q] * after[name]).sum() for name in names)
        truth = dict(zip(leaves, torch.autograd.grad(total, leaves.values(), retain_graph=True), strict=True))
        mine = {name: at[name][q : q + 1].clone() for name in names}
        mu = rule.back(mine, {name: state[name] for name in ("theta", *rule.recorded)}, g, lr, t)
        found = {"g": mu, "theta": mine["theta"]} | {name: mine[name] for name in rule.slots}
        for name in leaves:
            torch.testing.assert_close(found[name][0], truth[name], rtol=1e-9, atol=1e-12, msg=lambda m, name=name: f"{name}: {m}")


@settings(max_examples=40, deadline=None)
@given(recipes, st.floats(1e-4, 2.0), st.integers(0, 50), st.integers(0, 10**6))
def test_step_is_the_function(recipe, lr, t, seed):
    rule = optimizer(recipe)
    _, state, g = drawn(seed)
    expected = functional(recipe, state, g, lr, t)
    theta, slots = state["theta"].clone(), {name: state[name].clone() for name in rule.slots}
    rule.step(theta, slots, g, lr, t)
    for name, value in {"theta": theta, **slots}.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-14)


def test_what_is_no_matrix_does_not_decay():
    params = [torch.zeros(2, 2), torch.zeros(3)]
    rule = optimizer(Recipe(optimizer="adamw", weight_decay=0.5, decayed="matrices"), [p.double() for p in params])
    at, state, g = drawn(4)
    decayed = torch.tensor([1.0] * 4 + [0.0] * 3, dtype=torch.float64)
    theta, slots = state["theta"].clone(), {name: state[name].clone() for name in rule.slots}
    rule.step(theta, slots, torch.zeros_like(g), 0.1, 3)
    plain = functional(Recipe(optimizer="adamw", weight_decay=0.0), state, torch.zeros_like(g), 0.1, 3)
    torch.testing.assert_close(theta, plain["theta"] - 0.1 * 0.5 * decayed * state["theta"], rtol=1e-12, atol=1e-14)
    mine = {name: at[name].clone() for name in ("theta", *rule.slots)}
    rule.back(mine, {name: state[name] for name in ("theta", *rule.recorded)}, g, 0.1, 3)
    torch.testing.assert_close(mine["theta"], at["theta"] * (1 - 0.1 * 0.5 * decayed))
    with pytest.raises(BadInput, match="is for adamw; sgd decays all"):
        optimizer(Recipe(decayed="matrices"), params)


def test_a_gradient_of_zero_at_the_start_has_a_finite_adjoint():
    rule = optimizer(Recipe(optimizer="adamw", eps_root=0.0))
    at, _, _ = drawn(1)
    zero = torch.zeros(P, dtype=torch.float64)
    state = {"theta": zero, "mean": zero, "square": zero}
    mu = rule.back({name: at[name] for name in ("theta", "mean", "square")}, state, zero, 0.1, 0)
    assert torch.isfinite(mu).all()


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_schedules(steps):
    made = {name: step_sizes(Recipe(lr=0.5, schedule=name), steps) for name in ("constant", "linear", "cosine")}
    assert made["constant"] == [0.5] * steps
    assert made["linear"] == pytest.approx([0.5 * (1 - t / steps) for t in range(steps)])
    assert made["cosine"] == pytest.approx([0.25 * (1 + math.cos(math.pi * t / steps)) for t in range(steps)])
    assert all(size > 0 for sizes in made.values() for size in sizes)


SCHEDULERS = {
    "constant": lambda rule, steps: lr_scheduler.ConstantLR(rule, 1.0),
    "linear": lambda rule, steps: lr_scheduler.LinearLR(rule, 1.0, 0.0, steps),
    "cosine": lambda rule, steps: lr_scheduler.CosineAnnealingLR(rule, steps),
    "polynomial": lambda rule, steps: lr_scheduler.PolynomialLR(rule, steps, 1.5),
    "one_cycle": lambda rule, steps: lr_scheduler.OneCycleLR(rule, 0.5, steps, pct_start=0.4, cycle_momentum=False),
    "step": lambda rule, steps: lr_scheduler.StepLR(rule, 3 * steps // 8, 0.3),
    "exponential": lambda rule, steps: lr_scheduler.StepLR(rule, steps // 8, 0.3),  # ExponentialLR, stepped once per epoch
}


@pytest.mark.parametrize("steps", [8, 40, 104])
@pytest.mark.parametrize("schedule", SCHEDULERS)
def test_schedules_are_those_of_torch(schedule, steps):
    how = Recipe(lr=0.5, schedule=schedule, epochs=8, power=1.5, pct_start=0.4, gamma=0.3, step_size=3)
    rule = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.5)
    scheduler, truth = SCHEDULERS[schedule](rule, steps), []
    for _ in range(steps):
        truth.append(rule.param_groups[0]["lr"])
        rule.step()
        scheduler.step() if len(truth) < steps else None
    assert step_sizes(how, steps) == pytest.approx(truth, rel=1e-9)


def test_exponential_is_that_of_torch_stepped_once_per_epoch():
    rule = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.5)
    scheduler, truth = lr_scheduler.ExponentialLR(rule, 0.3), []
    for _ in range(4):
        truth += rule.param_groups[0]["lr"], rule.param_groups[0]["lr"]
        rule.step()
        scheduler.step()
    assert step_sizes(Recipe(lr=0.5, schedule="exponential", gamma=0.3, epochs=4), 8) == pytest.approx(truth)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_one_cycle_of_a_few_steps(steps):
    sizes = step_sizes(Recipe(lr=0.5, schedule="one_cycle", epochs=1), steps)
    assert all(0 < size <= 0.5 for size in sizes)


@pytest.mark.parametrize("most", [0.5, 3.0, 100.0])
def test_clipping_is_that_of_torch(most):
    g = drawn(3)[2]
    held = torch.nn.Parameter(torch.zeros(P, dtype=torch.float64))
    held.grad = g.clone()
    torch.nn.utils.clip_grad_norm_([held], most)
    torch.testing.assert_close(clip(g, most), held.grad)
    torch.testing.assert_close(clip(torch.stack([g, 2 * g]), most)[0], held.grad)
    assert torch.equal(clip(g, 0.0), g)


def test_a_gradient_of_zero_is_clipped_to_zero():
    zero, mu = torch.zeros(P, dtype=torch.float64), drawn(3)[0]["theta"]
    assert torch.equal(clip(zero, 0.1), zero)
    assert torch.equal(clip_adjoint(mu, zero, 0.1), mu)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_warm_up_rises_to_the_schedule(schedule):
    cold, warm = (step_sizes(Recipe(lr=0.5, schedule=schedule, warmup=share), 20) for share in (0.0, 0.25))
    assert warm[5:] == cold[5:]
    assert [w / c for w, c in zip(warm[:5], cold[:5], strict=True)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
