"""Asking an index: screen all rows by their compressed gradients, score the first ones at both ends exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from influence.grads import Rows, query_gradient, sweep
from influence.index.basis import Basis
from influence.index.build import opened
from influence.index.recall import Recall, recall, top
from influence.index.screen import Codes
from influence.loop import Bound, tensors
from influence.types import Event, Examples, Question, Report, ignore

BATCH = 1024
"""Rows scored exactly at a time."""


class Index:
    """A finished index, opened for the model and the rows that it was built for.

    Raises:
        BadInput: it was built for others, or is unfinished.
    """

    def __init__(self, folder: Path, model: str, bound: Bound, rows: Examples) -> None:
        told = opened(folder, model, rows)
        self.bound, self.basis = bound, Basis.load(folder / "basis.safetensors", bound.device)
        self.codes = Codes(folder, self.basis, len(rows))
        self.rows = Rows(*tensors(rows, str(bound.flat.dtype).removeprefix("torch.")), told["loss"])
        self.ranks: np.ndarray = np.load(folder / "ranks.npy")

    def recall(self, scored: int) -> Recall:
        """Return how many of the true first rows were found in the held questions with `scored` rows scored exactly at each end."""
        return recall(self.ranks, scored)

    def ask(self, question: Question, scored: int = 3000, report: Report = ignore) -> tuple[np.ndarray, np.ndarray]:
        """Return all rows' scores (N, Q), and which are exact (N, Q): those of `scored` rows at each end; the others are the screen's."""
        _, v = query_gradient(self.bound, question)
        report(Event("screen", 0, len(v)))
        values = self.codes.screen(self.basis.of_vectors(self.bound, v))
        exact = np.zeros(values.shape, dtype=bool)
        for q in range(len(v)):
            exact[top(values[:, q], scored), q] = exact[top(-values[:, q], scored), q] = True
            places = np.flatnonzero(exact[:, q])
            some = self.rows.cut(torch.from_numpy(places))
            values[places, q] = sweep(self.bound, some.x, some.target, some.loss, v[q : q + 1], BATCH)[:, 0]
            report(Event("screen", q + 1, len(v)))
        return values, exact
