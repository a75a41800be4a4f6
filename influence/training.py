"""Deterministic training: a pure function of (model, examples, recipe, weights), and many retrainings at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.conv import _ConvNd

from influence.digest import digest
from influence.errors import BadInput
from influence.loop import Batches, Bound, Loop, batches, begun, cat, generator, own_draws, step_seeds, tensors, threads
from influence.losses import per_example
from influence.optim import optimizer
from influence.shards import stages
from influence.types import Architecture, Checkpoint, Event, Examples, Recipe, Report, State, Trained, Trajectory, ignore


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
    if recipe.sharded:
        with threads(recipe.threads):
            made = stages.train(model, examples, recipe, weights, removed, None, monitor, report)
        return Trained(model, tuple(checkpoint(*stage) for stage in made), recipe, "trained", None, tuple(removed))
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
                rows[t] = (loop.bound.flat if name == "theta" else loop.slots[name]).cpu().numpy()
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
    return {name: np.empty(shape, dtype=loop.recipe.dtype) for name in names}


def load(trained: Trained, checkpoint: Checkpoint | None = None, on: torch.device | None = None) -> Bound:
    """Return the trained module at a checkpoint (default: the last), in evaluation mode, on a device (default: where models live)."""
    bound = Bound(trained.model, dtype=trained.recipe.dtype if trained.recipe else "float32", on=on)
    bound.load((checkpoint or trained.final).load())
    bound.module.eval()
    return bound


TOGETHER, NUMBERS = 16, 2**24


def together(parameters: int) -> int:
    """Return how many models of so many parameters are trained side by side at a time; a cancel loses no more than these."""
    return max(1, min(TOGETHER, NUMBERS // parameters))


def train_many(
    model: Architecture,
    examples: Examples,
    recipe: Recipe,
    weights: np.ndarray,
    seeds: Sequence[int] | None = None,
    removed: Sequence[Any] = (),
    report: Report = ignore,
) -> torch.Tensor:
    """Train R models and return what they hold at the end, (R, P); for models with floating-point buffers these follow, (R, P + buffers).

    `weights`: (R, N). `seeds`: R seeds for initial weights (those of a training outside Lethe stay), order and draws (truth *fresh*), or
    None: the recipe's for all (truth *same*).
    Side by side, the same arithmetic as `train` up to the order of floating-point sums (batched matrix products); one after another where
    PyTorch cannot put a model side by side (batch statistics, LSTM), would draw other masks for it than for a single training, or takes
    longer so (convolutions on a CPU: twice as long).

    Raises:
        BadInput: a training diverged.
    """
    with threads(recipe.threads):
        own = [recipe if seed is None else replace(recipe, seed=seed) for seed in (seeds if seeds is not None else [None] * len(weights))]
        last = None if recipe.sharded else Loop.of(model, examples, own[-1], weights[-1], removed)
        alone = last is None or last.norms or _quicker_alone(last.bound, len(own))
        beside = None if alone else _SideBySide.of(model, examples, recipe, weights, seeds, removed)
        if last is not None and beside is not None and beside.agrees(last):
            states = beside.run(report)
        else:
            states = (_one_by_one if last else stages.vectors)(model, examples, own, weights, removed, report)
    if not torch.isfinite(states).all():
        raise BadInput(f"A retraining diverged at step size {recipe.lr}. Lower lr.")
    return states.cpu()


def _quicker_alone(bound: Bound, models: int) -> bool:
    """Whether models train quicker one after another: a CPU's convolutions have no batched form, one for each model."""
    convolves = any(isinstance(layer, _ConvNd) for layer in bound.module.modules())
    return models == 1 or (convolves and bound.device.type == "cpu")


