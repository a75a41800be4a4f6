"""Which rows go, which stay, and which get other labels: the refusals that all unlearning methods share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from influence.errors import BadInput
from influence.groups import named
from influence.types import Examples, Selection, Trained, as_places

ONLY_REMOVES = "This method only removes rows; the selection is to {action} them. Choose retrain or influence_step, or remove them."
"""Why a method that does not say that it `relabels` refuses rows with new labels."""
ALREADY = "All {n:,} selected rows were already removed from this model. Choose rows that it was trained on."


def parted(trained: Trained, train: Examples, selection: Selection) -> tuple[Examples, Examples]:
    """Return the retained and the forget rows; rows that the model is already without are in neither.

    Raises:
        BadInput: as of `sides`.
    """
    retained, forget = sides(trained, train, selection)
    return train.take(retained), train.take(forget)


def sides(trained: Trained, train: Examples, selection: Selection) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows are retained and which are to be forgotten, (N,) bool each.

    Raises:
        BadInput: the selection is empty, is not to remove, names unknown rows or only rows already removed, or leaves fewer than two
            classes.
    """
    if selection.action != "remove":
        raise BadInput(ONLY_REMOVES.format(action=selection.action))
    if not len(selection):
        raise BadInput("The selection is empty. Choose at least one row to forget.")
    wanted = left(trained, selection)
    if not wanted:
        raise BadInput(ALREADY.format(n=len(selection)))
    forget = train.mask(wanted)
    retained = ~forget & ~pd.Index(train.ids).isin(list(trained.removed))
    _enough(train, retained)
    return retained, forget


def relabelled(trained: Trained, train: Examples, selection: Selection) -> Examples:
    """Return all training rows, those selected with their new labels; a number as `train.y` has it.

    Raises:
        BadInput: the selection is empty, names unknown rows or only rows already removed, or has not one new label for each row; a label
            is no class or no number, or is what the row has now; or fewer than two classes would remain.
    """
    if not len(selection):
        raise BadInput("The selection is empty. Choose at least one row to relabel.")
    if len(selection.labels) != len(selection):
        raise BadInput(f"{len(selection):,} rows are to be relabelled and {len(selection.labels):,} labels are given. Give one for each.")
    if not left(trained, selection):
        raise BadInput(f"All {len(selection):,} selected rows were removed from this model. Choose rows that it was trained on.")
    train.mask(selection.ids)
    new, at = _as_y(train, selection.labels), as_places(selection.ids, train.ids)
    same = np.flatnonzero(new == train.y[at])
    if len(same):
        first = same[0]
        raise BadInput(
            f"{len(same):,} of {len(selection):,} rows have that label already, for example row {selection.ids[first]!r} the label "
            f"{selection.labels[first]!r}. Leave them out."
        )
    y = train.y.copy()
    y[at] = new
    _enough(replace(train, y=y), ~np.isin(train.ids, list(trained.removed)))
    return replace(train, y=y)


def _as_y(train: Examples, labels: Sequence[Any]) -> np.ndarray:
    if train.classes:
        known = {name: k for k, name in enumerate(train.classes)}
        unknown = [label for label in labels if str(label) not in known]
        if unknown:
            raise BadInput(f"{unknown[0]!r} is none of the classes: {named(train.classes)}. Choose one of them.")
        return np.array([known[str(label)] for label in labels], dtype=train.y.dtype)
    found = pd.to_numeric(pd.Series(list(labels), dtype=object), errors="coerce").to_numpy(float)
    if not np.isfinite(found).all():
        wrong = labels[int(np.flatnonzero(~np.isfinite(found))[0])]
        raise BadInput(f"The target is a number, and the new label {wrong!r} is none. Give each row a number.")
    return found.astype(train.y.dtype)


def gone(trained: Trained, selection: Selection) -> tuple[Any, ...]:
    """Return the ids that the model does without once the selection is dealt with; rows with other labels stay."""
    return (*trained.removed, *(left(trained, selection) if selection.action == "remove" else ()))


def left(trained: Trained, selection: Selection) -> tuple[Any, ...]:
    """Return the selected ids that the model is not already without, in the selection's order."""
    return selection.without(trained.removed).ids


def _enough(train: Examples, retained: np.ndarray) -> None:
    """Refuse a removal that leaves nothing to tell apart; a class may go whole: its output stays, and nothing trains it.

    Raises:
        BadInput: fewer than two rows or two classes would remain.
    """
    if retained.sum() < 2:
        raise BadInput(f"Only {int(retained.sum())} training rows would remain; at least two are needed. Select fewer rows.")
    if not train.classes:
        return
    left = np.unique(train.y[retained])
    if len(left) < 2:
        raise BadInput(
            f"Only rows of class {train.classes[left[0]]!r} would remain, and a model needs two classes to tell apart. "
            "Leave some rows of another class."
        )
