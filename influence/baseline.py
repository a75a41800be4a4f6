"""The yardstick: the same training as a plain `torch.optim` loop, as anybody would write it."""

from __future__ import annotations

import time
from operator import itemgetter

import torch
from torch import nn

from influence.loop import Loop, threads
from influence.losses import per_example
from influence.types import Examples, Recipe, Trained, tree_map


def plain_training(trained: Trained, examples: Examples) -> float:
    """Return the seconds that one plain loop takes: same model, batches, steps, threads and step sizes; nothing recorded.

    Raises:
        ValueError: the model has no recipe.
    """
    if trained.recipe is None:
        raise ValueError("A plain training needs a recipe.")
    recipe = trained.recipe
    with threads(recipe.threads):
        loop = Loop.of(trained.model, examples, recipe, None, trained.removed)
        net, x, y = loop.bound.module.train(), loop.x, loop.y
        rule = torch_optimizer(net, recipe)
        began = time.perf_counter()
        for places, lr in zip(loop.batches.places, loop.batches.lr, strict=True):
            rule.param_groups[0]["lr"] = lr
            rule.zero_grad()
            per_example(recipe.loss, net(tree_map(itemgetter(places), x)), y[places]).mean().backward()
            if recipe.max_norm:
                torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.max_norm)
            rule.step()
        return time.perf_counter() - began


def torch_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return PyTorch's optimiser of the recipe (without `eps_root`, which it does not have)."""
    if recipe.optimizer == "sgd":
        ahead = recipe.nesterov and recipe.momentum > 0
        return torch.optim.SGD(net.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=ahead)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(net.parameters(), recipe.lr, (recipe.beta1, recipe.beta2), recipe.eps, weight_decay=recipe.weight_decay)
