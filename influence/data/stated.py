"""Preprocessing that a person brings, in the form in which fitted one is kept (`influence.data.encoding`): checked, then used as it is.

    {"kind": "table",
     "columns": [{"name": "age", "kind": "numeric", "mean": 38.6, "sd": 13.6, "median": 37, "missing": false},
                 {"name": "work", "kind": "category", "levels": ["Private", "State-gov"], "missing": true, "other": false}],
     "target": {"name": "income", "kind": "classes", "classes": ["<=50K", ">50K"]}}

Columns stand in the order of the model's inputs. `target` may be left out; then it is fitted as usual.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from influence.data.choices import Choices
from influence.data.dates import ISO
from influence.data.encoding import features
from influence.data.schema import in_rows, names_of, nearest, numbers
from influence.data.target import MOST_CLASSES, Target
from influence.errors import BadInput
from influence.groups import named

MOST_BYTES = 50_000_000
LARGEST = 1e30
LONG = 1e7
"""More than any number of days or levels."""
FORMS = ("", ISO, "%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y")
NUMBER = {"mean": 0.0, "sd": 1.0, "median": None, "missing": False}
"""Fields of a column that becomes one number and what they are if they are left out; the median is then the mean."""
FIELDS: dict[str, dict[str, Any]] = {
    "numeric": NUMBER,
    "flag": {**NUMBER, "levels": None},
    "ordered": {**NUMBER, "levels": ...},
    "date": {**NUMBER, "format": ..., "first": ...},
    "category": {"levels": ..., "missing": False, "other": False},
}
"""Fields by kind of column; `...` must be given, None may be left out."""
BROUGHT = "Preprocessing brought, not fitted: on which rows it was fitted is not known here."


def read_encoding(path: str | Path) -> dict[str, Any]:
    """Return the preprocessing in a JSON file, or in the `model.json` of an exported model.

    Raises:
        BadInput: the file cannot be read, or what it states cannot be used.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(f"{path.name!r} has more than {MOST_BYTES / 1e6:.0f} MB, which no preprocessing needs. Give another file.")
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError):
        raise BadInput(f"{path.name!r} does not exist or is no JSON. Preprocessing is a JSON file; see docs/python.md.") from None
    return stated(found.get("encoding", found) if isinstance(found, Mapping) else found)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def stated(told: Any) -> dict[str, Any]:
    """Return preprocessing with nothing left open, from JSON that somebody wrote.

    Raises:
        BadInput: a part is missing, of the wrong kind or unknown; says which.
    """
    if not isinstance(told, Mapping) or told.get("kind", "table") != "table" or not isinstance(told.get("columns"), list):
        raise BadInput('Preprocessing needs {"kind": "table", "columns": [...]}, with one entry for each column that the model sees.')
    _refuse_unknown(told, ("kind", "columns", "features", "target", "brought"), "The preprocessing")
    columns = [_column(entry) for entry in told["columns"]]
    names = [entry["name"] for entry in columns]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None or not columns:
        raise BadInput(f"The preprocessing names {f'{twice!r} twice' if columns else 'no column'}. Name every column of the model once.")
    made = [feature for entry in columns for feature in features(entry)]
    if told.get("features", made) != made:
        raise BadInput(f"`features` of the preprocessing are not those that its columns make, {', '.join(made[:3])}, … Leave them out.")
    target = {"target": _target(told["target"])} if "target" in told else {}
    return {"kind": "table", "columns": columns, "features": made, **target, "brought": True}


