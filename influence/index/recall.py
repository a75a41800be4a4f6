"""How much an index finds: measured once, on questions all of whose rows are scored exactly.

Held questions are of the two kinds that people ask: the loss of one row, and the gap in mean loss between two groups of rows; rows and
groups are drawn by their ids. Kept is where the screen puts each question's true first rows: recall then follows for any number of rows
scored exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from influence.grads import Rows, query_gradient, sweep
from influence.index.screen import Codes
from influence.keyed import uniform
from influence.loop import Bound
from influence.losses import per_example
from influence.types import Event, Examples, Question, Report, ignore

FIRST = 100
"""Rows at each end that are meant to be found."""
SINGLE, GAPS, GROUP = 4, 4, 500
"""Held questions about one row, gaps, and rows in a group of those."""


@dataclass(frozen=True)
class Recall:
    """Share of the true first rows that are found, over `lists` lists: mean and lowest."""

    mean: float
    lowest: float
    lists: int


@dataclass(frozen=True)
class _Held:
    """Losses of the first rows, then gaps in mean loss between the halves of all rows, each time another half."""

    loss: str
    better: ClassVar[Literal["lower", "higher", "neither"]] = "neither"

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(f"held {k}" for k in range(SINGLE + GAPS))

    measured_label = "held"

    def oriented(self, logits: torch.Tensor, examples: Examples) -> _Held:
        return self

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        y = torch.from_numpy(np.array(examples.y)).to(logits.device)
        losses = per_example(self.loss, logits, y if examples.classes else y.to(logits.dtype))
        sides = [torch.from_numpy(np.where(uniform(k, "index half", examples.ids) < 0.5, 1.0, -1.0)) for k in range(GAPS)]
        weights = torch.stack(sides).to(losses) / max(1, len(losses) // 2)
        return torch.cat([losses[:SINGLE], weights @ losses])

    measured = value


def ranks(codes: Codes, bound: Bound, asked: Rows, rows: Examples, seed: int, report: Report = ignore) -> np.ndarray:
    """Return where the screen puts the true first rows of each held question at its two ends, (K, 2, first), 0 the best."""
    drawn = np.argsort(uniform(seed, "index recall", rows.ids), kind="stable")[: 2 * GROUP]
    _, v = query_gradient(bound, Question((_Held(asked.loss),), rows.take(drawn)))
    exact = sweep(bound, asked.x, asked.target, asked.loss, v, report=lambda e: report(Event("recall", e.done, e.total)))
    screened = codes.screen(codes.basis.of_vectors(bound, v))
    first = min(FIRST, len(rows))
    found = np.zeros((len(v), 2, first), dtype=np.int64)
    for q in range(len(v)):
        for end, sign in enumerate((1, -1)):
            place = np.empty(len(rows), dtype=np.int64)
            place[np.argsort(-sign * screened[:, q], kind="stable")] = np.arange(len(rows))
            found[q, end] = place[top(sign * exact[:, q], first)]
    return found


def recall(found: np.ndarray, scored: int) -> Recall:
    """Return the recall of the first rows if the screen's first `scored` at each end are scored exactly."""
    shares = (found < scored).mean(2)
    return Recall(float(shares.mean()), float(shares.min()), shares.size)


def top(values: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the `count` highest values, in no order."""
    return np.arange(len(values)) if count >= len(values) else np.argpartition(values, len(values) - count)[len(values) - count :]
