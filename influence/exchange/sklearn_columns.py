"""What fitted scikit-learn preprocessing does to raw columns, as an encoding: scaled and filled numbers, categories as 0 and 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from influence.data.schema import names_of
from influence.errors import BadInput

NUMBERS = "StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, SimpleImputer (mean, median or a constant number)"
KNOWN = f"Supported are {NUMBERS} for numbers and OneHotEncoder for categories, in a Pipeline or one ColumnTransformer."


@dataclass(frozen=True)
class Number:
    """One column of numbers as it goes through the steps: (x - mean) / sd, a missing x being `median`."""

    name: str
    mean: float = 0.0
    sd: float = 1.0
    median: float | None = None

    def scaled(self, mean: float, sd: float) -> Number:
        """Return what comes after another scaling of what came before."""
        return replace(self, mean=self.mean + self.sd * mean, sd=self.sd * sd)

    def filled(self, value: float) -> Number:
        """Return what comes after missing numbers became `value`, in the scale that was reached; those filled before stay."""
        return self if self.median is not None else replace(self, median=self.mean + self.sd * value)

    def entry(self) -> dict[str, Any]:
        """Return the column of the encoding."""
        median = self.mean if self.median is None else self.median
        return {"name": self.name, "kind": "numeric", "mean": self.mean, "sd": self.sd, "median": median}


def columns_of(steps: Sequence[Any], rows: pd.DataFrame) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the columns of the encoding that does what fitted steps do, and for each of its features which output of the steps it is.

    Raises:
        BadInput: a step does something that no encoding can do.
    """
    if len(steps) == 1 and _kind(steps[0]) == "ColumnTransformer":
        parts = [(part, list(_named(cols, rows))) for _, part, cols in steps[0].transformers_ if _kind(part) != "drop"]
    else:
        parts = [(list(steps), list(map(str, rows.columns)))]
    entries, order, start = [], [], 0
    for part, names in parts:
        for entry, outputs in _part(part, names):
            entries.append(entry)
            order += [start + place for place in outputs]
            start += len(outputs)
    return entries, order


def _kind(step: Any) -> str:
    return step if isinstance(step, str) else type(step).__name__


def _named(columns: Any, rows: pd.DataFrame) -> Sequence[str]:
    """Return the names of the columns that a part of a ColumnTransformer takes, however they were given."""
    if isinstance(columns, str):
        return [columns]
    given = columns if isinstance(columns, slice) else list(columns)
    if not isinstance(given, slice) and given and isinstance(given[0], str):
        return [str(name) for name in given]
    names = rows.columns[given if isinstance(given, slice) else np.asarray(given)]
    return [str(name) for name in names]


def _part(part: Any, names: list[str]) -> list[tuple[dict[str, Any], list[int]]]:
    """Return the columns that a chain of steps makes of raw ones, and the places of their features among its outputs of that column.

    Raises:
        BadInput: a step can't be represented.
    """
    chain = part if isinstance(part, list) else [step for _, step in part.steps] if _kind(part) == "Pipeline" else [part]
    chain = [step for step in chain if not _is_nothing(step)]
    if not names:
        return []
    if chain and _kind(chain[-1]) == "OneHotEncoder":
        if len(chain) > 1:
            raise BadInput(
                f"{_kind(chain[0])} before OneHotEncoder can't be represented. Let the encoder see missing cells, or fill them first."
            )
        return _categories(chain[0], names)
    columns = [Number(name) for name in names]
    for step in chain:
        follow = STEPS.get(_kind(step))
        if follow is None:
            raise BadInput(f"The step {_kind(step)} can't be represented. {KNOWN}")
        columns = follow(step, columns)
    return [(column.entry(), [0]) for column in columns]


def _is_nothing(step: Any) -> bool:
    return step is None or _kind(step) == "passthrough" or (_kind(step) == "FunctionTransformer" and step.func is None)


def _scaled(mean: Callable[[Any], Any], sd: Callable[[Any], Any]) -> Callable[[Any, list[Number]], list[Number]]:
    def follow(step: Any, columns: list[Number]) -> list[Number]:
        if getattr(step, "clip", False):
            raise BadInput(f"{_kind(step)} with clip can't be represented. {KNOWN}")
        means, sds = (np.broadcast_to(value(step), len(columns)) for value in (mean, sd))
        return [column.scaled(float(m), float(s)) for column, m, s in zip(columns, means, sds, strict=True)]

    return follow


def _or(value: Any, other: float) -> Any:
    return other if value is None else value


def _imputed(step: Any, columns: list[Number]) -> list[Number]:
    values = np.asarray(step.statistics_).tolist()  # of Python's numbers, where a constant was given
    numeric = all(isinstance(value, int | float) and np.isfinite(value) for value in values)
    if step.add_indicator or not numeric or len(values) != len(columns) or not (step.missing_values != step.missing_values):
        raise BadInput(f"This SimpleImputer fills something else than missing numbers, or adds columns. {KNOWN}")
    return [column.filled(float(value)) for column, value in zip(columns, values, strict=True)]


STEPS: dict[str, Callable[[Any, list[Number]], list[Number]]] = {
    "StandardScaler": _scaled(lambda s: _or(s.mean_, 0.0), lambda s: _or(s.scale_, 1.0)),
    "MinMaxScaler": _scaled(lambda s: -s.min_ / s.scale_, lambda s: 1 / s.scale_),
    "MaxAbsScaler": _scaled(lambda s: 0.0, lambda s: s.scale_),
    "RobustScaler": _scaled(lambda s: _or(s.center_, 0.0), lambda s: _or(s.scale_, 1.0)),
    "SimpleImputer": _imputed,
}


def _categories(encoder: Any, names: list[str]) -> list[tuple[dict[str, Any], list[int]]]:
    rare = getattr(encoder, "infrequent_categories_", [None] * len(names))
    dropped = encoder.drop_idx_ if encoder.drop_idx_ is not None else [None] * len(names)
    if any(r is not None for r in rare) and (encoder.handle_unknown != "infrequent_if_exist" or encoder.drop_idx_ is not None):
        raise BadInput('OneHotEncoder with infrequent categories needs handle_unknown="infrequent_if_exist" and no drop. Fit it so.')
    return [_category(name, *facts) for name, *facts in zip(names, encoder.categories_, rare, dropped, strict=True)]


def _category(name: str, categories: np.ndarray, rare: np.ndarray | None, dropped: int | None) -> tuple[dict[str, Any], list[int]]:
    """Return a column of categories: levels, then all others, then missing; the encoder puts the missing before the others.

    Raises:
        BadInput: its categories can't be told apart as text.
    """
    cells = pd.Series(categories, dtype=object)
    gone = cells.index == (-1 if dropped is None else dropped)
    seldom = cells.isin(list(rare) if rare is not None else [])
    missing = cells.isna().to_numpy()
    if missing.sum() > 1 or (missing & seldom.to_numpy()).any():
        raise BadInput(f"Missing cells of {name!r} are of several kinds, or among the infrequent. Make them of one kind, None or NaN.")
    levels = names_of(cells[~missing & ~seldom & ~gone]).tolist()
    if len(set(levels)) < len(levels):
        raise BadInput(f"Categories of {name!r} differ in type alone, such as 1 and '1'. Make them of one type.")
    entry = {"name": name, "kind": "category", "levels": levels, "missing": bool((missing & ~gone).any()), "other": rare is not None}
    after = [len(levels) + 1, len(levels)] if entry["missing"] and entry["other"] else []
    return entry, [*range(len(levels)), *(after or range(len(levels), len(levels) + entry["missing"] + entry["other"]))]
