"""Rows that meet a condition on a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from influence.conditions import Condition
from influence.errors import BadInput
from influence.registry import finders, option
from influence.types import Examples, Scores, Selection


@finders
@dataclass(frozen=True)
class Where:
    """Rows whose value in a column meets one condition; combine several by intersecting selections.

    A missing value meets no condition but "missing". Numbers are compared as numbers, all else as text; true and false in any case.
    """

    column: str = option("", "Column", column=True)
    is_: Literal["equal to", "not equal to", "at least", "at most", "missing", "with the word"] = option("equal to", "Condition")
    value: str = option("", "Value")

    def __call__(self, scores: Scores | None, examples: Examples) -> Selection:
        """Return the selection.

        Raises:
            BadInput: no such column, a value that is no number where one is needed, or no row that meets the condition.
        """
        met = Condition(self.column, self.is_, self.value).met(examples.columns)
        how = "has the word" if self.is_ == "with the word" else f"is {self.is_}"
        words = f"rows where {self.column} {how}" + ("" if self.is_ == "missing" else f" {self.value}")
        if not met.any():
            raise BadInput(f"There are no {words}. Choose another value.")
        reason = {"rule": "where", "column": self.column, "is_": self.is_, "value": self.value, "words": words}
        return Selection(tuple(examples.ids[met].tolist()), reason=reason)
