"""The states of a training, from the last to the first: read from its record, or computed again within a memory budget.

If all states do not fit, the training is cut into about sqrt(T) pieces: one run keeps a snapshot before each piece, and each piece is run
again when the walk gets there. If that does not fit either, pieces are cut again, at the price of one more training per level
(Griewank and Walther, Evaluating Derivatives, 2008, chapter 12: multi-level checkpointing).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
import torch

from influence.errors import BadInput
from influence.loop import Loop, cat
from influence.optim import Slots
from influence.types import Event, Report, Trained

Segment = tuple[int, Mapping[str, np.ndarray]]
"""The step that a run of consecutive states starts at, and "theta" and the recorded slots before each of its steps, (steps, P) each."""


def recorded(loop: Loop, states: Mapping[str, np.ndarray], stop: int) -> Iterator[Segment]:
    """Yield the recorded states before steps 0 to stop - 1.

    Raises:
        BadInput: they are those of another training.
    """
    if states["theta"].shape != (len(loop.batches), len(loop.bound.flat)):
        raise BadInput(
            f"The recorded trajectory has shape {states['theta'].shape}; this model and these examples need "
            f"({len(loop.batches)}, {len(loop.bound.flat)}). Train again, or replay."
        )
    yield 0, {name: rows[:stop] for name, rows in states.items()}


def recomputed(loop: Loop, trained: Trained, stop: int, memory: float, report: Report) -> Iterator[Segment]:
    """Yield the states before steps 0 to stop - 1 from the last segment to the first, running `loop` again; `memory` in MiB.

    Raises:
        BadInput: the budget is too small, or the training does not end at the model's weights.
    """
    loop.bound.module.train()
    pieces, levels = plan(loop, stop, memory)
    segments = _Replay(loop, pieces, report).segments(0, stop, levels)
    first = next(segments)
    if stop == len(loop.batches):
        _same_end(loop, trained)
    yield first
    del first  # or it would stay while the next is computed
    yield from segments


def plan(loop: Loop, steps: int, memory: float) -> tuple[int, int]:
    """Return into how many pieces each level is cut, and how many levels of snapshots there are (0: all states are kept).

    Raises:
        BadInput: not even the most economical plan fits.
    """
    row = loop.bound.flat.numel() * loop.bound.flat.element_size()
    state, snapshot = row * (1 + len(loop.rule.recorded)), row * (1 + len(loop.rule.slots))
    need = 0.0
    for levels in range(max(1, math.ceil(math.log2(max(2, steps)))) + 1):
        pieces = math.ceil(steps ** (1 / (levels + 1)))
        leaf = math.ceil(steps / pieces**levels)
        need = (leaf * state + levels * (pieces - 1) * snapshot) / 2**20
        if need <= memory:
            return pieces, levels
    raise BadInput(
        f"Replaying this training needs at least {math.ceil(need):,} MiB for its states; {memory:g} were given. Raise INFLUENCE_MEMORY."
    )


class _Replay:
    """One training, run again piece by piece."""

    def __init__(self, loop: Loop, pieces: int, report: Report) -> None:
        self.loop, self.pieces, self.report = loop, pieces, report

    def segments(self, start: int, stop: int, levels: int) -> Iterator[Segment]:
        """Yield the states of steps start to stop - 1, the last segment first; the loop stands at `start`."""
        if not levels:
            yield start, self._record(start, stop)
            return
        cuts = [*range(start, stop, max(1, math.ceil((stop - start) / self.pieces))), stop]
        kept: list[tuple[Slots, list[torch.Tensor]]] = []
        for a, b in pairwise(cuts[:-1]):
            kept.append(self._snapshot())
            self.loop.run(a, b, self._told)
        yield from self.segments(cuts[-2], stop, levels - 1)
        for a, b in reversed(list(pairwise(cuts[:-1]))):
            self._restore(*kept.pop())
            yield from self.segments(a, b, levels - 1)

    def _told(self, t: int) -> None:
        if t % 32 == 0:
            self.report(Event("replay", t, len(self.loop.batches)))

    def _record(self, start: int, stop: int) -> dict[str, np.ndarray]:
        loop = self.loop
        shape = (stop - start, len(loop.bound.flat))
        states = {name: np.empty(shape, dtype=loop.recipe.dtype) for name in ("theta", *loop.rule.recorded)}

        def write(t: int) -> None:
            self._told(t)
            for name, rows in states.items():
                rows[t - start] = (loop.bound.flat if name == "theta" else loop.slots[name]).cpu().numpy()

        loop.run(start, stop, write)
        return states

    def _snapshot(self) -> tuple[Slots, list[torch.Tensor]]:
        slots = {"theta": self.loop.bound.flat, **self.loop.slots}
        return {name: slot.clone() for name, slot in slots.items()}, [value.clone() for value in self.loop.bound.module.buffers()]

    def _restore(self, slots: Slots, buffers: list[torch.Tensor]) -> None:
        self.loop.bound.flat.copy_(slots.pop("theta"))
        self.loop.slots = slots
        for value, kept in zip(self.loop.bound.module.buffers(), buffers, strict=True):
            value.copy_(kept)


def _same_end(loop: Loop, trained: Trained) -> None:
    end = {name: value for name, value in trained.final.load().items() if name in loop.bound.names}
    wanted = cat([end[name] for name in loop.bound.names])
    off = float((loop.bound.flat.cpu() - wanted).norm() / wanted.norm().clamp(min=1e-12))
    if off > 1e-3:
        raise BadInput(
            f"Replaying the recipe ends {off:.1%} away from this model's weights: other rows, another recipe or another machine made them. "
            "Train the model again here, or choose tracin."
        )
