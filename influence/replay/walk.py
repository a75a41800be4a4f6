"""The metagradient: dF/dw for every training example, by walking the recorded training backwards.

Reverse-mode differentiation through all T steps (Maclaurin et al., arXiv:1502.03492; MAGIC: Ilyas and Engstrom, arXiv:2504.16430). At
each step one forward pass, one backward pass with its graph and one double-backward give <d g/d w_i, mu> and H mu; the optimiser's own
adjoint is written by hand (`influence.optim`). Running statistics of batch normalisation are state too: their adjoints start from the
question in evaluation mode and come back through the statistics of every batch. States before each step are in `states.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from influence.errors import BadInput
from influence.grads import query_gradient
from influence.loop import Loop, own_draws, threads
from influence.optim import Slots
from influence.repeatable import no_recipe
from influence.replay.states import Segment, recomputed, recorded
from influence.replay.step import Step
from influence.types import Event, Examples, Question, Report, Trained, ignore
from influence.workspace import Workspace

VERSION = 2
SAVES = 16
"""How often a walk with a workspace writes down where it is."""


class Walked(NamedTuple):
    """What a walk found. `slope`: dF/dw, (N, Q). `replayed`: the training had to be computed again.

    `replaced`: with second versions, the predicted change of F if a row is replaced by its second version, (N, Q).
    """

    slope: np.ndarray
    replayed: bool
    replaced: np.ndarray | None = None


def walk(
    trained: Trained,
    examples: Examples,
    question: Question,
    memory: float = 2048,
    recompute: bool = False,
    report: Report = ignore,
    second: Examples | None = None,
    workspace: Workspace | None = None,
) -> Walked:
    """Return dF/dw, (N, Q), and whether the training had to be replayed.

    w_i multiplies example i's loss in every batch (and its share in batch statistics); removing it predicts a change of -dF/dw_i, exact to
    first order. `memory`: MiB for states that have to be recomputed. `recompute`: do not use the recorded trajectory. `second`: the same
    ids with other labels or cells; replacing row i predicts -dF/dw_i + dF/dw'_i, with w'_i the weight of its second version, now 0.
    `workspace`: where the walk writes down where it is; a walk that was stopped goes on from there, to the same bits.

    Raises:
        BadInput: there is no recipe, the replayed training does not end at the model's weights, or a layer cannot be walked through.
    """
    if trained.recipe is None:
        raise BadInput(no_recipe(trained, "The metagradient", "tracin"))
    if second is not None and not np.array_equal(second.ids, examples.ids):
        raise BadInput("The second versions must have the same ids in the same order as the training rows.")
    loop = Loop.of(trained.model, examples, trained.recipe, None, trained.removed)
    found: list[Walked] = []

    def make(folder: Path | None) -> None:
        with threads(loop.recipe.threads), own_draws(loop.bound.device), sdpa_kernel(SDPBackend.MATH):  # no other has a second derivative
            found.append(_Walk(loop, trained, examples, question, second, folder).run(memory, recompute, report))

    if workspace is None:
        make(None)
        return found[0]
    key = [VERSION, trained.digest, examples.digest, question.digest, second.digest if second is not None else None, str(loop.bound.device)]
    folder = workspace.kept("walk", key, make)
    return found[0] if found else _read(folder)


class _Walk:
    """A walk in motion: the adjoints `at` of the state before step `t`, and what has been gathered of dF/dw."""

    def __init__(
        self, loop: Loop, trained: Trained, examples: Examples, question: Question, second: Examples | None, folder: Path | None
    ) -> None:
        self.loop, self.trained, self.examples, self.folder = loop, trained, examples, folder
        self.step = Step(loop, second)
        self.t = len(loop.batches)
        loop.bound.load(trained.final.load())
        kept = None if folder is None else _kept(folder / "at.pt")
        self.at, self.total = kept or self._start(question)
        if kept:
            self.t = int(self.at.pop("t"))

    def _start(self, question: Question) -> tuple[Slots, Slots]:
        """Return the adjoints at the end of training and empty totals."""
        bound, n = self.loop.bound, len(self.examples)
        _, gradient = query_gradient(bound, question, wanted=self.step.state())
        parts = gradient.split([len(bound.flat), gradient.shape[1] - len(bound.flat)], dim=1)
        at = {"theta": parts[0], "statistics": parts[1], **{name: torch.zeros_like(parts[0]) for name in self.loop.rule.slots}}
        names = ("slope",) if self.step.second is None else ("slope", "second")
        return at, {name: torch.zeros(len(gradient), n, dtype=gradient.dtype) for name in names}

    def run(self, memory: float, recompute: bool, report: Report) -> Walked:
        """Walk to the beginning."""
        states = None if recompute or self.trained.trajectory is None else self.trained.trajectory.load()
        segments = recorded(self.loop, states, self.t) if states is not None else self._again(memory, report)
        every, write = max(1, len(self.loop.batches) // 100), max(1, len(self.loop.batches) // SAVES)
        for start, rows in segments:
            for t in reversed(range(start, start + len(rows["theta"]))):
                here = {name: torch.from_numpy(np.array(values[t - start])).to(self.loop.bound.device) for name, values in rows.items()}
                self.step(t, here, self.at, self.total)
                self.t = t
                if t % every == 0:
                    report(Event("walk", len(self.loop.batches) - t, len(self.loop.batches)))
                if self.folder is not None and t % write == 0 and t:
                    _write(self.folder / "at.pt", {**self.at, "t": torch.tensor(t)}, self.total)
            del rows  # or it would stay while the next segment is computed
        return self._result(states is None)

    def _again(self, memory: float, report: Report) -> Iterator[Segment]:
        """Yield the states by running the training again, in a module of its own."""
        replay = Loop.of(self.trained.model, self.examples, self.loop.recipe, None, self.trained.removed)
        replay.x, replay.y = self.loop.x, self.loop.y
        yield from recomputed(replay, self.trained, self.t, memory, report)

    def _result(self, replayed: bool) -> Walked:
        slope, *second = (total.T.contiguous().numpy() for total in self.total.values())
        found = Walked(slope, replayed, second[0] - slope if second else None)
        if self.folder is not None:
            np.savez(self.folder / "found.npz", **{name: value for name, value in found._asdict().items() if value is not None})
            (self.folder / "at.pt").unlink(missing_ok=True)
        return found


def _kept(path: Path) -> tuple[Slots, Slots] | None:
    """Return the adjoints and totals that a stopped walk left, if there are any."""
    if not path.exists():
        return None
    at, total = torch.load(path, weights_only=True)
    return at, total


def _write(path: Path, at: Slots, total: Slots) -> None:
    """Write down where the walk is, whole or not at all."""
    torch.save((at, total), path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def _read(folder: Path) -> Walked:
    with np.load(folder / "found.npz") as found:
        return Walked(found["slope"], False, found.get("replaced"))
