"""A model's outputs again, from the predictions that its run keeps: measures need no model for them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from influence.data.dataset import Dataset, Role

LEAST = float(np.finfo(np.float32).smallest_subnormal)
"""Kept probabilities are float32: where one is 0, the loss of that row is at least 103, and is taken for that."""


def kept_outputs(predictions: pd.DataFrame, dataset: Dataset, role: Role) -> np.ndarray:
    """Return outputs (M, C) for a role's rows that make the kept `predictions`: logarithms of probabilities, or the standardised number."""
    rows, classes = predictions[(predictions["split"] == role).to_numpy()], dataset.train.classes
    if classes:
        p: np.ndarray = rows[[f"p_{name}" for name in classes]].to_numpy(dtype=np.float64)
        return np.log(np.maximum(p, LEAST))
    target = dataset.encoding.get("target", {})
    return ((rows["prediction"].to_numpy(dtype=np.float64) - target.get("mean", 0.0)) / target.get("sd", 1.0))[:, None]
