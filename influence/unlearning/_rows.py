"""Which rows go and which stay: the refusals that all unlearning methods share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from influence.errors import BadInput
from influence.types import Examples, Selection, Trained


def parted(trained: Trained, train: Examples, selection: Selection) -> tuple[Examples, Examples]:
    """Return the retained and the forget rows; rows that the model is already without are in neither.

    Raises:
        BadInput: the selection is empty, is not to remove, names unknown rows or only rows already removed, or leaves a class empty.
    """
    if selection.action != "remove":
        raise BadInput(f"Unlearning removes rows; this selection is to {selection.action} them. Make a selection that removes rows.")
    if not len(selection):
        raise BadInput("The selection is empty. Choose at least one row to forget.")
    wanted = left(trained, selection)
    if not wanted:
        raise BadInput(f"All {len(selection):,} selected rows were already removed from this model. Choose rows that it was trained on.")
    forget = train.mask(wanted)
    retained = ~forget & ~pd.Index(train.ids).isin(list(trained.removed))
    _enough(train, forget, retained)
    return train.take(retained), train.take(forget)


def left(trained: Trained, selection: Selection) -> tuple[Any, ...]:
    """Return the selected ids that the model is not already without, in the selection's order."""
    gone = set(trained.removed)
    return tuple(i for i in selection.ids if i not in gone)


def _enough(train: Examples, forget: np.ndarray, retained: np.ndarray) -> None:
    if retained.sum() < 2:
        raise BadInput(f"Only {int(retained.sum())} training rows would remain; at least two are needed. Select fewer rows.")
    if not train.classes:
        return
    before, after = (np.bincount(train.y[rows], minlength=len(train.classes)) for rows in (forget | retained, retained))
    for name, had, has in zip(train.classes, before, after, strict=True):
        if had and not has:
            raise BadInput(
                f"All {had:,} training rows of class {name!r} would be removed, and a model cannot keep a class of which it sees no row. "
                "Leave at least one of them, or leave the class out when loading the data."
            )
