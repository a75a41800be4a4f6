"""The model that a run's removals began with, which saw the rows. No PyTorch at import: pages look here.

It is judged as the run's model is, by the same measures beside the same oracles: where not even it is told from them, the measures see
nothing of these rows, and a model that passes has shown nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from influence.actions import _oracles

if TYPE_CHECKING:
    from influence.actions._opened import Opened


def said(it: Opened) -> Mapping[str, np.ndarray] | None:
    """Return what it says of each part's rows, (M, C), as it reads them; None if its numeric target is of another unit."""
    was = it.origin
    if not same_target(it, was):
        return None
    splits = {part: was.dataset.holdout if part == "unseen" else was.dataset.train for part in ("forget", "retained", "unseen")}
    rows = _oracles.parts(it)
    return {part: was.answers(split.take(split.mask(rows[part].ids))).numpy() for part, split in splits.items()}  # type: ignore[index]


def same_target(it: Opened, was: Opened) -> bool:
    """Whether both models' outputs are of the same unit."""
    return bool(it.dataset.train.classes) or it.dataset.encoding.get("target") == was.dataset.encoding.get("target")
