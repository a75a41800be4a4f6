"""Labels corrected instead of rows removed: the data set that the new model stands on, and which labels a run's chain has corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from influence.errors import BadInput
from influence.types import Examples, Selection, as_places

if TYPE_CHECKING:
    from influence.actions._opened import Opened
    from influence.actions._refit import Refit

REMOVALS = "These rows are to be relabelled; this is told of removals alone. Retrain on the Run page to see what the new labels do."
SCALED = "Scaling kept: the target's mean and spread were taken with the old numbers, so the claim is L1."


def to_relabel(rows: Selection, labels: Sequence[Any]) -> Selection:
    """Return the selection with a new label for each row, or one label for all.

    Raises:
        BadInput: there is neither one label nor one for each row.
    """
    if len(labels) not in (1, len(rows)):
        raise BadInput(f"{len(rows):,} rows are to be relabelled and {len(labels):,} labels are given. Give one for each, or one for all.")
    return Selection(rows.ids, "relabel", rows.reason, tuple(labels) if len(labels) == len(rows) else tuple(labels) * len(rows))


def in_models_unit(it: Opened, rows: Selection) -> Selection:
    """Return the selection with labels as the model knows them: numbers standardised as its target is.

    Raises:
        BadInput: a label is no number where the target is one.
    """
    target = it.dataset.encoding.get("target", {})
    if rows.action != "relabel" or it.dataset.train.classes or "sd" not in target:
        return rows
    try:
        return replace(rows, labels=tuple((float(label) - target["mean"]) / target["sd"] for label in rows.labels))
    except (TypeError, ValueError):
        raise BadInput(f"The target {it.dataset.target!r} is a number. Give each row a number as its new label.") from None


def corrected(it: Opened, rows: Selection) -> Refit:
    """Return the run's data with the new labels, in what the model sees and in the target's column, and its model.

    Raises:
        BadInput: the rows cannot be relabelled.
    """
    from influence.actions._refit import Refit
    from influence.unlearning._rows import relabelled

    train = it.dataset.train
    made = relabelled(it.trained, train, in_models_unit(it, rows))
    note = "" if train.classes else SCALED
    columns = _columns(train, it.dataset.target, as_places(rows.ids, train.ids), made.y, rows.labels)
    return Refit(replace(it.dataset, train=replace(made, columns=columns)), it.trained, "L1" if note else "L2", note)


def _columns(train: Examples, target: str, at: np.ndarray, y: np.ndarray, labels: Sequence[Any]) -> pd.DataFrame:
    """Return the columns with new cells of the target: as other rows of the class write it, or the number."""
    if target not in train.columns:
        return train.columns
    column = train.columns[target]
    if train.classes:
        written = {k: column.iloc[int(np.flatnonzero(train.y == k)[0])] for k in np.unique(train.y)}
        cells = [written.get(y[place], train.classes[y[place]]) for place in at]
    else:
        cells = [float(label) for label in labels]
    new = column.astype(object)
    new.iloc[at] = cells
    try:
        typed = new.astype(column.dtype)
        new = typed if (typed.iloc[at].to_numpy() == np.array(cells, dtype=object)).all() else new.infer_objects()
    except (TypeError, ValueError):
        new = new.infer_objects()
    return train.columns.assign(**{target: new})


def old_labels(it: Opened, was: Opened) -> Examples:
    """Return the training rows that have another label in the run's data than the one that its chain began with, with that one.

    Rows removed on the way, too: what is to be forgotten of them is what the first model learned. Not those that it was made without.
    """
    own = it.dataset.train
    if it.run.dataset == was.run.dataset:
        return own.take(np.zeros(len(own), dtype=bool))
    before = was.dataset.train
    old = _read_as(it, was, before.y[as_places(own.ids, before.ids)])
    other = (old != own.y) if own.classes else ~np.isclose(old, own.y, rtol=1e-5, atol=1e-5)
    return replace(own, y=old).take(other & ~np.isin(own.ids, list(was.trained.removed)))


def _read_as(it: Opened, was: Opened, y: np.ndarray) -> np.ndarray:
    """Return targets of one data set as another reads them: a number's scale may have been fitted again in between."""
    if it.dataset.train.classes:
        return y
    own, old = (of.dataset.encoding.get("target", {}) for of in (it, was))
    if "sd" not in own or "sd" not in old or own == old:
        return y
    return ((y.astype(float) * old["sd"] + old["mean"] - own["mean"]) / own["sd"]).astype(y.dtype)
