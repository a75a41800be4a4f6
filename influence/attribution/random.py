"""A random order of the rows: the floor that every method must beat.

Each score is a draw from [-0.5, 0.5) keyed by seed, question label and row id (SplitMix64: Steele, Lea, Flood, OOPSLA 2014; see
`influence.keyed`): other rows change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from influence.attribution._shared import only_trained_on
from influence.keyed import uniform
from influence.registry import attribution, option
from influence.types import Event, Examples, Question, Report, Scores, Trained, ignore
from influence.workspace import Workspace


@attribution
@dataclass(frozen=True)
class Random:
    """Scores drawn at random, for comparison only: they know nothing of the model."""

    seed: int = option(0, "Another seed gives another order", min=0, max=2**31 - 1)

    calibrated: ClassVar[bool] = False
    version: ClassVar[int] = 2
    needs: ClassVar[str] = "Nothing."
    cost: ClassVar[str] = "None."
    in_shards: ClassVar[bool] = True

    def unavailable(self, trained: Trained) -> str:
        """Always ""."""
        return ""

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q)."""
        values = np.stack([uniform(self.seed, f"random {label}", train.ids) for label in question.labels], axis=1) - 0.5
        report(Event("random", len(train), len(train)))
        return Scores(only_trained_on(values, train, trained), train.ids, question.labels, "random", self.calibrated)
