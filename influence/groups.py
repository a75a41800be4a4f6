"""Groups of rows by a column, and the favourable class: what questions about gaps and measures of gaps must agree on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from influence.errors import BadInput
from influence.types import Examples

FEWEST = 10
"""Fewer rows than this say too little of a group to be shown with an interval or to form a gap."""

MISSING = "missing"


def names_of(examples: Examples, column: str, bins: int, edges: tuple[float, ...]) -> np.ndarray:
    """Return each row's group as text, (M,); numbers with more than `bins` values are cut at `edges` (quantiles if none are given).

    Raises:
        BadInput: there is no such column.
    """
    if column not in examples.columns:
        raise BadInput(f"There is no column {column!r} to form groups by; there are: {', '.join(map(str, examples.columns))}.")
    values = examples.columns[column]
    if is_numeric(values, bins):
        cuts = np.array(edges or edges_of(examples, column, bins))
        names = (
            [f"up to {c:.4g}" for c in cuts[:1]]
            + [f"{a:.4g} to {b:.4g}" for a, b in zip(cuts, cuts[1:], strict=False)]
            + [f"over {cuts[-1]:.4g}"]
        )
        found = np.asarray(names, dtype=object)[
            np.searchsorted(cuts, values.to_numpy(dtype=float, na_value=np.nan), side="left").clip(max=len(cuts))
        ]
        found[values.isna().to_numpy()] = MISSING
        return found
    return values.astype(object).where(values.notna(), MISSING).astype(str).to_numpy()


def is_numeric(values: pd.Series, bins: int) -> bool:
    """Whether a column is cut into bins: numbers (no flags) with more distinct values than bins."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values) and values.nunique() > max(bins, 2)


def edges_of(examples: Examples, column: str, bins: int) -> tuple[float, ...]:
    """Return the inner quantiles at which a numeric column is cut; () for any other."""
    if column not in examples.columns or not is_numeric(examples.columns[column], bins):
        return ()
    quantiles = np.nanquantile(examples.columns[column].to_numpy(dtype=float, na_value=np.nan), np.linspace(0, 1, bins + 1)[1:-1])
    return tuple(dict.fromkeys(float(q) for q in quantiles))


def place_of(positive: str, examples: Examples) -> int:
    """Return the place of the positive class; the last in sorted order by default.

    Raises:
        BadInput: the target is a number, or there is no such class.
    """
    if not examples.classes:
        raise BadInput("Rates need classes; this target is a number. Ask group_loss_gap, worst_group_loss or loss instead.")
    if positive and positive not in examples.classes:
        raise BadInput(f"There is no class {positive!r}; there are: {', '.join(examples.classes)}.")
    return examples.classes.index(positive) if positive else len(examples.classes) - 1
