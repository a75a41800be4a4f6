"""Columns that define groups: each needs two groups wherever a gap between them is measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from influence.data.choices import Choices
from influence.data.schema import USABLE, Column
from influence.errors import BadInput


def refuse_groupless(table: pd.DataFrame, roles: np.ndarray, choices: Choices, columns: Mapping[str, Column]) -> None:
    """Refuse protected and audit columns that divide no rows. Free text, dates and ids may be audit columns: people read them.

    An audit column may have one value among the rows of a role: a fault of the training rows alone is found by it, though no gap can be
    measured between its groups there.

    Args:
        table: the N rows.
        roles: (N,) places in `influence.data.dataset.ROLES`.
        choices: which columns are protected or audit columns.
        columns: what each column was found to be.

    Raises:
        BadInput: a column is empty or constant, or a protected column has only one group in one role.
    """
    for name in choices.groups:
        column, part = columns[name], choices.part(name)
        if column.kind in ("empty", "constant"):
            what = "has no value in any row" if column.kind == "empty" else f"is {column.example!r} in every row"
            raise BadInput(f"The {part} column {name!r} {what}; at least two groups are needed. Choose another column.")
        if part != "protected":
            continue
        if column.kind in USABLE or (column.chosen and column.kind in ("group", "leak")):
            _refuse_one_group(table[name], roles)
        else:
            raise BadInput(f"The protected column {name!r} ({column.kind}) makes nearly every row a group. Choose one with fewer values.")


def _refuse_one_group(column: pd.Series, roles: np.ndarray) -> None:
    for role, words in enumerate(("training", "evaluation", "holdout")):
        groups = column[roles == role].dropna().unique()
        if len(groups) < 2:
            only = f"only {str(groups[0])!r}" if len(groups) else "no value"
            raise BadInput(
                f"The protected column {column.name!r} has {only} among the {words} rows; at least two groups are needed there. "
                "Choose another column or another split, or make it an audit column."
            )
