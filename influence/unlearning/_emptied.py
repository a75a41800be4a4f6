"""Classes that go whole: which they are, and whether a model still says them of the rows that had them."""

from __future__ import annotations

import numpy as np

from influence.grads import outputs
from influence.groups import named
from influence.loop import Bound
from influence.types import Examples

SOME = 0.05
"""Share of a class's removed rows at which it is worth saying that a model still says the class of them: retraining leaves none."""


def emptied(retained: Examples, forget: Examples) -> np.ndarray:
    """Return the classes (places) of which rows go and none stays; none of a numeric target."""
    return np.setdiff1d(forget.y, retained.y) if forget.classes else np.zeros(0, dtype=np.int64)


def still_said(bound: Bound, retained: Examples, forget: Examples, relabelled: bool = False) -> str:
    """Say which share of the rows of classes that went whole is still taken for their class; "" if hardly any, or no class went whole.

    `relabelled`: the rows stay, with other labels.
    """
    gone = emptied(retained, forget)
    if not len(gone):
        return ""
    rows = forget.take(np.isin(forget.y, gone))
    share = float((outputs(bound, rows).argmax(1).numpy() == rows.y).mean())
    if share < SOME:
        return ""
    names, done = named([repr(forget.classes[k]) for k in gone]), "relabelled" if relabelled else "removed"
    choice = "retrain" if relabelled else "neggrad_plus, salun, noisy_finetune or retrain to forget a whole class"
    return f"No training row of class {names} is left, and the model still says it of {share:.0%} of its {done} rows. Choose {choice}."