def _refuse_unknown(told: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    unknown = [str(key) for key in told if key not in known]
    if unknown:
        raise BadInput(f"{what[:120]} has {unknown[0][:80]!r}, which is not known; it may have: {', '.join(known)}.")


def _column(told: Any) -> dict[str, Any]:
    if not isinstance(told, Mapping) or not _is_name(told.get("name")):
        raise BadInput(f"Every column of the preprocessing needs a name; one is {str(told)[:80]!r}.")
    name, kind = told["name"], told.get("kind")
    if kind not in FIELDS:
        raise BadInput(f"{name!r} in the preprocessing has the kind {str(kind)[:40]!r}; it must be one of {', '.join(FIELDS)}.")
    _refuse_unknown(told, ("name", "kind", *FIELDS[kind]), f"{name!r} in the preprocessing")
    given = {key: told.get(key, default) for key, default in FIELDS[kind].items()}
    made = {key: _field(name, key, value) for key, value in given.items() if value is not None}
    if "mean" in made:
        made.setdefault("median", made["mean"])
    if made.get("sd") == 0 and not made["missing"]:
        raise BadInput(f"The sd of {name!r} is 0, and numbers can't be divided by it. Give the sd, or leave the column out.")
    return {"name": name, "kind": kind, **made}


def _field(name: str, key: str, value: Any) -> Any:
    """Return one field.

    Raises:
        BadInput: it is missing, or not of its kind.
    """
    allowed = {
        "levels": (_are_names, "a list of different texts"),
        "classes": (_are_names, "a list of different texts, in the order of the model's outputs"),
        "missing": (lambda v: isinstance(v, bool), "true or false"),
        "other": (lambda v: isinstance(v, bool), "true or false"),
        "format": (lambda v: v in FORMS, f"one of {', '.join(map(repr, FORMS))}"),
        "first": (_is_date, "a date such as 2020-12-31"),
        "sd": (lambda v: _is_number(v) and v >= 0, "a finite number, at least 0"),
    }
    fits, needed = allowed.get(key, (_is_number, "a finite number"))
    if value is ... or not fits(value):
        said = "is missing" if value is ... else f"is {str(value)[:60]!r}"
        raise BadInput(f"`{key}` of {name!r} in the preprocessing {said}; it must be {needed}.")
    return float(value) if fits is _is_number or key == "sd" else value


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_name, value)) and len(set(value)) == len(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) <= LARGEST


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _target(told: Any) -> dict[str, Any]:
    if not isinstance(told, Mapping) or not _is_name(told.get("name")) or told.get("kind") not in ("classes", "number"):
        raise BadInput("`target` of the preprocessing needs a name and a kind, classes or number.")
    name = told["name"]
    if told["kind"] == "classes":
        _refuse_unknown(told, ("name", "kind", "classes"), "`target` of the preprocessing")
        classes = _field(name, "classes", told.get("classes", ...))
        if not 2 <= len(classes) <= MOST_CLASSES:
            raise BadInput(f"The target {name!r} has {len(classes)} classes in the preprocessing; 2 to {MOST_CLASSES} are supported.")
        return {"name": name, "kind": "classes", "classes": classes}
    _refuse_unknown(told, ("name", "kind", "mean", "sd"), "`target` of the preprocessing")
    mean, sd = (_field(name, key, told.get(key, ...)) for key in ("mean", "sd"))
    if sd == 0:
        raise BadInput(f"The sd of the target {name!r} is 0; predictions are outputs times sd plus mean. Give 1 if the outputs are.")
    return {"name": name, "kind": "number", "mean": mean, "sd": sd}


def target_of(encoding: Mapping[str, Any], name: str, values: pd.Series) -> Target | None:
    """Return the target that the preprocessing states, or None if it leaves it open.

    Raises:
        BadInput: it is another column, or these labels (N,) are none of its classes or no numbers.
    """
    told = encoding.get("target")
    if told is None:
        return None
    if told["name"] != name:
        raise BadInput(f"The preprocessing is for the target {told['name']!r}; chosen is {name!r}. Choose that, or leave its `target` out.")
    if told["kind"] == "number":
        return Target(name, mean=told["mean"], sd=told["sd"])
    labels = names_of(values)
    strange = labels[~labels.isin(told["classes"])]
    if len(strange):
        raise BadInput(
            f"{name!r} is none of the model's classes ({named(told['classes'])}) in {in_rows(len(strange))}, for example "
            f"{strange.iloc[0]!r}. Correct the cells, or leave the rows out."
        )
    return Target(name, tuple(told["classes"]))


def fitting(encoding: Mapping[str, Any], table: pd.DataFrame, choices: Choices) -> dict[str, Any]:
    """Return the preprocessing, seen to be of this table.

    Raises:
        BadInput: a column is not there, has another part, or none of its cells is what the preprocessing says; or x is not finite.
    """
    for entry in encoding["columns"]:
        name = entry["name"]
        if name not in table:
            raise BadInput(f"The preprocessing needs the column {name!r}, which the table has not. {nearest(name, table.columns)}")
        if name not in choices.candidates(table):
            raise BadInput(f"{name!r} is an input in the preprocessing and chosen as {choices.part(name)} here; it can't be both.")
        _refuse_strange(entry, table[name])
        _refuse_overflow(entry, table[name])
    return dict(encoding)


def _refuse_overflow(entry: Mapping[str, Any], cells: pd.Series) -> None:
    if not entry.get("sd"):
        return
    largest = numbers(cells).abs().max() if entry["kind"] == "numeric" else LONG
    if max(largest if largest == largest else 0.0, abs(entry["median"])) + abs(entry["mean"]) > LARGEST * entry["sd"]:
        raise BadInput(f"The sd of {entry['name']!r} in the preprocessing, {entry['sd']:g}, is far too small for its numbers. Correct it.")


def _refuse_strange(entry: Mapping[str, Any], cells: pd.Series) -> None:
    present = cells.dropna()
    if "levels" in entry:
        known, needed = names_of(present).isin(entry["levels"]), f"one of {', '.join(entry['levels'][:5])}"
        wrong = not known.any() and not entry.get("other")
    else:
        wrong, needed = entry["kind"] != "date" and not numbers(present).notna().any(), "a number"
    if len(present) and wrong:
        raise BadInput(f"No cell of {entry['name']!r} is {needed}, as the preprocessing says; one is {str(present.iloc[0])[:40]!r}.")


def refuse_unused(preprocessing: str, encoding: Mapping[str, Any]) -> None:
    """See that preprocessing which was stated is what a data set came to have.

    Raises:
        BadInput: these data bring their own.
    """
    if preprocessing and "brought" not in encoding:
        raise BadInput("Preprocessing can be stated for a table that is read from a file; these data bring their own. Leave it out.")
