"""The k rows whose removal is predicted to move a question most in its better direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from influence.errors import BadInput
from influence.registry import finders, option
from influence.types import Examples, Scores, Selection


@finders
@dataclass(frozen=True)
class TopK:
    """The first k rows by predicted change of one question."""

    k: int = option(100, "How many rows", min=1, max=10_000_000)
    label: str = option("", "Question; default: the first")
    better: Literal["lower", "higher"] = option("lower", "Which way the metric should move")

    def __call__(self, scores: Scores | None, examples: Examples) -> Selection:
        """Return the selection.

        Raises:
            BadInput: there are no scores, no such question, fewer rows than k, or the scores are of other rows.
        """
        if scores is None:
            raise BadInput("Rows can only be ranked by scores; score the training rows on the Influence page first.")
        if self.label and self.label not in scores.labels:
            raise BadInput(f"There is no question {self.label!r} among these scores; there are: {', '.join(scores.labels)}.")
        if self.k > len(scores.ids):
            raise BadInput(f"There are {len(scores.ids):,} rows; {self.k:,} cannot be chosen. Choose fewer.")
        label = self.label or scores.labels[0]
        values = scores.column(label)
        order = np.argsort(-values if self.better == "higher" else values, kind="stable")[: self.k]
        ids = tuple(scores.ids[order].tolist())
        examples.mask(ids)  # refuses scores of other rows
        many = "row" if self.k == 1 else f"{self.k:,} rows"
        way = "raise" if self.better == "higher" else "lower"
        words = f"the {many} whose removal is predicted to {way} “{label}” most, by {scores.method}"
        reason = {"rule": "top_k", "k": self.k, "label": label, "better": self.better, "method": scores.method, "words": words}
        return Selection(ids, reason=reason)
