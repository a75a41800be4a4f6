"""The k rows that lie farthest from all others, for their surroundings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from influence.data.outlying import outlying
from influence.errors import BadInput
from influence.registry import finders, option
from influence.types import Examples, Scores, Selection

LABEL = "Local outlier factor"
"""Of scores that hold it already, kept by the action `outliers`: nothing is computed again then."""


@finders
@dataclass(frozen=True)
class Outliers:
    """Rows that lie alone: those of the largest local outlier factor of their inputs, whatever they do to a question.

    Rare is not wrong: a row can be the only one of its kind, and right.
    """

    k: int = option(100, "How many rows", min=1, max=10_000_000)
    neighbours: int = option(20, "Nearest rows with which each is compared", min=2, max=500, advanced=True)

    def __call__(self, scores: Scores | None, examples: Examples) -> Selection:
        """Return the selection, the row that lies most alone first, among those that `scores` of `LABEL` are of, or all `examples`.

        Raises:
            BadInput: there are fewer rows than k, or than neighbours.
        """
        known = scores if scores is not None and scores.labels == (LABEL,) else None
        ids = examples.ids if known is None else known.ids
        if self.k > len(ids):
            raise BadInput(f"There are {len(ids):,} rows; {self.k:,} cannot be chosen. Choose fewer.")
        factor = outlying(examples, self.neighbours).factor if known is None else known.column()
        first = tuple(ids[np.argsort(-factor, kind="stable")[: self.k]].tolist())
        examples.mask(first)  # refuses scores of other rows
        which = "the row that lies" if self.k == 1 else f"the {self.k:,} rows that lie"
        words = f"{which} most alone among their like (local outlier factor, {self.neighbours} neighbours)"
        reason = {"rule": "outliers", "k": self.k, "neighbours": self.neighbours, "words": words}
        return Selection(first, reason=reason)
