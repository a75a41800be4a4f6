"""Reliability per group: what the model predicts beside what was observed, in bins of like size (Murphy and Winkler, 1977)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from influence.evaluation._groups import means, rates
from influence.evaluation._tables import refuse_unfit, softmax
from influence.groups import FEWEST, Groups, place_of
from influence.types import Examples

BINS = 5


def reliability(logits: np.ndarray, examples: Examples, groups: Groups, positive: str = "", bins: int = BINS) -> pd.DataFrame:
    """Return a row per group and bin of predictions: group, bin, predicted, value, low, high, n.

    `predicted`: mean probability of the positive class, or mean prediction of a numeric target; `value`: the share of rows that are of that
    class (95 % interval of Wilson), or the mean target (Student's t). Each group has bins of its own, of like size and no fewer than ten
    rows where it can have two of those; ties in the predictions make fewer.

    Raises:
        BadInput: there are no rows or outputs, or there is no such class.
    """
    refuse_unfit(logits, examples)
    own = place_of(positive, examples) if examples.classes else 0
    said = softmax(logits)[:, own] if examples.classes else logits[:, 0].astype(float)
    code = np.zeros(len(said), dtype=np.int64)
    for group in range(len(groups.names)):
        rows = np.flatnonzero(groups.code == group)
        code[rows] = group * bins + _cut(said[rows], min(bins, len(rows) // FEWEST))
    total = len(groups.names) * bins
    counts = np.bincount(code, minlength=total)
    real = examples.y == own
    found = rates(np.bincount(code[real], minlength=total), counts) if examples.classes else means(examples.y, code, total)
    predicted = np.bincount(code, said, total) / np.maximum(counts, 1)
    parts = zip(np.flatnonzero(counts), *(np.array(part)[counts > 0] for part in (predicted, found.values, found.intervals())), strict=True)
    return pd.DataFrame(
        [(groups.names[at // bins], at % bins, p, value, *limits, counts[at]) for at, p, value, limits in parts],
        columns=["group", "bin", "predicted", "value", "low", "high", "n"],
    )


def _cut(values: np.ndarray, bins: int) -> np.ndarray:
    """Return the bin of each value, of at most `bins` of like size, equal values together."""
    if bins < 2:
        return np.zeros(len(values), dtype=np.int64)
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins, method="inverted_cdf"))
    return np.searchsorted(edges, values, side="left")
