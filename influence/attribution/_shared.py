"""What several attribution methods need: scores for rows that training saw, and 0 for the others."""

from __future__ import annotations

import numpy as np
import torch

from influence.losses import per_example
from influence.types import Examples, Trained


def over_all(found: np.ndarray, train: Examples, trained: Trained) -> np.ndarray:
    """Return scores (N, Q) from those of the rows that training saw, with 0 for the others: they moved nothing."""
    values = np.zeros((len(train), *found.shape[1:]), dtype=found.dtype)
    values[~np.isin(train.ids, trained.removed)] = found
    return values


def only_trained_on(scores: np.ndarray, train: Examples, trained: Trained) -> np.ndarray:
    """Return scores (N, ...) with 0 for rows that training never saw: they moved nothing."""
    scores[np.isin(train.ids, trained.removed)] = 0
    return scores


def by_outputs(z: torch.Tensor, y: torch.Tensor, loss: str) -> torch.Tensor:
    """Return dl_i/dz_i of every row, (N, C), from the outputs z."""
    z = z.detach().requires_grad_()
    return torch.autograd.grad(per_example(loss, z, y).sum(), z)[0]
