"""Make a data set of a table with texts: who plays which part, which rows play which role, and into which tokens each text is cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from influence.data.choices import Choices
from influence.data.dataset import ROLES, Dataset
from influence.data.groups import refuse_groupless
from influence.data.kinds import FOR_TARGETS, corrected
from influence.data.rows import Rows, gather
from influence.data.schema import Column, infer, plain
from influence.data.split import TRAIN, refuse_empty
from influence.data.stated import target_of
from influence.data.target import Target, fit_target
from influence.data.text import notes
from influence.data.text.settings import Reading
from influence.data.text.tokens import chosen_length, fitted, stated, texts_of, tokenizer_of
from influence.errors import BadInput
from influence.types import Examples

MOST_BYTES = 8_000_000_000


def prepare_texts(
    frame: pd.DataFrame,
    *,
    target: str,
    reading: Reading,
    protected: Iterable[str] = (),
    audit: Iterable[str] = (),
    drop: Iterable[str] = (),
    id: str = "",
    split: str = "",
    evaluation_frame: pd.DataFrame | None = None,
    test_share: float = 0.2,
    seed: int = 0,
    name: str = "texts",
    source: Mapping[str, Any] | None = None,
    kinds: Mapping[str, str] | None = None,
    encoding: Mapping[str, Any] | None = None,
) -> Dataset:
    """Return the data set of a table with texts: x is (N, T) int64 token ids, 0 for no token; all other columns are for people.

    Args:
        frame: the table, one row per example.
        target: the column to predict, as in `influence.data.tabular.prepare`, which says what the other arguments are too.
        reading: the column of texts, and how they are cut into tokens. A vocabulary is that of the training rows; it is kept with the data
            set, so that other rows are read by it.
        protected: columns that define groups. The model sees texts alone.
        audit: columns that define groups, too.
        drop: columns to leave out.
        id: a column of distinct ids.
        split: a column that says train and test.
        evaluation_frame: a second table with the test rows.
        test_share: the probability of being a test row.
        seed: key of the split.
        name: what the data set is called.
        source: JSON, where it comes from.
        kinds: what columns are, by name.
        encoding: how a model that is brought reads texts, instead of what is fitted: `tokenizer`, and perhaps `length` and `target`.

    Raises:
        BadInput: a choice or the table cannot be used; the message says why and what to do.
    """
    choices = Choices(target, tuple(protected), tuple(audit), tuple(drop), id, split, dict(kinds or {}))
    table = plain(frame)
    choices.check(table)
    _refuse_column(reading.text, table, choices)
    columns = corrected({column.name: column for column in infer(table)}, choices.kinds, table)
    every = gather(table, evaluation_frame, choices, columns)
    rows = every.labelled(target)
    roles = rows.roles(split, test_share, seed)
    goal = target_of(encoding or {}, target, rows.table[target]) or _target(rows.table[target], roles == TRAIN, columns[target], choices)
    refuse_empty(roles)
    refuse_groupless(rows.table, roles, choices, columns)
    texts = texts_of(rows.table[reading.text])
    x, made, told = _read(reading, texts, roles == TRAIN, encoding)
    out = len(every.ids) - len(rows.ids)
    remarks = [
        str(frame.attrs.get("note", "")),
        told,
        notes.copies(texts, rows.table[target].to_numpy(), roles == TRAIN),
        f"{out:,} rows without a value of {target} were left out." if out else "",
    ]
    train, evaluation, holdout = (_examples(rows, x, roles == role, choices, goal) for role in range(len(ROLES)))
    return Dataset(
        name,
        train,
        evaluation,
        holdout,
        target=target,
        protected=choices.protected,
        audit=choices.audits,
        encoding=made | {"target": goal.described()},
        columns=[asdict(column) | _part(column, choices, reading.text) for column in columns.values()],
        source=dict(source or {"name": name}),
        notes=" ".join(filter(None, remarks)),
    )


def _target(values: pd.Series, train: np.ndarray, column: Column, choices: Choices) -> Target:
    given = choices.kinds.get(choices.target, "")
    return fit_target(values, train, column, FOR_TARGETS[given] if given else "auto")


def _refuse_column(text: str, table: pd.DataFrame, choices: Choices) -> None:
    if text not in table:
        raise BadInput(f"The text column {text!r} is not a column of the table. There are: {', '.join(list(table.columns)[:20])}.")
    part = choices.part(text)
    if part != "input":
        raise BadInput(f"{text!r} is chosen as text and as {part}; it can be only one. Choose another column.")
    if not any(texts_of(table[text])):
        raise BadInput(f"The text column {text!r} is empty in every row. Choose another.")


def _read(
    reading: Reading, texts: Sequence[str], train: np.ndarray, brought: Mapping[str, Any] | None
) -> tuple[np.ndarray, dict[str, Any], str]:
    """Return the texts (N,) as ids (N, T), how they became that as JSON, and a sentence on it.

    `fitted`: it holds words of training rows; `brought`: of which rows is not known here.
    """
    told = stated(brought) if brought else {}
    tokenizer = tokenizer_of(told["tokenizer"]) if told else fitted(reading, [t for t, mine in zip(texts, train, strict=True) if mine])
    lengths = tokenizer.lengths(texts)
    length = told.get("length") or chosen_length(reading, lengths, train)
    _refuse_large(len(texts), length)
    made = {"kind": "text", "column": reading.text, "length": length, "vocabulary": tokenizer.size, "fitted": True}
    made |= {"brought": True} if told or reading.tokenizer else {}
    made |= {"tokenizer": tokenizer.described()}
    return tokenizer.ids(texts, length), made, notes.read(made, texts, lengths)


def _refuse_large(rows: int, length: int) -> None:
    if 8 * rows * length > MOST_BYTES:
        raise BadInput(
            f"{rows:,} texts of {length:,} tokens would take {8 * rows * length / 1e9:,.0f} GB; at most {MOST_BYTES / 1e9:.0f} GB fit. "
            "Choose a smaller length, or take a sample."
        )


def _examples(rows: Rows, x: np.ndarray, mask: np.ndarray, choices: Choices, goal: Target) -> Examples:
    table = rows.table.loc[mask, choices.shown(rows.table)].reset_index(drop=True)
    return Examples(x[mask], goal.y(table[goal.name]), rows.ids[mask], table, goal.classes)


def _part(column: Column, choices: Choices, text: str) -> dict[str, Any]:
    part = choices.part(column.name)
    if column.name == text:
        return {"part": "text", "input": True}
    return {"part": "shown" if part == "input" else part, "input": False}
