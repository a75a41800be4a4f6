"""Per-example training losses: never reduced, so that weights, sweeps and walks see each example."""

from __future__ import annotations

import torch
import torch.nn.functional as F

HUBER_DELTA = 1.0


def per_example(kind: str, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the loss of each example, (B, C) and (B,) -> (B,).

    cross_entropy: y holds class places. squared: (z - y)². huber: quadratic within 1 of the target, linear beyond (Huber 1964).

    Raises:
        ValueError: an unknown kind.
    """
    if kind == "cross_entropy":
        return F.cross_entropy(outputs, y, reduction="none")
    if kind == "squared":
        return F.mse_loss(outputs.squeeze(-1), y, reduction="none")
    if kind == "huber":
        return F.huber_loss(outputs.squeeze(-1), y, reduction="none", delta=HUBER_DELTA)
    raise ValueError(f"Unknown loss {kind!r}; known: cross_entropy, squared, huber.")