def _one_by_one(
    model: Architecture, examples: Examples, recipes: Sequence[Recipe], weights: np.ndarray, removed: Sequence[Any], report: Report
) -> torch.Tensor:
    """Train one after another and return the vectors, (R, P + buffers)."""
    ends, r = [], len(recipes)
    for k, (recipe, w) in enumerate(zip(recipes, weights, strict=True)):
        loop = Loop.of(model, examples, recipe, w, removed)
        steps = len(loop.batches)

        def before(t: int, k: int = k, steps: int = steps) -> None:
            if t % 64 == 0:
                report(Event("retrain", (k * steps + t) // r, steps, note=f"model {k + 1} of {r}"))

        loop.bound.module.train()
        loop.run(0, steps, before)
        ends.append(loop.bound.vector())
    return torch.stack(ends)


@dataclass
class _SideBySide:
    """R trainings in motion, one batched operation for all; `plans` is one for all (truth same) or R of them."""

    bound: Bound
    recipe: Recipe
    x: Any
    y: torch.Tensor
    weights: torch.Tensor
    seeds: list[int]
    plans: list[Batches]
    theta: torch.Tensor

    @classmethod
    def of(
        cls,
        model: Architecture,
        examples: Examples,
        recipe: Recipe,
        weights: np.ndarray,
        seeds: Sequence[int] | None,
        removed: Sequence[Any],
    ) -> _SideBySide:
        """Set up all trainings from their beginning."""
        own = list(seeds) if seeds is not None else [recipe.seed]
        starts = [begun(model, replace(recipe, seed=seed)) for seed in own]
        starts[0].module.train()
        theta = torch.stack([start.flat for start in starts]).expand(len(weights), -1).clone()
        plans = [batches(recipe, examples, removed, seed) for seed in own]
        w = torch.as_tensor(np.array(weights), dtype=theta.dtype)
        return cls(starts[0], recipe, *tensors(examples, recipe.dtype), w, own, plans, theta)

    @property
    def shared(self) -> bool:
        """Whether all models see the same batches."""
        return len(self.plans) == 1

    def agrees(self, last: Loop) -> bool:
        """Whether the first step gives the last model the gradient that it has by itself, and leaves buffers as they are."""
        before = last.bound.vector()[len(last.bound.flat) :]
        last.bound.module.train()
        with own_draws(last.bound.device):
            alone = last.gradient(0)
            try:
                beside = self.gradient(0)[-1]
            except RuntimeError:  # vmap has no rule for some operation, or meets one in place
                return False
        still = torch.equal(before, last.bound.vector()[len(last.bound.flat) :])
        return still and bool((beside - alone).norm() <= 1e-3 * alone.norm())

    def gradient(self, t: int) -> torch.Tensor:
        """Return the gradient of each model's batch loss at step t, (R, P)."""
        places = self.plans[0].places[t] if self.shared else torch.stack([plan.places[t] for plan in self.plans])
        at = self.weights[:, places] if self.shared else self.weights.gather(1, places)
        if self.plans[0].present is not None:
            at = at * torch.stack([plan.present[t] for plan in self.plans if plan.present is not None])
        device = self.bound.device

        def losses(params: dict[str, torch.Tensor], x: Any, y: torch.Tensor) -> torch.Tensor:
            return per_example(self.recipe.loss, functional_call(self.bound.module, params, (x,)), y)

        leaves = [view.detach().requires_grad_() for view in self.bound.views(self.theta)]
        generator(device).manual_seed(step_seeds(self.seeds[0], len(self.plans[0]))[t])
        inner = torch.vmap(losses, in_dims=(0, None, None) if self.shared else (0, 0, 0), randomness="same")
        x = self.plans[0].rows(t, self.x, places, device)
        with sdpa_kernel(SDPBackend.MATH):  # the only one that vmap has a rule for
            out = inner(dict(zip(self.bound.names, leaves, strict=True)), x, self.y[places].to(device))
        return cat(torch.autograd.grad((out * at.to(device)).sum() / out.shape[1], leaves), 1)

    def run(self, report: Report) -> torch.Tensor:
        """Take all steps and return the vectors, (R, P + buffers)."""
        rule = optimizer(self.recipe, self.bound.params)
        slots = {name: torch.zeros_like(self.theta) for name in rule.slots}
        steps, r = len(self.plans[0]), len(self.theta)
        every = max(1, steps // 100)
        with own_draws(self.bound.device):
            for t, lr in enumerate(self.plans[0].lr):
                g = self.gradient(t)
                with torch.no_grad():
                    rule.step(self.theta, slots, g, lr, t)
                if t % every == 0:
                    report(Event("retrain", t, steps, note=f"{r} models side by side"))
        fixed = self.bound.vector()[len(self.bound.flat) :]
        return torch.cat([self.theta, fixed.expand(r, -1)], dim=1)


def bound_at(trained_model: Architecture, recipe: Recipe, theta: torch.Tensor) -> Bound:
    """Return a module holding one of the vectors of `train_many`."""
    bound = Bound(trained_model, dtype=recipe.dtype).put(theta)
    bound.module.eval()
    return bound
