"""Adjoints of the optimisers' steps against autograd of the same step, written as a function; schedules against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from influence.optim import optimizer, step_sizes
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
    if recipe.optimizer == "sgd":
        velocity = recipe.momentum * state["velocity"] + g + d * theta
        return {"theta": theta - lr * velocity, "velocity": velocity}
    mean = recipe.beta1 * state["mean"] + (1 - recipe.beta1) * g
    square = recipe.beta2 * state["square"] + (1 - recipe.beta2) * g**2
    mean_hat, square_hat = mean / (1 - recipe.beta1 ** (t + 1)), square / (1 - recipe.beta2 ** (t + 1))
    moved = theta - lr * d * theta - lr * mean_hat / (torch.sqrt(square_hat + recipe.eps_root) + recipe.eps)
    return {"theta": moved, "mean": mean, "square": square}


recipes = st.builds(
    Recipe,
    optimizer=st.sampled_from(["sgd", "adamw"]),
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
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
        mu = rule.to_gradient(mine, {name: state[name] for name in rule.recorded}, g, lr, t)
        theta = rule.to_theta(mine["theta"], mu, torch.zeros(1, P, dtype=torch.float64), lr)
        found = {"g": mu, "theta": theta} | {name: mine[name] for name in rule.slots}
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


def test_the_hessians_product_is_added():
    for kind in ("sgd", "adamw"):
        rule = optimizer(Recipe(optimizer=kind))
        at, _, h = drawn(1, q=1)
        zero = torch.zeros(1, P, dtype=torch.float64)
        torch.testing.assert_close(rule.to_theta(at["theta"], zero, h[None], 0.1) - rule.to_theta(at["theta"], zero, zero, 0.1), h[None])


def test_a_gradient_of_zero_at_the_start_has_a_finite_adjoint():
    rule = optimizer(Recipe(optimizer="adamw", eps_root=0.0))
    at, _, _ = drawn(1)
    zero = torch.zeros(P, dtype=torch.float64)
    mu = rule.to_gradient({name: at[name] for name in ("theta", "mean", "square")}, {"mean": zero, "square": zero}, zero, 0.1, 0)
    assert torch.isfinite(mu).all()


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_schedules(steps):
    made = {name: step_sizes(Recipe(lr=0.5, schedule=name), steps) for name in ("constant", "linear", "cosine")}
    assert made["constant"] == [0.5] * steps
    assert made["linear"] == pytest.approx([0.5 * (1 - t / steps) for t in range(steps)])
    assert made["cosine"] == pytest.approx([0.25 * (1 + math.cos(math.pi * t / steps)) for t in range(steps)])
    assert all(size > 0 for sizes in made.values() for size in sizes)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_warm_up_rises_to_the_schedule(schedule):
    cold, warm = (step_sizes(Recipe(lr=0.5, schedule=schedule, warmup=share), 20) for share in (0.0, 0.25))
    assert warm[5:] == cold[5:]
    assert [w / c for w, c in zip(warm[:5], cold[:5], strict=True)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
