"""How many rows a method without training may look at for a share of what the training cost, counted in floating-point operations.

A count is the same on every machine, so that a request has one answer; seconds are not.
"""

from __future__ import annotations

import numpy as np
from torch.utils.flop_counter import FlopCounterMode

from influence.grads import outputs
from influence.loop import Bound
from influence.types import Examples, Recipe

STEP = 3e6
"""What a training step costs beside its rows, in operations: a third of a millisecond of calls, on a core that does 10^10 a second."""
BEFORE, PRODUCT = 5.0, 3.5
"""What a row costs that a part of the way looks at, in rows trained on: by itself (four passes) and for each product (measured, CNN)."""
FEWEST, MOST = 64, 1000
"""Curvature of fewer rows is too rough to go by; of more, no better."""


def affordable(bound: Bound, few: Examples, n: int, recipe: Recipe, share: float, turns: int, products: int) -> int:
    """Return how many rows each of `turns` parts may look at, with `products` each, for this share of a training's work on n rows.

    `few`: any rows, to see what one costs. Never fewer than 64 nor more than 1,000, whatever the share.
    """
    worth = _worth(bound, few, n, recipe)
    return int(min(max(share * worth / (turns * (BEFORE + PRODUCT * products)), FEWEST), MOST))


def taken(bound: Bound, few: Examples, n: int, recipe: Recipe, rows: int, turns: int, products: int) -> float:
    """Return the share of a training's work that parts take which look at so many rows."""
    return rows * turns * (BEFORE + PRODUCT * products) / _worth(bound, few, n, recipe)


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
