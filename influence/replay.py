"""The metagradient: dF/dw_i of every training example, by walking the recorded training backwards.

Reverse-mode differentiation through all T steps (Maclaurin et al., arXiv:1502.03492; MAGIC: Ilyas and Engstrom, arXiv:2504.16430). At
each step one forward pass, one backward pass with its graph and one double-backward give <d g/d w_i, mu> and H mu; the optimiser's own
adjoint is written by hand (`optim.py`). States before each step come from the recorded trajectory or are recomputed: whole if it fits the
memory budget, otherwise from about sqrt(T) snapshots, one segment at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import torch
from torch import nn

from influence.errors import BadInput
from influence.grads import query_gradient
from influence.loop import Loop, cat, threads
from influence.optim import Slots
from influence.types import Event, Examples, Question, Report, Trained, ignore

States = Mapping[str, np.ndarray]


def walk(
    trained: Trained, examples: Examples, question: Question, memory: float = 2048, recompute: bool = False, report: Report = ignore
) -> tuple[np.ndarray, bool]:
    """Return dF/dw, (N, Q), and whether the training had to be replayed.

    w_i multiplies example i's loss in every batch; removing it predicts a change of -dF/dw_i, exact to first order. `memory`: MiB for
    states that have to be recomputed. `recompute`: do not use the recorded trajectory.

    Raises:
        BadInput: there is no recipe, or the replayed training does not end at the model's weights.
    """
    if trained.recipe is None:
        raise BadInput(
            "The metagradient walks back through training and needs its recipe; this model has none. Choose tracin, or train it here."
        )
    with threads(trained.recipe.threads):
        loop = Loop.of(trained.model, examples, trained.recipe, None, trained.removed)
        recorded = None if recompute or trained.trajectory is None else trained.trajectory.load()
        segments = _recorded(loop, recorded) if recorded is not None else _recomputed(loop, trained, memory, report)
        return _backwards(loop, trained, question, segments, report), recorded is None


def _backwards(loop: Loop, trained: Trained, question: Question, segments: Iterator[tuple[int, States]], report: Report) -> np.ndarray:
    end = trained.final.load()
    first = next(segments)  # a replay runs here, before the final weights are loaded
    _, gradient = query_gradient(loop.bound.load(end), question)
    loop.bound.module.train()
    at: Slots = {"theta": gradient, **{name: torch.zeros_like(gradient) for name in loop.rule.slots}}
    total = torch.zeros(len(question.labels), len(examples_of(loop)), dtype=gradient.dtype)
    every = max(1, len(loop.batches) // 100)
    for start, states in _chain(first, segments):
        for t in reversed(range(start, start + len(states["theta"]))):
            _step_back(loop, t, {name: torch.from_numpy(np.array(rows[t - start])) for name, rows in states.items()}, at, total)
            if t % every == 0:
                report(Event("walk", len(loop.batches) - t, len(loop.batches)))
    return total.T.contiguous().numpy()


def examples_of(loop: Loop) -> torch.Tensor:
    """Return the labels of the loop's examples: one place per example."""
    return loop.y


def _chain(first: tuple[int, States], rest: Iterator[tuple[int, States]]) -> Iterator[tuple[int, States]]:
    yield first
    yield from rest


def _step_back(loop: Loop, t: int, state: Slots, at: Slots, total: torch.Tensor) -> None:
    """Carry the adjoints over step t and add its part of dF/dw."""
    loop.bound.flat.copy_(state["theta"])
    losses, fixed = loop.losses(t), loop.weights_at(t)
    w = torch.ones_like(losses, requires_grad=True)
    loss = (losses * w if fixed is None else losses * w * fixed).sum() / len(losses)
    grads = torch.autograd.grad(loss, loop.bound.params, create_graph=True)
    with torch.no_grad():
        g = cat(grads)
        mu = loop.rule.to_gradient(at, state, g, loop.batches.lr[t], t)
    h, by_weight = _second(loop, list(grads), w, mu)
    with torch.no_grad():
        at["theta"] = loop.rule.to_theta(at["theta"], mu, h, loop.batches.lr[t])
        total.index_add_(1, loop.batches.places[t], by_weight)


