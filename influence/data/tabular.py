"""Make a data set of a table: who plays which part, which rows play which role, and what the model sees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from influence.data.choices import Choices
from influence.data.dataset import ROLES, Dataset
from influence.data.encoding import encode, fit_encoding
from influence.data.groups import refuse_groupless
from influence.data.kinds import FOR_TARGETS, corrected
from influence.data.rows import gather
from influence.data.schema import Column, in_rows, infer, numbers, plain
from influence.data.split import TRAIN, refuse_empty
from influence.data.stated import BROUGHT, fitting, target_of
from influence.data.target import Target, Task, fit_target
from influence.errors import BadInput
from influence.types import Examples

MOST_X_BYTES = 8_000_000_000
ASIDE = {
    "weight": "Kept for people as weights, and neither inputs nor used in training: {}.",
    "leak": "Left out of the inputs, since they give the target away: {}.",
}
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
    kinds: Mapping[str, str] | None = None,
    encoding: Mapping[str, Any] | None = None,
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
        source: JSON, where it comes from.
        task: "classes" or "number"; "auto" takes whole numbers with at most 20 distinct values as classes.
        kinds: what columns are, by name, where that is not what their cells suggest (`influence.data.kinds`).
        encoding: preprocessing that is used as it is instead of being fitted (`influence.data.stated`).

    Raises:
        BadInput: a choice or the table cannot be used; the message says why and what to do.
    """
    choices = Choices(target, tuple(protected), tuple(audit), tuple(drop), id, split, dict(kinds or {}))
    told, table = str(frame.attrs.get("note", "")), plain(frame)
    try:
        choices.check(table)
    except BadInput as error:  # the column may stand in another sheet
        raise BadInput(f"{error} {told}".strip()) from None
    columns = corrected({column.name: column for column in infer(table)}, choices.kinds, table)
    every = gather(table, evaluation_frame, choices, columns)
    _refuse_extreme(every.table[choices.shown(every.table)], columns)
    rows = every.labelled(target)
    roles = rows.roles(split, test_share, seed)
    goal = target_of(encoding or {}, target, rows.table[target])
    goal = goal or fit_target(rows.table[target], roles == TRAIN, columns[target], _task(task, choices))
    refuse_empty(roles)
    refuse_groupless(rows.table, roles, choices, columns)
    fitted = fitting(encoding, rows.table, choices) if encoding else _encoding(rows.table, roles == TRAIN, choices, columns)
    encoding = _bounded(fitted, len(rows.ids)) | {"target": goal.described()}
    shown, ids, n = {name: rows.table[name] for name in choices.shown(rows.table)}, rows.ids, len(every.ids)
    del frame, table, every, rows  # so that each column is let go of when it is divided, where nobody else holds the table
    tables = _by_role(shown, roles)
    train, evaluation, holdout = (_examples(tables[role], ids[roles == role], goal, encoding) for role in range(len(ROLES)))
    return Dataset(
        name,
        train,
        evaluation,
        holdout,
        target=target,
        protected=choices.protected,
        audit=choices.audits,
        encoding=encoding,
        columns=_described(choices, columns, encoding),
        source=dict(source or {"name": name}),
        notes=" ".join(filter(None, [told, _notes(choices, columns, encoding, n - len(ids))])),
    )


def _refuse_extreme(table: pd.DataFrame, columns: Mapping[str, Column]) -> None:
    for name in (name for name in table if columns[name].kind == "numeric" or pd.api.types.is_float_dtype(table[name])):
        extreme = numbers(table[name]).abs().to_numpy() > LARGEST
        if extreme.any():
            first = int(extreme.argmax())
            raise BadInput(
                f"{name!r} is infinite or too large in {in_rows(int(extreme.sum()))}, first in row {first} ({table[name][first]}); "
                f"numbers must lie within {LARGEST:.0e}. Correct the cells, or empty them."
            )


def _encoding(table: pd.DataFrame, train: np.ndarray, choices: Choices, columns: Mapping[str, Column]) -> dict[str, Any]:
    inputs = choices.candidates(table)
    encoding = fit_encoding(table, [columns[name] for name in inputs], train)
    if not encoding["features"]:
        text = next((name for name in inputs if columns[name].kind == "text"), "")
        mend = f"{text!r} holds free text: name it as the column of texts (--text {text})" if text else "Leave out fewer"
        raise BadInput(
            "No column is left as an input; numbers, categories or flags are needed. "
            f"Columns: {', '.join(f'{c.name} ({c.kind})' for c in list(columns.values())[:8])}. {mend}, or choose another table."
        )
    return encoding


def _bounded(encoding: dict[str, Any], rows: int) -> dict[str, Any]:
    size = 4 * rows * len(encoding["features"])
    if size > MOST_X_BYTES:
        raise BadInput(
            f"The inputs would take {size / 1e9:.0f} GB; at most {MOST_X_BYTES / 1e9:.0f} GB fit. Leave out columns, or take a sample."
        )
    return encoding


def _task(task: Task, choices: Choices) -> Task:
    given = choices.kinds.get(choices.target, "")
    return FOR_TARGETS[given] if given else task


def _by_role(columns: dict[str, pd.Series], roles: np.ndarray) -> list[pd.DataFrame]:
    """Divide the columns, which are taken out of their mapping one by one."""
    places = [np.flatnonzero(roles == role) for role in range(len(ROLES))]
    parts: list[dict[str, Any]] = [{} for _ in places]
    for name in list(columns):
        values = columns.pop(name).array
        for part, rows in zip(parts, places, strict=True):
            part[name] = values.take(rows)
    return [pd.DataFrame(part, index=pd.RangeIndex(len(rows)), copy=False) for part, rows in zip(parts, places, strict=True)]


def _examples(table: pd.DataFrame, ids: np.ndarray, goal: Target, encoding: Mapping[str, Any]) -> Examples:
    return Examples(encode(table, encoding), goal.y(table[goal.name]), ids, table, goal.classes)


def _described(choices: Choices, columns: Mapping[str, Column], encoding: Mapping[str, Any]) -> list[dict[str, Any]]:
    inputs = {entry["name"] for entry in encoding["columns"]}
    return [column.described() | {"part": choices.part(name), "input": name in inputs} for name, column in columns.items()]


def _notes(choices: Choices, columns: Mapping[str, Column], encoding: Mapping[str, Any], unlabelled: int) -> str:
    """Sentences on what was left out without being asked."""
    inputs = {entry["name"] for entry in encoding["columns"]}
    unused = [columns[name] for name in choices.candidates(columns) if name not in inputs]
    sentences = [BROUGHT] if "brought" in encoding else []
    sentences += [f"{unlabelled:,} rows without a value of {choices.target} were left out."] if unlabelled else []
    if unused:
        one = "not in the preprocessing" if "brought" in encoding else "one value in training"
        reasons = ", ".join(f"{c.name} ({one if c.usable else c.kind})" for c in unused)
        sentences.append(f"Not inputs of the model: {reasons}.")
    for part, sentence in ASIDE.items():
        named = [name for name in columns if choices.part(name) == part]
        sentences += [sentence.format(", ".join(named))] if named else []
    return " ".join(sentences)
