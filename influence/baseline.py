"""The yardstick: the same training as a plain `torch.optim` loop, as anybody would write it."""

from __future__ import annotations

import time
from operator import itemgetter

import torch

from influence.loop import Loop, threads
from influence.losses import per_example
from influence.types import Examples, Trained, tree_map


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
        if recipe.optimizer == "sgd":
            rule: torch.optim.Optimizer = torch.optim.SGD(net.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
        else:
            betas = (recipe.beta1, recipe.beta2)
            rule = torch.optim.AdamW(net.parameters(), recipe.lr, betas, recipe.eps, weight_decay=recipe.weight_decay)
        began = time.perf_counter()
        for places, lr in zip(loop.batches.places, loop.batches.lr, strict=True):
            rule.param_groups[0]["lr"] = lr
            rule.zero_grad()
            per_example(recipe.loss, net(tree_map(itemgetter(places), x)), y[places]).mean().backward()
            rule.step()
        return time.perf_counter() - began
