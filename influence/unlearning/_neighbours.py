"""The loss to expect of rows that a model has not seen, told by what it says of their nearest neighbours among the rows that stay.

Forgetting has no target of its own: the loss that the model retrained without the rows would have on them is what is not known. A row's
neighbours know something of it: had they its label, a model would find that as surprising as it finds the row's own, once it has not seen
it. The target of a class is

    loss of the model on retained rows of that class
    + (loss on the neighbours of its forget rows, had these the row's label - the same of its retained rows, each without itself),

so what neighbours tell poorly of any row cancels, and for rows that are like the others nothing is left to be forgotten. Training rows
alone are used. Of a class that goes whole no row is left to compare with: a model retrained without it says of its rows what it says of
all others, that they are not of this class, so the target is the loss of the model on retained rows had they that label. (Kurmanji et
al., arXiv:2302.09880, §3.2, take validation rows of the same class for the first term and have no second.) A vote of the neighbours'
labels instead stays below the loss that the model has of wrong labels before it forgets any (digits: 4.5 of 5.4, retrained 8.1; this: 6.1).

Neighbours are near in their inputs, texts in how often each token occurs. Not in what the model makes of them: in its last hidden layer a
wrong label that was learnt by heart lies among the rows of that label.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from influence import grads
from influence.data.represented import counted, tokens_of
from influence.loop import Bound, tensors
from influence.losses import per_example
from influence.types import Examples, Recipe, leaves
from influence.unlearning._guard import losses, sample

NEIGHBOURS = 10
TOKENS = 2048  # groups of tokens that are counted in texts
REFERENCE, ASKED = 4096, 1024  # rows to search among, rows to ask about: the cost stays the same however many rows there are


def expected_losses(bound: Bound, recipe: Recipe, retained: Examples, forget: Examples) -> torch.Tensor:
    """Return the target of each class, (C,), or of all rows, (1,), for a numeric target; 0 for a class of which no row is forgotten."""
    reference = sample(retained, REFERENCE, recipe.seed, "reference")
    said = grads.outputs(bound, reference)
    kinds = np.unique(forget.y) if forget.classes else np.zeros(1, dtype=np.int64)
    each = max(32, ASKED // len(kinds))
    target = torch.zeros(forget.outputs)
    for kind in kinds.tolist():
        gone, like = (sample(_of(rows, kind), each, recipe.seed, "asked") for rows in (forget, retained))
        if not len(like):
            target[kind] = _taken_for(bound, recipe, sample(retained, each, recipe.seed, "asked"), kind)
            continue
        excess, usual = (neighbour_losses(recipe, reference, said, rows).mean() for rows in (gone, like))
        target[kind] = losses(bound, recipe, like).mean() + excess - usual
    return target.clamp(min=0.0)


def _taken_for(bound: Bound, recipe: Recipe, examples: Examples, kind: int) -> torch.Tensor:
    """Return the model's mean loss on rows if all were of one class."""
    return losses(bound, recipe, replace(examples, y=np.full_like(examples.y, kind))).mean()


def _of(examples: Examples, kind: int) -> Examples:
    return examples.take(examples.y == kind) if examples.classes else examples


def neighbour_losses(recipe: Recipe, reference: Examples, said: torch.Tensor, asked: Examples) -> torch.Tensor:
    """Return the mean loss on each asked row's nearest neighbours in the reference, itself left out, had they its target, (M,).

    `said`: the model's outputs on the reference, (N, C).
    """
    k, among = min(NEIGHBOURS, len(reference) - 1), _flat(reference, recipe.dtype)
    near = torch.cat([torch.cdist(part, among).topk(k + 1, largest=False).indices for part in _flat(asked, recipe.dtype).split(1024)])
    itself = torch.from_numpy(reference.ids[near.numpy()] == asked.ids[:, None])
    near = near.gather(1, itself.to(torch.uint8).argsort(dim=1, stable=True))[:, :k]
    y = tensors(asked, recipe.dtype)[1].repeat_interleave(k)
    return per_example(recipe.loss, said[near].flatten(0, 1), y).view(-1, k).mean(1)


def _flat(examples: Examples, dtype: str) -> torch.Tensor:
    if (tokens := tokens_of(examples)) is not None:
        return torch.from_numpy(counted(tokens, TOKENS)).to(getattr(torch, dtype))
    parts = [np.asarray(leaf).reshape(len(examples), -1) for leaf in leaves(examples.x)]
    return torch.from_numpy(np.concatenate(parts, axis=1)).to(getattr(torch, dtype))
