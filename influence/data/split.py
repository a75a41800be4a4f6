"""Which row plays which role: by a column, or by a keyed draw per id, so that removing rows moves no other row."""

from __future__ import annotations

import numpy as np
import pandas as pd

from influence.data.schema import in_rows
from influence.errors import BadInput
from influence.keyed import uniform

TRAIN, EVALUATION, HOLDOUT = 0, 1, 2
"""Places in `influence.data.dataset.ROLES`."""

WORDS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("evaluation", "eval", "validation", "valid", "val", "dev"), EVALUATION),
    **dict.fromkeys(("holdout", "test", "testing"), HOLDOUT),
}
NEEDED = "It must say train and test, or train, validation and test, or train, evaluation and holdout."


def tells_roles(column: pd.Series) -> bool:
    """Say whether `by_column` would take a column."""
    values = column.unique()
    roles = [WORDS.get(str(value).strip().lower()) for value in values[:4]]
    return len(values) in (2, 3) and None not in roles and len(set(roles)) == len(roles) and TRAIN in roles


def says_train(column: pd.Series) -> np.ndarray:
    """Return which rows a column that tells roles calls training rows, (N,) bool."""
    return column.map(lambda value: WORDS.get(str(value).strip().lower()) == TRAIN).to_numpy(dtype=bool)


def by_share(ids: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return a role per id, (N,) int8: each is a test row with probability `share`, and test rows are halved.

    Raises:
        BadInput: the share is not within 0.01 and 0.9.
    """
    if not 0.01 <= share <= 0.9:
        raise BadInput(f"The share of test rows is {share}; it must lie between 0.01 and 0.9. Choose 0.2.")
    test = uniform(seed, "split", ids) < share
    return np.where(test, halved(ids, seed), TRAIN).astype(np.int8)


def halved(ids: np.ndarray, seed: int) -> np.ndarray:
    """Return evaluation or holdout per id of a test row, (N,) int8."""
    return np.where(uniform(seed, "half", ids) < 0.5, EVALUATION, HOLDOUT).astype(np.int8)


def by_column(column: pd.Series, ids: np.ndarray, seed: int) -> np.ndarray:
    """Return a role per row, (N,) int8, from a column that says it in words; a single test part is halved by id.

    Raises:
        BadInput: a cell is missing, or the words are not of one of the known sets.
    """
    words = column.astype("str").str.strip().str.lower()
    if column.isna().any():
        raise BadInput(
            f"The split column {column.name!r} is missing in {in_rows(int(column.isna().sum()))}. {NEEDED} Fill it, or leave the rows out."
        )
    found = sorted(words.unique())
    roles = words.map(WORDS)
    if roles.isna().any() or len(found) not in (2, 3) or roles.nunique() != len(found) or TRAIN not in set(roles):
        raise BadInput(
            f"The split column {column.name!r} says {', '.join(map(repr, found[:6]))}. {NEEDED} Correct it, or choose no split column."
        )
    if len(found) == 2:
        return np.where(roles == TRAIN, TRAIN, halved(ids, seed)).astype(np.int8)
    return roles.to_numpy(dtype=np.int8)


def refuse_empty(roles: np.ndarray) -> None:
    """Refuse a split that leaves a role without rows.

    Raises:
        BadInput: fewer than 10 training rows, or no row to evaluate or to hold out.
    """
    train, evaluation, holdout = np.bincount(roles, minlength=3)
    if train < 10 or not evaluation or not holdout:
        raise BadInput(
            f"The split has {train} training, {evaluation} evaluation and {holdout} holdout rows; at least 10, 1 and 1 are needed. "
            "Choose another share of test rows, another seed, or bring more rows."
        )
