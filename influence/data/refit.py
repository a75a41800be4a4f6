"""Preprocessing fitted again as if training rows had never been there: scaling, categories, the vocabulary of texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd

from influence.data.dataset import ROLES, Dataset
from influence.data.encoding import encode, fit_encoding
from influence.data.schema import Column, infer
from influence.data.target import Target, fit_target
from influence.data.text.settings import Reading
from influence.data.text.tokens import chosen_length, fitted, texts_of, tokenizer_of
from influence.errors import BadInput
from influence.types import Examples

WAYS = ("table", "text")
UNUSED = ("constant", "empty")
"""Kinds of column that no encoding has, however they came to be so."""


def is_fitted(encoding: Mapping[str, Any]) -> bool:
    """Whether anything of how rows become inputs was taken from training rows."""
    return encoding.get("kind") == "table" or bool(encoding.get("fitted"))


def refusal(encoding: Mapping[str, Any], ways: Sequence[str] = WAYS) -> str:
    """Return why preprocessing that was fitted cannot be fitted again, or nothing; `ways`: kinds of which it can."""
    if "brought" not in encoding and encoding["kind"] in ways:
        return ""
    what = "was brought, not fitted here" if "brought" in encoding else f"is of {encoding['kind']}"
    return f"The preprocessing of these data {what}, so that it cannot be fitted without rows. Choose preprocessing kept."


def refitted(dataset: Dataset, removed: Iterable[Any], reading: Reading | None = None) -> Dataset:
    """Return the data set with everything that is fitted on training rows fitted without those that are `removed` (ids).

    All rows stay where they are, the removed ones too, read by the new preprocessing. Features that only removed rows had are gone, so that
    inputs may be narrower. Classes and kinds of columns stay; `misread` says which kinds the removed rows decided. `reading`: what was
    chosen of how texts are read.

    Raises:
        BadInput: the preprocessing was brought, or is of images; or too little is left to fit it on.
    """
    encoding = dataset.encoding
    if not is_fitted(encoding):
        return dataset
    if reason := refusal(encoding, WAYS if reading is not None else WAYS[:1]):
        raise BadInput(reason)
    left = ~dataset.train.mask(removed)
    goal = _target(dataset, left)
    made = _of_table(dataset, left) if encoding["kind"] == "table" else _of_texts(dataset, left, reading)
    made |= {"target": goal.described()}
    train, evaluation, holdout = (_read(dataset.split(role), made, goal) for role in ROLES)
    return replace(dataset, train=train, evaluation=evaluation, holdout=holdout, encoding=made)


def misread(dataset: Dataset, removed: Iterable[Any]) -> list[str]:
    """Return the inputs of a table whose kind of column only the removed rows decided; not those whose kind a person said."""
    if dataset.encoding.get("kind") != "table":
        return []
    asked = [entry["name"] for entry in dataset.columns if entry["input"] and not entry.get("chosen")]
    tables = [dataset.split(role).columns[asked] for role in ROLES]
    left = [tables[0][~dataset.train.mask(removed)], *tables[1:]]
    before, after = ({c.name: c.kind for c in infer(pd.concat(parts, ignore_index=True))} for parts in (tables, left))
    return [name for name in asked if after[name] not in (before[name], *UNUSED)]


def _target(dataset: Dataset, left: np.ndarray) -> Target:
    told = dataset.encoding["target"]
    if dataset.train.classes:
        return Target(told["name"], dataset.train.classes)
    values = dataset.train.columns[told["name"]]
    return fit_target(values, left, next(iter(infer(values.to_frame()))), "number")


def _of_table(dataset: Dataset, left: np.ndarray) -> dict[str, Any]:
    known = {field.name for field in fields(Column)}
    given = [{name: value for name, value in entry.items() if name in known} for entry in dataset.columns if entry["input"]]
    columns = [Column(**{**entry, "order": tuple(entry.get("order", ()))}) for entry in given]
    made = fit_encoding(dataset.train.columns, columns, left)
    if not made["features"]:
        raise BadInput("Without these rows no input varies any more, so that nothing could be learnt. Select fewer rows.")
    return made


def _of_texts(dataset: Dataset, left: np.ndarray, reading: Reading | None) -> dict[str, Any]:
    assert reading is not None
    column = dataset.encoding["column"]
    texts = [text for role in ROLES for text in texts_of(dataset.split(role).columns[column])]
    train = np.concatenate([left, np.zeros(len(texts) - len(left), dtype=bool)])
    tokenizer = fitted(reading, [text for text, mine in zip(texts, train, strict=True) if mine])
    length = chosen_length(reading, tokenizer.lengths(texts), train)
    size = {"length": length, "vocabulary": tokenizer.size, "tokenizer": tokenizer.described()}
    return {name: size.get(name, value) for name, value in dataset.encoding.items()}


def _read(rows: Examples, encoding: Mapping[str, Any], goal: Target) -> Examples:
    if encoding["kind"] == "table":
        x = encode(rows.columns, encoding)
    else:
        x = tokenizer_of(encoding["tokenizer"]).ids(texts_of(rows.columns[encoding["column"]]), encoding["length"])
    return replace(rows, x=x, y=goal.y(rows.columns[goal.name]))
