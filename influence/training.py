"""Deterministic training: a pure function of (model, examples, recipe, weights), and many retrainings at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch.func import functional_call

from influence.digest import digest
from influence.errors import BadInput
from influence.loop import Bound, Loop, batches, cat, tensors, threads
from influence.losses import per_example
from influence.optim import optimizer
from influence.types import Architecture, Checkpoint, Event, Examples, Recipe, Report, State, Trained, Trajectory, ignore, tree_map


def checkpoint(state: State, step: int, lr: float) -> Checkpoint:
    """Return a handle to a state held in memory; its digest is that of the safetensors file that holds it."""
    kept = {name: value.detach().clone() for name, value in state.items()}
    return Checkpoint(hashlib.sha256(save(kept)).hexdigest(), step, lr, lambda: kept)


def train(
    model: Architecture,
    examples: Examples,
    recipe: Recipe,
    weights: np.ndarray | None = None,
    removed: Sequence[Any] = (),
    record: float = 0,
    monitor: Callable[[Bound], dict[str, float]] | None = None,
    report: Report = ignore,
) -> Trained:
    """Train by the recipe; bit-equal for equal inputs, threads, torch and CPU.

    `weights`: (N,), of each example's loss. `removed`: ids whose places in the order stay empty. `record`: MiB that the trajectory may take
    (0: none is kept; nor of a weighted training). `monitor` is asked for metrics about twenty times.

    Raises:
        BadInput: the loss diverged, or no rows are left.
    """
    with threads(recipe.threads):
        loop = Loop.of(model, examples, recipe, weights, removed)
        steps, kept = len(loop.batches), []
        ends = {max(1, round(steps * (k + 1) / recipe.checkpoints)) for k in range(recipe.checkpoints)}
        states = _room(loop, record) if weights is None else {}  # a walk knows the recipe and the removed ids, not other weights
        shown = max(1, steps // 20)
        since = 0

        def before(t: int) -> None:
            nonlocal since
            if t in ends:
                kept.append(checkpoint(loop.bound.state(), t, _mean_step(loop, since, t)))
                since = t
            for name, rows in states.items():
                rows[t] = (loop.bound.flat if name == "theta" else loop.slots[name]).numpy()
            if t % shown == 0 or t % 64 == 0:
                report(Event("train", t, steps, metrics=monitor(loop.bound) if monitor and t % shown == 0 else {}))
                loop.bound.module.train()  # a monitor may have set it to evaluate

        loop.bound.module.train()
        loop.run(0, steps, before)
        if not torch.isfinite(loop.bound.flat).all():
            raise BadInput(f"Training diverged: the weights are not finite after {steps} steps at step size {recipe.lr}. Lower lr.")
        kept.append(checkpoint(loop.bound.state(), steps, _mean_step(loop, since, steps)))
        report(Event("train", steps, steps, metrics=monitor(loop.bound) if monitor else {}))
    trajectory = Trajectory(digest(states), lambda: states) if states else None
    return Trained(model, tuple(kept), recipe, "trained", trajectory, tuple(removed))


def _mean_step(loop: Loop, start: int, stop: int) -> float:
    """Mean step size over the steps that led to a checkpoint: TracIn's eta stands for all of them (the last steps' own is near 0)."""
    part = loop.batches.lr[start:stop]
    return sum(part) / max(1, len(part))


def _room(loop: Loop, record: float) -> dict[str, np.ndarray]:
    """Return arrays (T, P) for the trajectory, or none if they would not fit."""
    names = ("theta", *loop.rule.recorded)
    shape = (len(loop.batches), len(loop.bound.flat))
    if len(names) * shape[0] * shape[1] * loop.bound.flat.element_size() > record * 2**20:
        return {}
    return {name: np.empty(shape, dtype=loop.bound.flat.numpy().dtype) for name in names}


def load(trained: Trained, checkpoint: Checkpoint | None = None) -> Bound:
    """Return the trained module at a checkpoint (default: the last), in evaluation mode."""
    bound = Bound(trained.model, dtype=trained.recipe.dtype if trained.recipe else "float32")
    bound.load((checkpoint or trained.final).load())
    bound.module.eval()
    return bound


def train_many(
    model: Architecture,
    examples: Examples,
    recipe: Recipe,
    weights: np.ndarray,
    seeds: Sequence[int] | None = None,
    removed: Sequence[Any] = (),
    report: Report = ignore,
) -> torch.Tensor:
    """Train R models side by side and return their final parameters, (R, P).

    `weights`: (R, N). `seeds`: R seeds for initial weights and order (truth *fresh*), or None: the recipe's for all (truth *same*).
    The same arithmetic as `train` up to the order of floating-point sums (batched matrix products).

    Raises:
        BadInput: a training diverged.
    """
    with threads(recipe.threads):
        starts = [Bound(model, seed, recipe.dtype) for seed in (seeds if seeds is not None else [recipe.seed])]
        bound, r = starts[0], len(weights)
        theta = torch.stack([start.flat for start in starts]).expand(r, -1).clone()
        x, y = tensors(examples, recipe.dtype)
        plans = [batches(recipe, examples, removed, seed) for seed in (seeds if seeds is not None else [recipe.seed])]
        w = torch.as_tensor(np.array(weights), dtype=theta.dtype)
        rule = optimizer(recipe)
        slots = {name: torch.zeros_like(theta) for name in rule.slots}
        gradient = _together(bound, recipe, x, y, shared=seeds is None)
        every = max(1, len(plans[0]) // 100)
        for t, lr in enumerate(plans[0].lr):
            places = plans[0].places[t] if seeds is None else torch.stack([plan.places[t] for plan in plans])
            at = w[:, places] if seeds is None else w.gather(1, places)
            if plans[0].present is not None:
                at = at * torch.stack([plan.present[t] for plan in plans if plan.present is not None])
            rule.step(theta, slots, gradient(theta, places, at), lr, t)
            if t % every == 0:
                report(Event("retrain", t, len(plans[0]), note=f"{r} models side by side"))
    if not torch.isfinite(theta).all():
        raise BadInput(f"A retraining diverged at step size {recipe.lr}. Lower lr.")
    return theta


def _together(bound: Bound, recipe: Recipe, x: Any, y: torch.Tensor, shared: bool) -> Callable[..., torch.Tensor]:
    """Return a function (theta (R, P), places, weights (R, B)) -> gradients (R, P)."""

    def losses(params: dict[str, torch.Tensor], at: Any, target: torch.Tensor) -> torch.Tensor:
        return per_example(recipe.loss, functional_call(bound.module, params, (at,)), target)

    inner = torch.vmap(losses, in_dims=(0, None, None) if shared else (0, 0, 0))

    def gradient(theta: torch.Tensor, places: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        leaves = [view.detach().requires_grad_() for view in bound.views(theta)]
        out = inner(dict(zip(bound.names, leaves, strict=True)), tree_map(lambda leaf: leaf[places], x), y[places])
        grads = torch.autograd.grad((out * weights).sum() / out.shape[1], leaves)
        return cat(grads, 1)

    return gradient


def bound_at(trained_model: Architecture, recipe: Recipe, theta: torch.Tensor) -> Bound:
    """Return a module holding one of `train_many`'s parameter vectors, (P,)."""
    bound = Bound(trained_model, dtype=recipe.dtype)
    bound.flat.copy_(theta)
    bound.module.eval()
    return bound
