"""Means within groups of rows: what the gap queries share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from influence.errors import BadInput
from influence.groups import FEWEST, edges_of, names_of
from influence.types import Examples


def means(per_row: torch.Tensor, names: np.ndarray, keep: np.ndarray | None = None) -> tuple[list[str], torch.Tensor]:
    """Return the groups with at least ten kept members, sorted by name, and the mean of `per_row` (M,) in each, (G,).

    Raises:
        BadInput: fewer than two groups qualify.
    """
    rows = np.ones(len(names), dtype=bool) if keep is None else keep
    found, code = np.unique(names[rows].astype(str), return_inverse=True)
    count = np.bincount(code, minlength=len(found))
    if (count >= FEWEST).sum() < 2:
        shown = ", ".join(f"{g}: {c}" for g, c in zip(found, count, strict=True)) or "none"
        raise BadInput(
            f"A gap needs two groups with at least {FEWEST} such rows each; there are {shown}. Choose another column or more test rows."
        )
    values = per_row[torch.from_numpy(np.flatnonzero(rows))]
    sums = torch.zeros(len(found), dtype=values.dtype).index_add(0, torch.from_numpy(code), values)
    enough = np.flatnonzero(count >= FEWEST)
    return [str(found[i]) for i in enough], sums[enough] / torch.from_numpy(count[enough])


def mean_in(per_row: torch.Tensor, names: np.ndarray, group: str, keep: np.ndarray | None = None) -> torch.Tensor:
    """Return the mean of `per_row` over the kept members of one group, ().

    Raises:
        BadInput: the group has no such member.
    """
    rows = (names.astype(str) == group) & (True if keep is None else keep)
    if not rows.any():
        raise BadInput(f"Group {group!r} has no such rows here.")
    return per_row[torch.from_numpy(np.flatnonzero(rows))].mean()


def between(query: Any, per_row: torch.Tensor, examples: Examples, keep: np.ndarray | None = None) -> torch.Tensor:
    """Return the mean in the query's high group minus that in its low group, (1,)."""
    names = names_of(examples, query.group, query.bins, query.edges)
    return (mean_in(per_row, names, query.high, keep) - mean_in(per_row, names, query.low, keep)).reshape(1)


def spread(query: Any, per_row: torch.Tensor, examples: Examples, keep: np.ndarray | None = None) -> torch.Tensor:
    """Return the largest minus the smallest group mean, (1,)."""
    _, found = means(per_row, names_of(examples, query.group, query.bins, query.edges), keep)
    return (found.max() - found.min()).reshape(1)


def extremes(query: Any, per_row: torch.Tensor, examples: Examples, keep: np.ndarray | None = None) -> Any:
    """Return the query with its bin edges and its two extreme groups fixed."""
    edges = query.edges or edges_of(examples, query.group, query.bins)
    groups, found = means(per_row.detach(), names_of(examples, query.group, query.bins, edges), keep)
    return replace(query, edges=edges, high=groups[int(found.argmax())], low=groups[int(found.argmin())])


def probability(logits: torch.Tensor, positive: int) -> torch.Tensor:
    """Return the probability of one class, (M, C) -> (M,)."""
    return logits.softmax(1)[:, positive]


def chosen(logits: torch.Tensor, positive: int) -> torch.Tensor:
    """Return 1.0 where the class is predicted, (M, C) -> (M,)."""
    return (logits.argmax(1) == positive).to(logits.dtype)


def losses(logits: torch.Tensor, examples: Examples) -> torch.Tensor:
    """Return each row's cross-entropy, or squared error of a numeric target, (M,)."""
    y = torch.from_numpy(np.array(examples.y))
    if examples.classes:
        return torch.nn.functional.cross_entropy(logits, y, reduction="none")
    return (logits.squeeze(-1) - y) ** 2


def read_losses(logits: torch.Tensor, examples: Examples) -> torch.Tensor:
    """Return what people read per row: cross-entropy, or the absolute error of a numeric target, (M,)."""
    return losses(logits, examples) if examples.classes else losses(logits, examples).sqrt()
