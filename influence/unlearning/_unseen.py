"""How far the removed rows are from rows that a model has never seen, by their loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from influence.loop import Bound
from influence.unlearning._descent import Request
from influence.unlearning._guard import losses, sample
from influence.unlearning._neighbours import expected_losses

WATCHED = 1024
"""Removed rows of which the loss is watched."""


def like_unseen(bound: Bound, asked: Request) -> Callable[[], float]:
    """Return what tells, at the present weights, by how much the removed rows' mean loss is above that to expect of rows never seen."""
    _, train, retained, forget, recipe = asked
    seen = sample(forget, WATCHED, recipe.seed, "watched")
    by_kind = expected_losses(bound, recipe, retained, forget)
    target = float((by_kind[torch.from_numpy(np.array(seen.y))] if train.classes else by_kind).mean())
    return lambda: float(losses(bound, recipe, seen).mean()) - target


def took_part(steps: int, of: int, what: str) -> str:
    """Return in how many of its steps a method did what makes it more than fine-tuning, as a sentence that begins with `what`."""
    if steps:
        return f"{what} in {steps:,} of {of:,} steps."
    return "It only fine-tuned: at every step the removed rows had the loss to expect of rows never seen, or the retained rows suffered."
