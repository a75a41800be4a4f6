"""Per-row quantities of the outputs, and their means within groups: vectorised, and differentiable where they are soft."""

from __future__ import annotations

import numpy as np
import torch

from influence.errors import BadInput
from influence.groups import Groups
from influence.types import Examples


def target(examples: Examples) -> torch.Tensor:
    """Return y as a tensor of its own (arrays of a data set may be read-only), (M,)."""
    return torch.from_numpy(np.array(examples.y))


def probability(logits: torch.Tensor, positive: int) -> torch.Tensor:
    """Return the probability of one class, (M, C) -> (M,)."""
    return logits.softmax(1)[:, positive]


def log_odds(logits: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Return each row's log-odds of a class of its own, z_c - log sum exp of the others: (M, C) and places (M,) -> (M,)."""
    at = own[:, None]
    return logits.gather(1, at)[:, 0] - logits.scatter(1, at, -torch.inf).logsumexp(1)


def chosen(logits: torch.Tensor, positive: int) -> torch.Tensor:
    """Return 1.0 where the class is predicted, (M, C) -> (M,)."""
    return (logits.argmax(1) == positive).to(logits.dtype)


def losses(logits: torch.Tensor, examples: Examples) -> torch.Tensor:
    """Return each row's cross-entropy, or squared error of a numeric target, (M,)."""
    y = target(examples)
    if examples.classes:
        return torch.nn.functional.cross_entropy(logits, y, reduction="none")
    return (logits[:, 0] - y.to(logits.dtype)) ** 2


def read_losses(logits: torch.Tensor, examples: Examples) -> torch.Tensor:
    """Return what people read per row: cross-entropy, or the absolute error of a numeric target, (M,)."""
    return losses(logits, examples) if examples.classes else (logits[:, 0] - target(examples).to(logits.dtype)).abs()


def means(per_row: torch.Tensor, groups: Groups, keep: np.ndarray | None = None) -> tuple[np.ndarray, torch.Tensor]:
    """Return the places of the groups with at least ten kept rows, (G,), and the mean of `per_row` (M,) in each, (G,).

    Raises:
        BadInput: fewer than two groups have so many.
    """
    enough = groups.comparable(keep)
    rows = np.arange(len(groups.code)) if keep is None else np.flatnonzero(keep)
    code = torch.from_numpy(groups.code[rows])
    sums = per_row.new_zeros(len(groups.names)).index_add(0, code, per_row[torch.from_numpy(rows)])
    return enough, sums[torch.from_numpy(enough)] / torch.from_numpy(groups.counts(keep)[enough]).to(per_row.dtype)


def mean_in(per_row: torch.Tensor, groups: Groups, name: str, keep: np.ndarray | None = None) -> torch.Tensor:
    """Return the mean of `per_row` over the kept rows of one group, ().

    Raises:
        BadInput: the group has no such row.
    """
    inside = groups.code == groups.names.index(name) if name in groups.names else np.zeros(len(groups.code), dtype=bool)
    rows = np.flatnonzero(inside if keep is None else inside & keep)
    if not len(rows):
        what = f"Group {name!r} has no row of the kind asked about here" if name else "No group was given"
        raise BadInput(f"{what}; the groups are: {', '.join(groups.names[:20])}.", missing="" if name else "which=GROUP")
    return per_row[torch.from_numpy(rows)].mean()


def extremes(per_row: torch.Tensor, groups: Groups, keep: np.ndarray | None = None) -> tuple[str, str]:
    """Return the names of the groups with the highest and the lowest mean; two different ones, even where all means are equal.

    Raises:
        BadInput: fewer than two groups have at least ten kept rows.
    """
    enough, found = means(per_row.detach(), groups, keep)
    order = enough[found.argsort(stable=True).numpy()]
    return groups.names[order[-1]], groups.names[order[0]]


def contrast(per_row: torch.Tensor, groups: Groups, pair: tuple[str, str], keep: np.ndarray | None = None) -> torch.Tensor:
    """Return the mean in the first group of the pair minus that in the second, ()."""
    return mean_in(per_row, groups, pair[0], keep) - mean_in(per_row, groups, pair[1], keep)


def spread(per_row: torch.Tensor, groups: Groups, keep: np.ndarray | None = None) -> torch.Tensor:
    """Return the largest minus the smallest group mean, ()."""
    _, found = means(per_row, groups, keep)
    return found.max() - found.min()
