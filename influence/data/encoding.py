"""How raw columns become what the model sees: fitted on training rows, kept as JSON, applied to any rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from influence.data.dates import moments, written
from influence.data.order import natural
from influence.data.schema import Column, coded, names_of, nearest, numbers
from influence.errors import BadInput

MOST_LEVELS = 100
UNKNOWN, MISSING = -2, -1  # places of cells that have no level
BLOCK = 2048  # rows that are written at a time, so that all columns of a row are written while it is in the cache


def fit_encoding(table: pd.DataFrame, columns: Iterable[Column], train: np.ndarray | None = None) -> dict[str, Any]:
    """Return the encoding of these columns, fitted on training rows: JSON with `columns` and the names of the d `features`.

    `train`: which rows of the table these are, (N,) bool; all if None.

    Numbers: missing cells become the median, then mean 0 and sd 1; flags stay 0 and 1; both get an indicator if cells are missing.
    Ordered names are numbered from least to most, and dates are days since the first one; then both are as numbers. A name that no
    training row has counts as missing, unless a person gave the order. Categories: one 0/1 feature per level, one for missing if cells
    are, and one for all beyond the 99 most frequent levels. Columns that do not vary among the training rows are left out.
    """
    own = ((c, table[c.name] if train is None else table[c.name][train]) for c in columns if c.usable)
    fitted = [_fit_levels(values) if c.kind == "category" else _fit_numbers(values, c) for c, values in own]
    kept = [entry for entry in fitted if len(features(entry)) > (1 if entry["kind"] == "category" else 0)]
    return {"kind": "table", "columns": kept, "features": [feature for entry in kept for feature in features(entry)]}


def _fit_numbers(column: pd.Series, of: Column) -> dict[str, Any]:
    reading = {"kind": of.kind, **_fit_reading(column, of)}
    values = _values(column, reading)
    missing = bool(values.isna().any())
    median = float(values.median()) if values.notna().any() else 0.0
    filled = values.fillna(median) if missing else values
    mean, sd = (0.0, 1.0) if of.kind == "flag" else (float(filled.mean()), float(filled.std(ddof=0)))
    sd = sd if filled.min() < filled.max() else 0.0  # the computed sd of equal numbers can be a rounding error
    return {"name": of.name, "median": median, "mean": mean, "sd": sd, "missing": missing, **reading}


def _fit_reading(column: pd.Series, of: Column) -> dict[str, Any]:
    """What it takes to read cells as numbers, beyond reading numbers."""
    if of.kind == "date":
        form = written(column)
        first = moments(column, form).min()
        return {
            "format": form,
            "first": date.fromordinal(date(1970, 1, 1).toordinal() + int(first // 1 if first == first else 0)).isoformat(),
        }
    if of.kind == "ordered" and not of.order:
        return {"levels": natural(names_of(column.drop_duplicates()).dropna().tolist()) or []}
    return {"levels": list(of.order)} if of.order else {}


def _values(column: pd.Series, entry: Mapping[str, Any]) -> pd.Series:
    """Cells as numbers, float64; missing where they are none."""
    if entry["kind"] == "date":
        return moments(column, entry["format"]) - (date.fromisoformat(entry["first"]) - date(1970, 1, 1)).days
    if "levels" not in entry:
        return numbers(column)
    places = _places(column, entry)
    return pd.Series(np.where(places < 0, np.nan, places), index=column.index)


def _fit_levels(column: pd.Series) -> dict[str, Any]:
    places, names = coded(column)
    counts = pd.DataFrame({"level": pd.array(names, dtype="str"), "n": np.bincount(places[places >= 0], minlength=len(names))})
    ranked = counts.sort_values(["n", "level"], ascending=[False, True])["level"]
    other = len(ranked) > MOST_LEVELS
    levels = sorted(ranked[: MOST_LEVELS - 1] if other else ranked)
    return {"name": str(column.name), "kind": "category", "levels": levels, "missing": bool((places < 0).any()), "other": other}


def features(entry: Mapping[str, Any]) -> list[str]:
    """Names of the features of one column; the number itself is none if it does not vary."""
    name = entry["name"]
    indicator = [f"{name} is missing"] if entry["missing"] else []
    if entry["kind"] == "category":
        return [f"{name} = {level}" for level in entry["levels"]] + ([f"{name} = (other)"] if entry["other"] else []) + indicator
    said = f"{name} (days since {entry['first']})" if entry["kind"] == "date" else name
    return ([said] if entry["sd"] > 0 else []) + indicator


def encode(frame: pd.DataFrame, encoding: Mapping[str, Any]) -> np.ndarray:
    """Return x of any rows with these raw columns, (N, d) float32, features in the order of `encoding["features"]`.

    A category that no training row had is all zeros, or counts as one of the others where there is such a feature.

    Raises:
        BadInput: a column is not there, or the encoding is not one of a table.
    """
    if encoding.get("kind") != "table":
        raise BadInput("These rows are not of a table; their encoding is another. Choose the data set that the encoding belongs to.")
    absent = [entry["name"] for entry in encoding["columns"] if entry["name"] not in frame.columns]
    if absent:
        raise BadInput(f"The column {absent[0]!r} is not in the table, and the model needs it. {nearest(absent[0], frame.columns)}")
    x = np.zeros((len(frame), len(encoding["features"])), dtype=np.float32)
    read = [
        _places(frame[e["name"]], e) if e["kind"] == "category" else _values(frame[e["name"]], e).to_numpy() for e in encoding["columns"]
    ]
    widths = [len(features(entry)) for entry in encoding["columns"]]
    for first in range(0, len(frame), BLOCK):
        rows, start = slice(first, first + BLOCK), 0
        for entry, cells, width in zip(encoding["columns"], read, widths, strict=True):
            fill = _fill_levels if entry["kind"] == "category" else _fill_numbers
            fill(x[rows, start : start + width], cells[rows], entry)
            start += width
    return x


def _places(column: pd.Series, entry: Mapping[str, Any]) -> np.ndarray:
    """Place of each cell's level, (N,) int32; UNKNOWN where no training row had it, MISSING where it is missing."""
    cells, names = coded(column)
    known = pd.Index(entry["levels"], dtype="str").get_indexer(pd.Index(names, dtype="str"))
    known = np.where(known < 0, len(entry["levels"]) if entry.get("other") else UNKNOWN, known)
    return np.append(known, MISSING).astype(np.int32)[cells]


def _fill_numbers(x: np.ndarray, values: np.ndarray, entry: Mapping[str, Any]) -> None:
    missing = np.isnan(values)
    if entry["sd"] > 0:
        x[:, 0] = ((np.where(missing, entry["median"], values) if missing.any() else values) - entry["mean"]) / entry["sd"]
    if entry["missing"]:
        x[:, -1] = missing


def _fill_levels(x: np.ndarray, places: np.ndarray, entry: Mapping[str, Any]) -> None:
    known = np.flatnonzero(places >= 0)
    x[known, places[known]] = 1
    if entry["missing"]:
        x[:, -1] = places == MISSING
