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
    """Rows whose value in a column meets one condition; combine several by intersecting selections."""

    column: str = option("", "Column", column=True)
    is_: Literal["equal to", "not equal to", "at least", "at most", "missing"] = option("equal to", "Condition")
    value: str = option("", "Value")

    def __call__(self, scores: Scores | None, examples: Examples) -> Selection:
        """Return the selection.

        Raises:
            BadInput: no such column, a value that is no number where one is needed, or no row that meets the condition.
        """
        if self.column not in examples.columns:
            raise BadInput(f"There is no column {self.column!r}; there are: {', '.join(map(str, examples.columns))}.")
        met = self._met(examples.columns[self.column])
        words = f"rows where {self.column} is {self.is_}" + ("" if self.is_ == "missing" else f" {self.value}")
        if not met.any():
            raise BadInput(f"There are no {words}. Choose another value.")
        reason = {"rule": "where", "column": self.column, "is_": self.is_, "value": self.value, "words": words}
        return Selection(tuple(examples.ids[met].tolist()), reason=reason)

    def _met(self, values: pd.Series) -> np.ndarray:
        if self.is_ == "missing":
            return values.isna().to_numpy()
        numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        if self.is_ in ("at least", "at most") or numeric:
            return self._compared(values)
        same = (values.astype(object).astype(str) == self.value).to_numpy() & values.notna().to_numpy()
        return same if self.is_ == "equal to" else ~same

    def _compared(self, values: pd.Series) -> np.ndarray:
        try:
            value = float(self.value)
            numbers = values.to_numpy(dtype=float, na_value=np.nan)
        except ValueError:
            raise BadInput(f"{self.column} {self.is_} needs a number; got {self.value!r}.") from None
        known = ~np.isnan(numbers)
        with np.errstate(invalid="ignore"):
            met = {
                "equal to": numbers == value,
                "not equal to": numbers != value,
                "at least": numbers >= value,
                "at most": numbers <= value,
            }
        return met[self.is_] & known
