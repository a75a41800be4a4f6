"""The yardstick: the same training as a plain `torch.optim` loop, as anybody would write it."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import nn

from influence.loop import Loop, threads
from influence.losses import per_example
from influence.types import Examples, Recipe, Trained


def plain_training(trained: Trained, examples: Examples, at_most: float = math.inf) -> float:
    """Return the seconds that one plain loop takes: same model, batches, steps, threads and step sizes; nothing recorded.

    A loop that is not over after `at_most` seconds stops, and what its other steps would take is told from those taken.

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
        for t, (places, lr) in enumerate(zip(loop.batches.places, loop.batches.lr, strict=True)):
            for group in rule.param_groups:
                group["lr"] = lr
            rule.zero_grad()
            per_example(recipe.loss, net(loop.batches.rows(t, x, places, loop.bound.device)), y[places]).mean().backward()
            if recipe.max_norm:
                torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.max_norm)
            rule.step()
            if (spent := time.perf_counter() - began) > at_most:
                return spent * len(loop.batches) / (t + 1)
        return time.perf_counter() - began


def torch_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return PyTorch's optimiser of the recipe (without `eps_root`, which it does not have)."""
    if recipe.optimizer == "sgd":
        ahead = recipe.nesterov and recipe.momentum > 0
        return torch.optim.SGD(net.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=ahead)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    flat = [p for p in net.parameters() if p.dim() <= 1 and recipe.decayed == "matrices"]
    decaying = [p for p in net.parameters() if p.dim() > 1 or recipe.decayed == "all"]
    groups: list[dict[str, Any]] = [{"params": decaying}, *([{"params": flat, "weight_decay": 0.0}] if flat else [])]
    return kind(groups, recipe.lr, (recipe.beta1, recipe.beta2), recipe.eps, weight_decay=recipe.weight_decay)
