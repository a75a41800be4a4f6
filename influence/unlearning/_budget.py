"""How many rows a method without training may look at for a share of what the training cost, counted in floating-point operations.

A count is the same on every machine, so that a request has one answer; seconds are not.
"""

from __future__ import annotations

import numpy as np
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from influence.grads import outputs
from influence.loop import Bound
from influence.types import Examples, Recipe

STEP = 3e6
"""What a training step costs beside its rows, in operations: a third of a millisecond of calls, on a core that does 10^10 a second."""
BEFORE, PRODUCT, CONVOLVED = 5.0, 1.5, 3.5
"""What a row costs that a part of the way looks at, in rows trained on: by itself (four passes), and for each product (measured: of a
transformer 1.0, of perceptrons about 1.5, of a CNN, whose convolutions are differentiated twice, 2.5 to 3.5)."""
FEWEST, WELL, MOST = 64, 500, 1000
"""Curvature of fewer rows is too rough to go by; of so many it tells enough to go on by another part; of more, no better."""


def affordable(bound: Bound, few: Examples, n: int, recipe: Recipe, share: float, turns: int, products: int) -> tuple[int, int]:
    """Return how many rows each part of the way may look at, and how many parts, for this share of a training's work on n rows.

    Each takes `products`. There are up to `turns` parts, and fewer where each could not look at 500 rows: of few rows weights would learn
    the noise. Never fewer than 64 rows nor more than 1,000, whatever the share. `few`: any rows, to see what one costs.
    """
    rows = share * _worth(bound, few, n, recipe) / _row(bound, products)
    parts = int(min(max(rows / WELL, 1), turns))
    return int(min(max(rows / parts, FEWEST), MOST)), parts


def taken(bound: Bound, few: Examples, n: int, recipe: Recipe, rows: int, turns: int, products: int) -> float:
    """Return the share of a training's work that parts take which look at so many rows."""
    return rows * turns * _row(bound, products) / _worth(bound, few, n, recipe)


def _row(bound: Bound, products: int) -> float:
    """Return what a row costs that is looked at, with so many products, in rows trained on."""
    convolved = any(isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) for layer in bound.module.modules())
    return BEFORE + (CONVOLVED if convolved else PRODUCT) * products


def _worth(bound: Bound, few: Examples, n: int, recipe: Recipe) -> float:
    """Return the work of a training on n rows, in rows trained on without what a step costs beside its rows."""
    steps = recipe.epochs * -(-n // recipe.batch_size)
    return recipe.epochs * n + steps * STEP / (3 * _forward(bound, few))


def _forward(bound: Bound, rows: Examples) -> float:
    """Return the operations of a row's pass forward; at least two for each weight, also where PyTorch counts none (recurrent layers)."""
    few = rows.take(np.arange(min(2, len(rows))))
    with FlopCounterMode(display=False) as count:
        outputs(bound, few)
    return max(count.get_total_flops() / len(few), 2.0 * len(bound.flat))
