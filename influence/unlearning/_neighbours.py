"""The loss to expect of rows that a model has not seen, told by their nearest neighbours among the rows that stay.

Forgetting has no target of its own: the loss that the model retrained without the rows would have on them is what is not known. A row's
neighbours know something of it: a mislabelled row is surprising among them, an ordinary one is not. The target of a class is

    loss of the model on retained rows of that class
    + (k-NN loss of the forget rows of that class - k-NN loss of retained rows of that class, each without itself),

so the weakness of the neighbours as a model cancels, and for rows that are like the others nothing is left to be forgotten. Training rows
alone are used. Of a class that goes whole no row is left to compare with: a model retrained without it says of its rows what it says of
all others, that they are not of this class, so the target is the loss of the model on retained rows had they that label. (Kurmanji et
al., arXiv:2302.09880, §3.2, take validation rows of the same class for the first term and have no second.)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from influence.loop import Bound, tensors
from influence.losses import per_example
from influence.types import Examples, Recipe, leaves
from influence.unlearning._guard import losses, sample

NEIGHBOURS = 10
REFERENCE, ASKED = 4096, 1024  # rows to search among, rows to ask about: the cost stays the same however many rows there are


def expected_losses(bound: Bound, recipe: Recipe, retained: Examples, forget: Examples) -> torch.Tensor:
    """Return the target of each class, (C,), or of all rows, (1,), for a numeric target; 0 for a class of which no row is forgotten."""
    reference = sample(retained, REFERENCE, recipe.seed, "reference")
    kinds = np.unique(forget.y) if forget.classes else np.zeros(1, dtype=np.int64)
    each = max(32, ASKED // len(kinds))
    target = torch.zeros(forget.outputs)
    for kind in kinds.tolist():
        gone, like = (sample(_of(rows, kind), each, recipe.seed, "asked") for rows in (forget, retained))
        if not len(like):
            target[kind] = _taken_for(bound, recipe, sample(retained, each, recipe.seed, "asked"), kind)
            continue
        excess = neighbour_losses(recipe, reference, gone).mean() - neighbour_losses(recipe, reference, like).mean()
        target[kind] = losses(bound, recipe, like).mean() + excess
    return target.clamp(min=0.0)


def _taken_for(bound: Bound, recipe: Recipe, examples: Examples, kind: int) -> torch.Tensor:
    """Return the model's mean loss on rows if all were of one class."""
    return losses(bound, recipe, replace(examples, y=np.full_like(examples.y, kind))).mean()


def _of(examples: Examples, kind: int) -> Examples:
    return examples.take(examples.y == kind) if examples.classes else examples


def neighbour_losses(recipe: Recipe, reference: Examples, asked: Examples) -> torch.Tensor:
    """Return the loss of each asked row if its nearest neighbours in the reference, itself left out, spoke for it, (M,)."""
    k = min(NEIGHBOURS, len(reference) - 1)
    among, ys = _flat(reference, recipe.dtype), tensors(reference, recipe.dtype)[1]
    near = torch.cat([torch.cdist(part, among).topk(k + 1, largest=False).indices for part in _flat(asked, recipe.dtype).split(1024)])
    itself = torch.from_numpy(reference.ids[near.numpy()] == asked.ids[:, None])
    near = near.gather(1, itself.to(torch.uint8).argsort(dim=1, stable=True))[:, :k]
    return per_example(recipe.loss, _vote(ys, near, reference), tensors(asked, recipe.dtype)[1])


def _vote(y: torch.Tensor, near: torch.Tensor, reference: Examples) -> torch.Tensor:
    """Log of the smoothed class shares (M, C): one more neighbour is taken to be of the average class; or the mean target (M, 1)."""
    if not reference.classes:
        return y[near].mean(1, keepdim=True)
    counts = torch.nn.functional.one_hot(y[near], reference.outputs).sum(1)
    prior = torch.bincount(y, minlength=reference.outputs) / len(y)
    return ((counts + prior.clamp(min=1e-6)) / (near.shape[1] + 1)).log()


def _flat(examples: Examples, dtype: str) -> torch.Tensor:
    parts = [np.asarray(leaf).reshape(len(examples), -1) for leaf in leaves(examples.x)]
    return torch.from_numpy(np.concatenate(parts, axis=1)).to(getattr(torch, dtype))
