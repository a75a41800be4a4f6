"""Stage after stage of a sharded training, from the beginning or from where it first saw some rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from influence.errors import BadInput
from influence.loop import Bound, Loop, begun
from influence.models.ensemble import Ensemble
from influence.optim import step_sizes
from influence.shards.layout import Layout
from influence.types import Architecture, Checkpoint, Event, Examples, Recipe, Report, State, ignore

Stage = tuple[State, int, float]
"""The weights of all members after the same slice, the steps taken until then, and the mean step size on the last slice."""


class Since(NamedTuple):
    """A sharded training that is to be made again from where it first saw some rows: what was kept after each slice, and those rows."""

    checkpoints: Sequence[Checkpoint]
    ids: Sequence[Any]


def train(
    model: Architecture,
    examples: Examples,
    recipe: Recipe,
    weights: np.ndarray | None = None,
    removed: Sequence[Any] = (),
    since: Since | None = None,
    monitor: Callable[[Bound], dict[str, float]] | None = None,
    report: Report = ignore,
) -> list[Stage]:
    """Train in shards and slices and return what is kept after each slice, the whole model last.

    `weights`, `removed`, `monitor`: as in `influence.training.train`. `since`: only stages that saw its ids are taken again; the rest is
    as it was, bit-equal to training all from the beginning.

    Raises:
        BadInput: a shard has too few rows, training diverged, or the model is no ensemble of as many members as there are shards.
    """
    if not isinstance(model, Ensemble) or model.members != recipe.shards:
        raise BadInput(f"Training in {recipe.shards} shards makes an ensemble of {recipe.shards} members. Make it with Ensemble.of.")
    layout = Layout.of(recipe, examples.ids, removed)
    there = ~layout.gone
    if weights is not None:
        there[: len(examples)] &= np.asarray(weights) != 0
    layout.refuse(there)
    work = _Work.of(model, examples, weights, layout, there, since, monitor, report)
    for k, first in enumerate(work.first):
        for r in range(first, recipe.slices):
            work.stage(k, r)
    if monitor or since:
        report(Event("train", work.total, max(1, work.total), metrics=monitor(work.whole) if monitor else {}))
    return [(joined(states), *_taken(layout, r)) for r, states in enumerate(work.states)]


def vectors(
    model: Architecture, examples: Examples, recipes: Sequence[Recipe], weights: np.ndarray, removed: Sequence[Any], report: Report
) -> torch.Tensor:
    """Train R models one after another and return what they hold at the end, (R, P + buffers); `weights`: (R, N)."""
    ends, r = [], len(recipes)
    for k, (recipe, w) in enumerate(zip(recipes, weights, strict=True)):

        def told(event: Event, k: int = k) -> None:
            report(Event("retrain", (k * event.total + event.done) // r, event.total, note=f"model {k + 1} of {r}"))

        state = train(model, examples, recipe, w, removed, report=told)[-1][0]
        ends.append(Bound(model, dtype=recipe.dtype).load(state).vector())
    return torch.stack(ends)


def _taken(layout: Layout, r: int) -> tuple[int, float]:
    """Return how many steps were taken when slice r was through, and the mean step size on it."""
    sizes = [size for k in range(layout.recipe.shards) for size in step_sizes(layout.stage(k, r), int(layout.steps[k, r]))]
    return int(layout.steps[:, : r + 1].sum()), sum(sizes) / len(sizes)


def joined(states: Sequence[State]) -> State:
    """Return the state of an ensemble from its members'."""
    return {f"members.{k}.{name}": value for k, state in enumerate(states) for name, value in state.items()}


def member(state: State, k: int) -> State:
    """Return one member's state from an ensemble's."""
    lead = f"members.{k}."
    return {name.removeprefix(lead): value for name, value in state.items() if name.startswith(lead)}


@dataclass
class _Work:
    """Stages in the making; `states[r][k]`: member k after slice r; `whole`: the ensemble as it stands, for the eye."""

    one: Architecture
    examples: Examples
    weights: np.ndarray | None
    layout: Layout
    there: np.ndarray
    first: np.ndarray
    states: list[list[State]]
    whole: Bound
    monitor: Callable[[Bound], dict[str, float]] | None
    report: Report
    done: int = 0
    total: int = field(init=False)

    def __post_init__(self) -> None:
        steps, recipe = self.layout.steps, self.layout.recipe
        self.total = int(sum(steps[k, r] for k in range(recipe.shards) for r in range(self.first[k], recipe.slices)))

    @classmethod
    def of(
        cls,
        model: Ensemble,
        examples: Examples,
        weights: np.ndarray | None,
        layout: Layout,
        there: np.ndarray,
        since: Since | None,
        monitor: Callable[[Bound], dict[str, float]] | None,
        report: Report,
    ) -> _Work:
        """Set up what is to be done, from what is kept."""
        recipe = layout.recipe
        first = np.zeros(recipe.shards, dtype=np.int64) if since is None else layout.first(since.ids)
        kept = [] if since is None else [checkpoint.load() for checkpoint in since.checkpoints]
        states = [[member(kept[r], k) if r < first[k] else {} for k in range(recipe.shards)] for r in range(recipe.slices)]
        whole = Bound(model, dtype=recipe.dtype)
        whole.module.eval()
        if kept:
            whole.load(kept[-1])
        return cls(model.one, examples, weights, layout, there, first, states, whole, monitor, report)

    def stage(self, k: int, r: int) -> None:
        """Train member k on its slices up to r, from where it stood before.

        Raises:
            BadInput: training diverged.
        """
        inside, recipe, n = self.layout.inside(k, r), self.layout.stage(k, r), len(self.examples)
        before = self.states[r - 1][k] if r else begun(self.one, recipe).state()
        steps = int(self.layout.steps[k, r])
        if not (inside & self.there).any():  # nobody is left to train on: nothing is learnt
            self.states[r][k] = before
        else:
            rows, gone = self.examples.take(inside[:n]), self.layout.roll[inside & self.layout.gone]
            loop = Loop.of(self.one, rows, recipe, None if self.weights is None else self.weights[inside[:n]], gone)
            loop.bound.load(before).module.train()
            loop.run(0, steps, lambda t: self._shown(loop, k, r, t))
            if not torch.isfinite(loop.bound.flat).all():
                raise BadInput(f"Training diverged: the weights of shard {k + 1} are not finite at step size {recipe.lr}. Lower lr.")
            self.states[r][k] = loop.bound.state()
        self.done += steps
        self._member(k).load_state_dict(self.states[r][k])

    def _member(self, k: int) -> torch.nn.Module:
        return self.whole.module.get_submodule(f"members.{k}")

    def _shown(self, loop: Loop, k: int, r: int, t: int) -> None:
        """Say how far training is, and about twenty times how the whole model does with the member as it stands."""
        done, recipe = self.done + t, self.layout.recipe
        look = done % max(1, self.total // 20) == 0
        if look or t % 64 == 0:
            note = f"Shard {k + 1} of {recipe.shards}, slice {r + 1} of {recipe.slices}"
            if look and self.monitor:
                self._member(k).load_state_dict(loop.bound.module.state_dict())
            self.report(Event("train", done, self.total, note, self.monitor(self.whole) if look and self.monitor else {}))
