"""Make a data set of a table: who plays which part, which rows play which role, and what the model sees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from influence.data.choices import Choices
from influence.data.dataset import ROLES, Dataset
from influence.data.encoding import encode, fit_encoding
from influence.data.groups import refuse_groupless
from influence.data.rows import Rows, gather
from influence.data.schema import USABLE, Column, infer, numbers, plain
from influence.data.split import TRAIN, refuse_empty
from influence.data.target import Target, Task, fit_target
from influence.errors import BadInput
from influence.types import Examples

MOST_X_BYTES = 8_000_000_000
LARGEST = 1e30
"""Beyond it, standardised numbers overflow float32."""


def prepare(
    frame: pd.DataFrame,
    *,
    target: str,
    protected: Iterable[str] = (),
    audit: Iterable[str] = (),
    drop: Iterable[str] = (),
    id: str = "",
    split: str = "",
    evaluation_frame: pd.DataFrame | None = None,
    test_share: float = 0.2,
    seed: int = 0,
    name: str = "table",
    source: Mapping[str, Any] | None = None,
    task: Task = "auto",
) -> Dataset:
    """Return the data set of a table.

    Args:
        frame: the table, one row per example.
        target: the column to predict. A numeric target's y is standardised to mean 0 and sd 1 of the training rows, kept in
            `encoding["target"]`, so that step sizes suit every unit; its raw values stand in `Examples.columns`.
        protected: columns that define groups; they are inputs unless dropped as well.
        audit: columns for people and finders, never inputs.
        drop: columns to leave out.
        id: a column of distinct ids; rows are numbered from 0 if there is none. Every draw is keyed by (seed, id).
        split: a column that says train and test, or train, validation and test, or train, evaluation and holdout.
        evaluation_frame: a second table whose rows are the test rows, with ids of its own; all rows of the first are training rows.
        test_share: without `split` and `evaluation_frame`, the probability of being a test row. Test rows are halved.
        seed: key of the split.
        name: what the data set is called.
        source: JSON, where it comes from (`influence.data.read.fingerprint`).
        task: "classes" or "number"; "auto" takes whole numbers with at most 20 distinct values as classes.

    Raises:
        BadInput: a choice or the table cannot be used; the message says why and what to do.
    """
    choices = Choices(target, tuple(protected), tuple(audit), tuple(drop), id, split)
    table = plain(frame)
    choices.check(table)
    columns = {column.name: column for column in infer(table)}
    every = gather(table, evaluation_frame, choices, columns)
    _refuse_extreme(every.table[choices.shown(every.table)], columns)
    rows = every.take(every.table[target].notna().to_numpy())
    roles = rows.roles(split, test_share, seed)
    goal = fit_target(rows.table[target], roles == TRAIN, columns[target], task)
    refuse_empty(roles)
    refuse_groupless(rows.table, roles, choices, columns)
    encoding = _encoding(rows.table, roles == TRAIN, choices, columns) | {"target": goal.described()}
    train, evaluation, holdout = (_examples(rows, roles == role, choices, goal, encoding) for role in range(len(ROLES)))
    return Dataset(
        name,
        train,
        evaluation,
        holdout,
        target=target,
        protected=choices.protected,
        audit=choices.audit,
        encoding=encoding,
        columns=_described(choices, columns, encoding),
        source=dict(source or {"name": name}),
        notes=_notes(choices, columns, encoding, len(every.ids) - len(rows.ids)),
    )


def _refuse_extreme(table: pd.DataFrame, columns: Mapping[str, Column]) -> None:
    for name in (name for name in table if columns[name].kind == "numeric" or pd.api.types.is_float_dtype(table[name])):
        extreme = numbers(table[name]).abs().to_numpy() > LARGEST
        if extreme.any():
            first = int(extreme.argmax())
            raise BadInput(
                f"{name!r} is infinite or too large in {int(extreme.sum())} rows, first in row {first} ({table[name][first]}); "
                f"numbers must lie within {LARGEST:.0e}. Correct the cells, or empty them."
            )


def _encoding(table: pd.DataFrame, train: np.ndarray, choices: Choices, columns: Mapping[str, Column]) -> dict[str, Any]:
    inputs = choices.candidates(table)
    encoding = fit_encoding(table.loc[train, inputs], [columns[name] for name in inputs])
    if not encoding["features"]:
        raise BadInput(
            "No column is left as an input; numbers, categories or flags are needed (free text is not supported in tables). "
            f"Columns: {', '.join(f'{c.name} ({c.kind})' for c in list(columns.values())[:8])}. Leave out fewer, or choose another table."
        )
    size = 4 * len(table) * len(encoding["features"])
    if size > MOST_X_BYTES:
        raise BadInput(
            f"The inputs would take {size / 1e9:.0f} GB; at most {MOST_X_BYTES / 1e9:.0f} GB fit. Leave out columns, or take a sample."
        )
    return encoding


def _examples(rows: Rows, mask: np.ndarray, choices: Choices, goal: Target, encoding: Mapping[str, Any]) -> Examples:
    table = rows.table.loc[mask, choices.shown(rows.table)].reset_index(drop=True)
    return Examples(encode(table, encoding), goal.y(table[goal.name]), rows.ids[mask], table, goal.classes)


def _described(choices: Choices, columns: Mapping[str, Column], encoding: Mapping[str, Any]) -> list[dict[str, Any]]:
    inputs = {entry["name"] for entry in encoding["columns"]}
    return [asdict(column) | {"part": choices.part(name), "input": name in inputs} for name, column in columns.items()]


def _notes(choices: Choices, columns: Mapping[str, Column], encoding: Mapping[str, Any], unlabelled: int) -> str:
    """Sentences on what was left out without being asked."""
    inputs = {entry["name"] for entry in encoding["columns"]}
    unused = [columns[name] for name in choices.candidates(columns) if name not in inputs]
    sentences = [f"{unlabelled:,} rows without a value of {choices.target} were left out."] if unlabelled else []
    if unused:
        reasons = ", ".join(f"{c.name} ({c.kind if c.kind not in USABLE else 'one value in training'})" for c in unused)
        sentences.append(f"Not inputs of the model: {reasons}.")
    return " ".join(sentences)
