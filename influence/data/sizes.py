"""How many rows each class and each group has in every role: what is looked at before anything else."""

from __future__ import annotations

import numpy as np
import pandas as pd

from influence.data.dataset import ROLES, Dataset
from influence.groups import edges_of, groups_of, place_of

BINS = 4
"""Into how many groups a column of numbers is cut, at the quantiles of the evaluation rows."""


def sizes(data: Dataset) -> pd.DataFrame:
    """Return a row per class and per group: Column, Value, and the rows of each role.

    With two classes also the share of the favourable one among a group's training rows; NaN for the classes themselves.
    """
    parts = [_classes(data)] if data.train.classes else []
    parts += [_groups(data, name) for name in dict.fromkeys((*data.protected, *data.audit))]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _classes(data: Dataset) -> pd.DataFrame:
    counts = {role.capitalize(): np.bincount(data.split(role).y, minlength=len(data.train.classes)) for role in ROLES}
    return pd.DataFrame({"Column": data.target, "Value": data.train.classes, **counts})


def _groups(data: Dataset, name: str) -> pd.DataFrame:
    edges = edges_of(data.evaluation, name, BINS)
    by_role = {role: groups_of(data.split(role), name, BINS, edges) for role in ROLES}
    counts = {role.capitalize(): dict(zip(found.names, found.counts(), strict=True)) for role, found in by_role.items()}
    table = pd.DataFrame(counts).fillna(0).astype(int).rename_axis("Value").reset_index()
    table.insert(0, "Column", name)
    if len(data.train.classes) == 2 and name != data.target:
        own, train = data.train.y == place_of("", data.train), by_role["train"]
        shares = dict(zip(train.names, train.counts(own) / train.counts().clip(min=1), strict=True))
        table[f"Share {data.train.favourable} in training"] = table["Value"].map(shares)
    return table