def _second(loop: Loop, grads: list[torch.Tensor], w: torch.Tensor, mu: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return H mu (Q, P) and d<g, mu>/dw (Q, |B|)."""
    wanted = [*loop.bound.params, w]
    if len(mu) > 1 and _only_linear(loop.bound.module):
        *by_theta, by_w = torch.autograd.grad(grads, wanted, loop.bound.views(mu), is_grads_batched=True, materialize_grads=True)
        return cat(by_theta, 1), by_w
    parts = []
    for q, row in enumerate(mu):
        parts.append(torch.autograd.grad(grads, wanted, loop.bound.views(row), retain_graph=q + 1 < len(mu), materialize_grads=True))
    return torch.stack([cat(by_theta) for *by_theta, _ in parts]), torch.stack([by_w for *_, by_w in parts])


def _only_linear(module: nn.Module) -> bool:
    """Whether all questions can share one double-backward: PyTorch batches that of other layers wrongly or not at all."""
    return all(type(layer) is nn.Linear for layer in module.modules() if any(True for _ in layer.parameters(recurse=False)))


def _recorded(loop: Loop, states: States) -> Iterator[tuple[int, States]]:
    if states["theta"].shape != (len(loop.batches), len(loop.bound.flat)):
        raise BadInput(
            f"The recorded trajectory has shape {states['theta'].shape}; this model and these examples need "
            f"({len(loop.batches)}, {len(loop.bound.flat)}). Train again, or replay."
        )
    yield 0, states


def _recomputed(loop: Loop, trained: Trained, memory: float, report: Report) -> Iterator[tuple[int, States]]:
    """Yield the states segment by segment from the last, rerunning the training from snapshots."""
    steps, names = len(loop.batches), ("theta", *loop.rule.recorded)
    row = loop.bound.flat.numel() * loop.bound.flat.element_size()
    fits = int(memory * 2**20 / (row * len(names)))
    length = steps if fits >= steps else math.isqrt(steps) + 1  # a shorter segment would need more snapshots than it saves
    snapshots: dict[int, Slots] = {}
    states: dict[str, np.ndarray] = {}

    def keep(t: int) -> None:
        if t % length == 0:
            snapshots[t] = {"theta": loop.bound.flat.clone(), **{name: slot.clone() for name, slot in loop.slots.items()}}
        if t >= steps - length:
            _write(loop, states, names, steps - length, length, t)
        if t % 32 == 0:
            report(Event("replay", t, steps))

    loop.bound.module.train()
    loop.run(0, steps, keep)
    _same_end(loop, trained)
    yield steps - length, states
    end = steps - length
    while end > 0:
        start = max(s for s in snapshots if s < end)
        states = {}
        loop.bound.flat.copy_(snapshots[start]["theta"])
        loop.slots = {name: slot.clone() for name, slot in snapshots[start].items() if name != "theta"}
        loop.run(start, end, partial(_write, loop, states, names, start, end - start))
        yield start, states
        end = start


def _write(loop: Loop, states: dict[str, np.ndarray], names: tuple[str, ...], start: int, length: int, t: int) -> None:
    """Write the state before step t into its place in the segment of `length` steps from `start`."""
    for name in names:
        value = loop.bound.flat if name == "theta" else loop.slots[name]
        if name not in states:
            states[name] = np.empty((length, len(value)), dtype=value.numpy().dtype)
        states[name][t - start] = value.numpy()


def _same_end(loop: Loop, trained: Trained) -> None:
    end = {name: value for name, value in trained.final.load().items() if name in loop.bound.names}
    wanted = cat([end[name] for name in loop.bound.names])
    off = float((loop.bound.flat - wanted).norm() / wanted.norm().clamp(min=1e-12))
    if off > 1e-3:
        raise BadInput(
            f"Replaying the recipe ends {off:.1%} away from this model's weights: other rows, another recipe or another machine made them. "
            "Train the model again here, or choose tracin."
        )
