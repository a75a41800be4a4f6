"""Groups of rows by a column, and the favourable class: what questions about gaps and measures of gaps must agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from influence.errors import BadInput
from influence.types import Examples

FEWEST = 10
"""Fewer rows than this say too little of a group to be shown with an interval or to form a gap."""

MISSING = "missing"
SHOWN, NAMED = 8, 20
"""How many groups and classes a sentence names."""


@dataclass(frozen=True)
class Groups:
    """Each row's group. `names`: of the G groups, in reading order, missing values last; `code`: (M,) places in `names`."""

    names: tuple[str, ...]
    code: np.ndarray

    def counts(self, keep: np.ndarray | None = None) -> np.ndarray:
        """Return how many of the rows at the mask `keep` (all by default) each group has, (G,)."""
        return np.bincount(self.code if keep is None else self.code[keep], minlength=len(self.names))

    def comparable(self, keep: np.ndarray | None = None) -> np.ndarray:
        """Return the places of the groups with at least ten such rows.

        Raises:
            BadInput: there are fewer than two.
        """
        counts = self.counts(keep)
        enough = np.flatnonzero(counts >= FEWEST)
        if len(enough) >= 2:
            return enough
        largest = [place for place in np.argsort(-counts, kind="stable") if counts[place]]
        shown = ", ".join(f"{self.names[place]}: {counts[place]:,}" for place in largest[:SHOWN]) or "none"
        more = f" and {len(largest) - SHOWN:,} smaller groups" if len(largest) > SHOWN else ""
        raise BadInput(
            f"To compare groups, two of them need at least {FEWEST} rows of the kind compared; there are {shown}{more}. "
            "Choose another group column or more evaluation rows."
        )


def groups_of(examples: Examples, column: str, bins: int = 4, edges: tuple[float, ...] | None = None) -> Groups:
    """Return the groups that a column forms.

    `edges`: where numbers are cut, () for nowhere; None cuts numbers with more than `bins` distinct values at their quantiles here.

    Raises:
        BadInput: there is no such column.
    """
    cuts = edges_of(examples, column, bins) if edges is None else edges
    values = column_of(examples, column)
    return _cut(values, cuts) if cuts else _named(values)


def edges_of(examples: Examples, column: str, bins: int) -> tuple[float, ...]:
    """Return the quantiles at which a column is cut into `bins` of like size: () unless it holds numbers with more distinct values.

    Each edge is a value of the column and the upper end of its bin, so that ages are cut at whole years; ties make fewer bins.

    Raises:
        BadInput: there is no such column.
    """
    values = column_of(examples, column)
    if not _is_number(values) or values.nunique() <= bins:
        return ()
    numbers = values.dropna().to_numpy(dtype=float)
    quantiles = np.quantile(numbers, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf")
    return tuple(np.unique(quantiles.clip(max=np.unique(numbers)[-2])).tolist())  # so that some row lies above the last edge


def place_of(positive: str, examples: Examples) -> int:
    """Return the place of the positive class; by default the one that is favourable in these data.

    Raises:
        BadInput: the target is a number, or there is no such class.
    """
    if not examples.classes:
        raise BadInput("Rates need classes; this target is a number. Ask group_loss_gap, worst_group_loss or loss instead.")
    if positive and positive not in examples.classes:
        raise BadInput(f"There is no class {positive!r}; there are: {named(examples.classes)}. Choose one of them.")
    return examples.classes.index(positive or examples.favourable)


def other_than(examples: Examples, positive: str) -> str:
    """Return a positive class that a person named, or "" if it is the one that is favourable in these data anyway.

    Raises:
        BadInput: the target is a number, or there is no such class.
    """
    return "" if not positive or examples.classes[place_of(positive, examples)] == examples.favourable else positive


def named(classes: Sequence[str]) -> str:
    """Return the names of classes in one line: the first twenty, and how many there are where that are not all."""
    more = f", … ({len(classes)} in all)" if len(classes) > NAMED else ""
    return ", ".join(classes[:NAMED]) + more


def column_of(examples: Examples, column: str) -> pd.Series:
    """Return the column that is to form groups.

    Raises:
        BadInput: none was given, or there is no such column.
    """
    if column in examples.columns:
        return examples.columns[column]
    what = f"There is no column {column!r} to form groups by" if column else "No column to form groups by was given"
    known = ", ".join(map(str, examples.columns)) or "none"
    raise BadInput(f"{what}; there are: {known}. Choose one of them.", missing="" if column else "group=COLUMN")


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _named(values: pd.Series) -> Groups:
    number = _is_number(values)
    code, found = pd.factorize(values, sort=number)
    text = [_said(value) for value in found]
    names = list(dict.fromkeys(text if number else sorted(text)))
    if (code < 0).any() and MISSING not in names:
        names.append(MISSING)
    at = {name: place for place, name in enumerate(names)}
    # A missing value has code -1 and so takes the last entry.
    return Groups(tuple(names), np.array([*(at[name] for name in text), at.get(MISSING, -1)], dtype=np.int64)[code])


def _said(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _cut(values: pd.Series, edges: tuple[float, ...]) -> Groups:
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    code, missing = np.searchsorted(edges, numbers, side="left"), np.isnan(numbers)
    code[missing] = len(edges) + 1
    text = [f"{edge:.0f}" if edge.is_integer() or abs(edge) >= 1000 else f"{edge:.4g}" for edge in edges]
    if len(set(text)) < len(text):
        text = list(map(repr, edges))
    between = [f"over {low} to {high}" for low, high in pairwise(text)]
    names = [f"up to {text[0]}", *between, f"over {text[-1]}"] + [MISSING] * bool(missing.any())
    return Groups(tuple(names), code)
