"""The fewest rows that bring a question as far as is wanted, while a second one is made worse by no more than is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from influence.errors import BadInput
from influence.finders._programme import NEAR, Programme, smallest, whole
from influence.registry import finders, option
from influence.types import Examples, Scores, Selection


@finders
@dataclass(frozen=True)
class Budget:
    """The fewest rows whose removal, or whose smaller weight, is predicted to change a question as wanted and to spare a second one."""

    change: float = option(-0.01, "Wanted change of the question; negative lowers it")
    label: str = option("", "Question; default: the first")
    beside: str = option("", "A second question that is to be spared; default: none")
    keep: Literal["higher", "lower"] = option("higher", "Which way the second question is better")
    allowed: float = option(0.0, "By how much the second question may be made worse", min=0.0)
    most: float = option(0.1, "Largest share of all rows, weighted by what is taken of them", min=0.0, max=1.0)
    mode: Literal["remove", "reweight"] = option("remove", "Whole rows, or a part of each row's weight")
    part: float = option(1.0, "reweight: the largest part of a row's weight that is taken", min=0.01, max=1.0)

    def programme(self, scores: Scores) -> Programme:
        """Return the linear programme.

        Raises:
            BadInput: no such question, or a change of nothing.
        """
        for label in filter(None, (self.label, self.beside)):
            if label not in scores.labels:
                raise BadInput(f"There is no question {label!r} among these scores; there are: {', '.join(scores.labels)}.")
        if not np.isfinite([self.change, self.allowed]).all() or self.change == 0:
            raise BadInput(
                f"The wanted change must be a number other than 0, and what is allowed a number; got {self.change}, {self.allowed}."
            )
        gain = scores.column(self.label or 0) * np.sign(self.change)
        spared = scores.column(self.beside) * (-1 if self.keep == "higher" else 1) if self.beside else np.zeros(len(gain))
        part = self.part if self.mode == "reweight" else 1.0
        return Programme(gain, spared, abs(self.change), self.allowed, np.floor(self.most * len(gain) + NEAR), part)

    def taken(self, scores: Scores) -> tuple[np.ndarray, float] | None:
        """Return what is taken of each row's weight (N,), and the least that any solution takes in all; None if nothing meets it."""
        programme = self.programme(scores)
        if self.mode == "remove":
            return whole(programme)
        x = smallest(programme)
        return None if x is None else (np.where(x < NEAR, 0.0, x), float(x.sum()))

    def __call__(self, scores: Scores | None, examples: Examples) -> Selection:
        """Return the selection, the row that does most first; of action "weight" where only a part of weights is taken.

        Raises:
            BadInput: there are no scores, no such question, the scores are of other rows, or no rows do what is wanted.
        """
        if scores is None:
            raise BadInput("Rows can only be weighed by scores; score the training rows on the Influence page first.")
        found = self.taken(scores)
        label = self.label or scores.labels[0]
        if found is None:
            raise BadInput(
                f"No {self.most * len(scores.ids):,.0f} rows are predicted to change “{label}” by {self.change:g} within what is allowed. "
                "Ask for less, or allow more."
            )
        at = np.flatnonzero(found[0])
        at = at[np.argsort(np.sign(-self.change) * scores.column(label)[at] * found[0][at], kind="stable")]
        ids = tuple(scores.ids[at].tolist())
        examples.mask(ids)  # refuses scores of other rows
        return Selection(ids, "remove" if self.mode == "remove" else "weight", reason=self._reason(scores, label, len(ids)))

    def _reason(self, scores: Scores, label: str, n: int) -> dict[str, object]:
        many = "row" if n == 1 else f"{n:,} rows"
        spared = f", with “{self.beside}” no more than {self.allowed:g} worse" if self.beside else ""
        how = "whose removal" if self.mode == "remove" else "whose smaller weight"
        words = f"the fewest rows ({many}) {how} {scores.method} predicts to change “{label}” by {self.change:g}{spared}"
        given = {"change": self.change, "label": self.label, "beside": self.beside, "keep": self.keep, "allowed": self.allowed}
        return {"rule": "budget", **given, "most": self.most, "mode": self.mode, "part": self.part, "method": scores.method, "words": words}
