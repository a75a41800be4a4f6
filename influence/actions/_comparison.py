"""Where a comparison is kept, and how what was predicted is read beside what came true. No PyTorch at import: pages look here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from influence.actions import preview
from influence.store import Project

VERSION = 4
"""Comparisons that an older version made lack tables that pages show, or counted rows that were gone before: they are made anew."""


def key(run: str, group: str) -> str:
    """Return the name of the note of a run's comparison by a group column."""
    return f"compare/{run}/{group}"


def kept(project: Project, run: str, group: str) -> dict[str, Any] | None:
    """Return the comparison of an unlearned run by a group column, or None if this version has made none."""
    found: dict[str, Any] | None = project.noted(key(run, group))
    return found if found and found.get("version") == VERSION else None


def as_read(table: pd.DataFrame) -> pd.DataFrame:
    """Return changes of metrics as people read them: of a gap, with its sign, between the two groups it was predicted for.

    Columns label, predicted_change, predicted_low, predicted_high, value, and of such gaps low and high (95 %), else NaN.
    """
    parts = {f"predicted_{part}": table[f"predicted_measured_{part}"] for part in ("change", "low", "high")}
    size = np.where(table["label"].map(preview.is_gap), ", largest", "")
    read = table.assign(label=table["measured_label"] + size, value=table["measured"], low=np.nan, high=np.nan, **parts)
    if "pair" not in table:  # prepared, or compared, by an older version: gaps by their size
        return read
    own = table["pair"].notna()
    read.loc[own, "label"] = table["measured_label"] + " (" + table["pair"] + ")"
    of = {"value": "paired", "low": "paired_low", "high": "paired_high"}
    of |= {f"predicted_{part}": f"predicted_paired_{part}" for part in ("change", "low", "high")}
    for name, source in of.items():
        read.loc[own, name] = table.loc[own, source]
    return read
