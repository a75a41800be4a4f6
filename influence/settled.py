"""What a model's final weights say of its training: the rows it saw, the objective it minimised there, and the curvature of that.

Attribution asks with it how the model would settle without each row; unlearning, without a set of rows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from influence.curvature import EKFAC, Objective, damping, fit
from influence.curvature.ekfac import VERSION
from influence.errors import BadInput
from influence.grads import Rows, chosen
from influence.loop import Bound, tensors
from influence.training import load
from influence.types import Examples, Report, Trained, ignore
from influence.workspace import Workspace


def training_loss(trained: Trained, train: Examples) -> str:
    """Return the kind of the training loss; for a model without a recipe, the usual one for its target."""
    if trained.recipe is not None:
        return trained.recipe.loss
    return "cross_entropy" if train.classes else "squared"


def trained_on(train: Examples, trained: Trained) -> Examples:
    """Return the rows that training saw."""
    gone = np.isin(train.ids, trained.removed)
    return train.take(~gone) if gone.any() else train  # taking copies the inputs


def objective(trained: Trained, train: Examples, layers: str = "all") -> Objective:
    """Return what training minimised at the final weights: of the rows that it saw, with the places of those removed counted.

    Raises:
        BadInput: no parameter of these layers can move.
    """
    rows = trained_on(train, trained)
    n = len(np.union1d(train.ids, trained.removed)) if trained.removed else len(train)
    bound = some_learn(load(trained), layers)
    known = Rows(*tensors(rows, bound.dtype), training_loss(trained, train))
    return Objective(bound, known, rows.ids, n, damping.decay(trained.recipe), layers)


def some_learn(bound: Bound, layers: str = "all") -> Bound:
    """Return the same.

    Raises:
        BadInput: no parameter of these layers can move.
    """
    if chosen(bound, layers):
        return bound
    which = "the last layer" if layers == "last" else "the model"
    raise BadInput(f"All parameters of {which} are frozen, so no row moved them. Choose activation_similarity, or unfreeze some and train.")


def factors(of: Objective, trained: Trained, train: Examples, workspace: Workspace, report: Report = ignore) -> EKFAC:
    """Return the curvature's factors, kept so that a second question or request does not fit them again."""
    key = {"trained": trained.digest, "rows": train.digest, "loss": of.rows.loss, "n": of.n, "layers": of.layers, "version": VERSION}

    def make(folder: Path) -> None:
        fit(of, folder, report=report)

    return fit(of, workspace.kept("ekfac", key, make))
