"""Rows that meet a condition on a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

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
    is_: Literal["equal to", "not equal to", "at least", "at most", "missing"] = option("equal to", "Condition")
    value: str = option("", "Value")

    def __call__(self, scores: Scores | None, examples: Examples) -> Selection:
        """Return the selection.

        Raises:
            BadInput: no such column, a value that is no number where one is needed, or no row that meets the condition.
        """
        if self.column not in examples.columns:
            got = f"There is no column {self.column!r}" if self.column else "No column was chosen"
            raise BadInput(f"{got}; there are: {', '.join(map(str, examples.columns))}. Choose one of them.")
        met = self._met(examples.columns[self.column])
        words = f"rows where {self.column} is {self.is_}" + ("" if self.is_ == "missing" else f" {self.value}")
        if not met.any():
            raise BadInput(f"There are no {words}. Choose another value.")
        reason = {"rule": "where", "column": self.column, "is_": self.is_, "value": self.value, "words": words}
        return Selection(tuple(examples.ids[met].tolist()), reason=reason)

    def _met(self, values: pd.Series) -> np.ndarray:
        known = values.notna().to_numpy()
        if self.is_ == "missing":
            return ~known
        truth = pd.api.types.is_bool_dtype(values)
        if self.is_ in ("at least", "at most") or (pd.api.types.is_numeric_dtype(values) and not truth):
            return self._compared(values) & known
        said = values.astype(object).astype(str)
        same = (said.str.lower() == self.value.strip().lower() if truth else said == self.value).to_numpy(dtype=bool)
        return (same if self.is_ == "equal to" else ~same) & known

    def _compared(self, values: pd.Series) -> np.ndarray:
        if not pd.api.types.is_numeric_dtype(values):
            raise BadInput(f"{self.column} holds no numbers, so that nothing is {self.is_} {self.value}. Use equal to or not equal to.")
        try:
            value = float(self.value)
        except ValueError:
            value = np.nan
        if np.isnan(value):
            raise BadInput(f"{self.column} holds numbers; got {self.value!r}. Give a number.")
        numbers = values.to_numpy(dtype=float, na_value=np.nan)
        compare = {"equal to": np.equal, "not equal to": np.not_equal, "at least": np.greater_equal, "at most": np.less_equal}
        return compare[self.is_](numbers, value)
