"""The target of a table: one class of several, or a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from influence.data.schema import Column, in_rows, names_of, numbers
from influence.errors import BadInput

Task: TypeAlias = Literal["auto", "classes", "number"]
MOST_CLASSES, AUTO_CLASSES = 100, 20
SUPPORTED = "A target is one class of at most 100 (text, true/false or whole numbers) or a number."


@dataclass(frozen=True)
class Target:
    """How the target's column becomes y: places in `classes`, or, if there are none, (value - mean) / sd."""

    name: str
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    sd: float = 1.0

    def y(self, values: pd.Series) -> np.ndarray:
        """Return (N,) int64 places in the classes, or (N,) float32 standardised numbers.

        Raises:
            BadInput: a value is no number.
        """
        if not self.classes:
            given = numbers(values)
            if given.isna().any():
                raise BadInput(f"The target {self.name!r} has cells that are no numbers. Correct them, or leave the rows out.")
            return ((given.to_numpy() - self.mean) / self.sd).astype(np.float32)
        return pd.Index(self.classes).get_indexer(pd.Index(names_of(values))).astype(np.int64)

    def described(self) -> dict[str, Any]:
        """Return the target as JSON, for `Dataset.encoding["target"]`."""
        if self.classes:
            return {"name": self.name, "kind": "classes", "classes": list(self.classes)}
        return {"name": self.name, "kind": "number", "mean": self.mean, "sd": self.sd}


def fit_target(values: pd.Series, train: np.ndarray, column: Column, task: Task) -> Target:
    """Return the target of these rows.

    Args:
        values: (N,) labels without missing ones.
        train: (N,) bool, the training rows: mean and sd of a number are theirs, and each class needs two of them.
        column: what the column was found to be.
        task: "classes", "number", or "auto": whole numbers with at most 20 distinct values are classes, other numbers are numbers.

    Raises:
        BadInput: the target is of an unsupported kind, or has one class, too many, or a class too rare.
    """
    _refuse_kind(values, column, task)
    if _is_number(values, column, task):
        return _number(values, train, column.name)
    classes = _classes(values, column.name)
    counts = names_of(values[train]).value_counts().reindex(classes, fill_value=0)
    rare = counts.index[counts < 2]
    if len(rare):
        raise BadInput(
            f"The class {rare[0]!r} of {column.name!r} has {in_rows(int(counts[rare[0]]), 'training')}; at least 2 are needed. "
            "Leave these rows out, merge classes, or choose another split."
        )
    return Target(column.name, classes)


def foreseen(values: pd.Series, column: Column, task: Task) -> tuple[str, ...]:
    """Return the classes that a target will have, in order; () for a number, and for what will be refused."""
    given = values.dropna()
    try:
        _refuse_kind(given, column, task)
        return () if _is_number(given, column, task) else _classes(given, column.name)
    except BadInput:
        return ()


def _refuse_kind(values: pd.Series, column: Column, task: Task) -> None:
    name = column.name
    if column.kind == "empty" or not len(values):
        raise BadInput(f"The target {name!r} has no value in any row. {SUPPORTED} Choose another target.")
    if column.distinct == 1:
        raise BadInput(f"The target {name!r} is {column.example!r} in every row; at least two classes are needed. Choose another target.")
    reason = _multi_label(values) if column.kind in ("category", "text", "id") else ""
    if not reason and column.kind in ("text", "date", "id"):
        what = {"text": "free text", "date": "dates", "id": "a different value in nearly every row"}[column.kind]
        reason = f"holds {what}"
    if reason:
        raise BadInput(f"The target {name!r} {reason}, which is not supported. {SUPPORTED} Choose another target.")
    if task == "number" and column.kind == "category":
        raise BadInput(f"The target {name!r} holds text such as {column.example!r}; a number was asked for. Predict classes instead.")


def _multi_label(values: pd.Series) -> str:
    """Say so if cells seem to hold several labels each: lists, or parts that recombine."""
    labels = names_of(values).drop_duplicates()
    several = labels.str.match(r"\s*[\[({].*[\])}]\s*$")
    for mark in "|;":
        parts = labels.str.split(mark, regex=False)
        if labels.str.contains(mark, regex=False).any() and parts.explode().str.strip().nunique() < len(labels):
            return f"holds several labels in one cell, such as {labels[parts.str.len() > 1].iloc[0]!r} (multi-label)"
    return f"holds lists, such as {labels[several].iloc[0]!r} (multi-label)" if several.mean() > 0.5 else ""


def _is_number(values: pd.Series, column: Column, task: Task) -> bool:
    if task != "auto" or column.kind != "numeric":
        return task == "number"
    given = numbers(values)
    return column.distinct > AUTO_CLASSES or not bool((given % 1 == 0).all())


def _number(values: pd.Series, train: np.ndarray, name: str) -> Target:
    given = numbers(values)[train]
    mean, sd = float(given.mean()), float(given.std(ddof=0))
    if given.nunique() < 2:
        raise BadInput(f"The target {name!r} does not vary among the training rows; numbers that differ are needed. Choose another split.")
    return Target(name, mean=mean, sd=sd)


def _classes(values: pd.Series, name: str) -> tuple[str, ...]:
    # Names of the classes: sorted as numbers where all are numbers, else as text.
    found = pd.Series(names_of(values).unique(), dtype="str")
    if len(found) > MOST_CLASSES:
        raise BadInput(
            f"The target {name!r} has {len(found)} classes; at most {MOST_CLASSES} are supported. Merge classes, or predict a number."
        )
    numeric = pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype)
    return tuple(found.sort_values(key=numbers if numeric else None))
