"""What may be claimed of a model that is made to forget: by its weights, and by all that is fitted to data before them.

One function says it of a run that was made, and beforehand of one that would be.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from influence.actions._opened import Opened
from influence.actions._refit import REFITTED, Refit, promised
from influence.actions._relabelling import corrected
from influence.data.refit import is_fitted
from influence.types import Examples, Selection

BROUGHT = "Preprocessing brought: it may have been fitted with the removed rows, so the claim is L1 although the weights never saw them."
KEPT = "Preprocessing kept: the encoder was fitted with the removed rows, so the claim is L1 although the weights never saw them."
BROUGHT_LABELS = "Preprocessing brought: the old labels may have had a part in it, so the claim is L1 although the weights never saw them."
CLASSES = (
    "Class list kept: the model has an output for a class of which no row is left, which tells that there were some, so the claim is L1. "
    "For more, train anew on data without the class."
)
BROUGHT_OUT = (
    "Preprocessing brought: it may have been fitted with the removed rows, so the claim is L1, whatever noise hides in the weights."
)
KEPT_OUT = "Preprocessing kept: the encoder was fitted with the removed rows, so the claim is L1, whatever noise hides in the weights."


def foretold(it: Opened, selection: Selection, unlearner: Any) -> tuple[str, str]:
    """Return level and reason as `claimed` will tell them of the model that a method makes of a run's.

    Raises:
        BadInput: the rows cannot be relabelled, or the preprocessing cannot be fitted again.
    """
    given = None
    if selection.action == "relabel":
        given = corrected(it, selection)
    elif getattr(unlearner, "preprocessing", "kept") == REFITTED:
        given = promised(it, selection)
    return claimed(it, selection, unlearner, getattr(unlearner, "claims", "L1"), given)


def claimed(it: Opened, selection: Selection, unlearner: Any, weights: str, given: Refit | None = None) -> tuple[str, str]:
    """Return the level of the claim, and why it is no higher, or what it rests on.

    `weights`: what holds of the weights alone; `given`: what they are made from, where that is not the run's own.
    """
    encoding, relabel = it.dataset.encoding, selection.action == "relabel"
    train = it.dataset.train if given is None else given.dataset.train
    if relabel and weights == "L2" and not it.trained.removed and "brought" not in encoding:
        claim, note = (str(given.claim), given.note) if given else ("L2", "")  # inputs were fitted without looking at labels
    else:
        claim, note = _with_preprocessing(it, unlearner, weights, given)
    if relabel and note == BROUGHT and not it.trained.removed:
        note = BROUGHT_LABELS
    gone = it.trained.removed if relabel else (*it.trained.removed, *selection.ids)
    if claim in ("L2", "L3") and _emptied(train, gone):
        return "L1", CLASSES
    return claim, note


def _with_preprocessing(it: Opened, unlearner: Any, weights: str, given: Refit | None) -> tuple[str, str]:
    """Return the claim where what preprocessing was fitted to counts like what weights were."""
    encoding = it.dataset.encoding
    if weights not in ("L2", "L3") or not is_fitted(encoding):
        return weights, unlearner.assumptions() if weights == "L3" else ""
    if given is not None and given.note:
        return given.claim, given.note
    if weights == "L3":
        return "L1", BROUGHT_OUT if "brought" in encoding else KEPT_OUT
    return "L1", BROUGHT if "brought" in encoding else KEPT


def _emptied(train: Examples, gone: tuple[Any, ...]) -> bool:
    """Whether the list of classes has one of which the model sees no row, be it this request or an earlier one that took the last."""
    seen = train.y[~np.isin(train.ids, list(gone))]
    return len(np.unique(seen)) < len(train.classes)
