"""How raw columns become what the model sees: fitted on training rows, kept as JSON, applied to any rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from influence.data.schema import USABLE, Column, names_of, nearest, numbers
from influence.errors import BadInput

MOST_LEVELS = 100


def fit_encoding(train: pd.DataFrame, columns: Iterable[Column]) -> dict[str, Any]:
    """Return the encoding of these columns, fitted on training rows: JSON with `columns` and the names of the d `features`.

    Numbers: missing cells become the median, then mean 0 and sd 1; flags stay 0 and 1; both get an indicator if cells are missing.
    Categories: one 0/1 feature per level, one for missing if cells are, and one for all beyond the 99 most frequent levels.
    Columns that do not vary among the training rows are left out.
    """
    usable = [column for column in columns if column.kind in USABLE]
    fitted = [_fit_levels(train[c.name]) if c.kind == "category" else _fit_numbers(train[c.name], c.kind) for c in usable]
    kept = [entry for entry in fitted if len(_features(entry)) > (1 if entry["kind"] == "category" else 0)]
    return {"kind": "table", "columns": kept, "features": [feature for entry in kept for feature in _features(entry)]}


def _fit_numbers(column: pd.Series, kind: str) -> dict[str, Any]:
    values = numbers(column)
    missing = bool(values.isna().any())
    median = float(values.median()) if values.notna().any() else 0.0
    filled = values.fillna(median)
    mean, sd = (0.0, 1.0) if kind == "flag" else (float(filled.mean()), float(filled.std(ddof=0)))
    sd = sd if filled.nunique() > 1 else 0.0  # the computed sd of equal numbers can be a rounding error
    return {"name": str(column.name), "kind": kind, "median": median, "mean": mean, "sd": sd, "missing": missing}


def _fit_levels(column: pd.Series) -> dict[str, Any]:
    counts = names_of(column).value_counts().rename_axis("level").reset_index(name="n")
    ranked = counts.sort_values(["n", "level"], ascending=[False, True])["level"]
    other = len(ranked) > MOST_LEVELS
    levels = sorted(ranked[: MOST_LEVELS - 1] if other else ranked)
    return {"name": str(column.name), "kind": "category", "levels": levels, "missing": bool(column.isna().any()), "other": other}


def _features(entry: Mapping[str, Any]) -> list[str]:
    """Names of the features of one column; the number itself is none if it does not vary."""
    name = entry["name"]
    indicator = [f"{name} is missing"] if entry["missing"] else []
    if entry["kind"] != "category":
        return ([name] if entry["sd"] > 0 else []) + indicator
    return [f"{name} = {level}" for level in entry["levels"]] + ([f"{name} = (other)"] if entry["other"] else []) + indicator


def encode(frame: pd.DataFrame, encoding: Mapping[str, Any]) -> np.ndarray:
    """Return x of any rows with these raw columns, (N, d) float32, features in the order of `encoding["features"]`.

    A category that no training row had is all zeros, or counts as one of the others where there is such a feature.

    Raises:
        BadInput: a column is not there, or the encoding is not one of a table.
    """
    if encoding.get("kind") != "table":
        raise BadInput("These rows are not of a table; their encoding is another. Choose the data set that the encoding belongs to.")
    x = np.zeros((len(frame), len(encoding["features"])), dtype=np.float32)
    start = 0
    for entry in encoding["columns"]:
        if entry["name"] not in frame.columns:
            raise BadInput(
                f"The column {entry['name']!r} is not in the table, and the model needs it. {nearest(entry['name'], frame.columns)}"
            )
        width = len(_features(entry))
        fill = _fill_levels if entry["kind"] == "category" else _fill_numbers
        fill(x[:, start : start + width], frame[entry["name"]], entry)
        start += width
    return x


def _fill_numbers(x: np.ndarray, column: pd.Series, entry: Mapping[str, Any]) -> None:
    values = numbers(column).to_numpy()
    missing = np.isnan(values)
    if entry["sd"] > 0:
        x[:, 0] = (np.where(missing, entry["median"], values) - entry["mean"]) / entry["sd"]
    if entry["missing"]:
        x[:, -1] = missing


def _fill_levels(x: np.ndarray, column: pd.Series, entry: Mapping[str, Any]) -> None:
    names = names_of(column)
    missing = names.isna().to_numpy()
    places = pd.Index(entry["levels"], dtype="str").get_indexer(pd.Index(names))
    if entry["other"]:
        places = np.where((places < 0) & ~missing, len(entry["levels"]), places)
    known = np.flatnonzero((places >= 0) & ~missing)
    x[known, places[known]] = 1
    if entry["missing"]:
        x[:, -1] = missing
