"""Classes that were forgotten whole: unseen rows of them are counted apart, or their errors would hide what became of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from influence.registry import evaluation
from influence.types import Examples

OTHERS, OWN = "other_classes_accuracy", "forgotten_class_accuracy"


def gone_whole(train: Examples, removed: Sequence[Any]) -> np.ndarray:
    """Return the classes (places) of which a model saw rows before and has none left; none of a numeric target."""
    if not train.classes or not len(removed):
        return np.zeros(0, dtype=np.int64)
    return np.setdiff1d(train.y, train.y[~np.isin(train.ids, list(removed))])


def by_forgotten(outputs: np.ndarray, rows: Examples, whole: np.ndarray) -> pd.DataFrame:
    """Return the accuracy on unseen rows of the other classes, and on those of the forgotten ones, as `utility` has it; else nothing."""
    parts = []
    for name, mask in ((OTHERS, ~np.isin(rows.y, whole)), (OWN, np.isin(rows.y, whole))):
        if len(whole) and mask.any():
            table = evaluation.make("utility")(outputs[mask], rows.take(mask))
            parts.append(table[table["metric"] == "accuracy"].assign(metric=name))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
