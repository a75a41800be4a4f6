"""What several attribution methods need: a model's training loss and objective, and which rows it saw."""

from __future__ import annotations

import numpy as np
import torch

from influence.curvature import Objective, damping
from influence.errors import BadInput
from influence.grads import Rows, chosen
from influence.loop import Bound, tensors
from influence.losses import per_example
from influence.training import load
from influence.types import Examples, Trained


def training_loss(trained: Trained, train: Examples) -> str:
    """Return the kind of the training loss; for a model without a recipe, the usual one for its target."""
    if trained.recipe is not None:
        return trained.recipe.loss
    return "cross_entropy" if train.classes else "squared"


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


def trained_on(train: Examples, trained: Trained) -> Examples:
    """Return the rows that training saw."""
    gone = np.isin(train.ids, trained.removed)
    return train.take(~gone) if gone.any() else train  # taking copies the inputs


def over_all(found: np.ndarray, train: Examples, trained: Trained) -> np.ndarray:
    """Return scores (N, Q) from those of the rows that training saw, with 0 for the others: they moved nothing."""
    values = np.zeros((len(train), *found.shape[1:]), dtype=found.dtype)
    values[~np.isin(train.ids, trained.removed)] = found
    return values


def some_learn(bound: Bound, layers: str = "all") -> Bound:
    """Return the same.

    Raises:
        BadInput: no parameter of these layers can move.
    """
    if chosen(bound, layers):
        return bound
    which = "the last layer" if layers == "last" else "the model"
    raise BadInput(f"All parameters of {which} are frozen, so no row moved them. Choose activation_similarity, or unfreeze some and train.")


def only_trained_on(scores: np.ndarray, train: Examples, trained: Trained) -> np.ndarray:
    """Return scores (N, ...) with 0 for rows that training never saw: they moved nothing."""
    scores[np.isin(train.ids, trained.removed)] = 0
    return scores


def by_outputs(z: torch.Tensor, y: torch.Tensor, loss: str) -> torch.Tensor:
    """Return dl_i/dz_i of every row, (N, C), from the outputs z."""
    z = z.detach().requires_grad_()
    return torch.autograd.grad(per_example(loss, z, y).sum(), z)[0]
