"""What the last hidden layer says of rows: the inputs of the last Linear layer, which is how the model sees them before it answers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from influence.errors import BadInput
from influence.grads.chosen import owners
from influence.grads.query import fitted
from influence.loop import Bound


def ends_linear(module: nn.Module) -> bool:
    """Say whether the last layer with parameters is a Linear one."""
    last = owners(module)[-1:]
    return bool(last) and isinstance(last[0][1], nn.Linear)


def hidden(bound: Bound, x: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the inputs of the last Linear layer (B, D) and the outputs (B, C) of rows, without a graph.

    Raises:
        BadInput: something follows that layer, or it is used more than once.
    """
    layer, caught = owners(bound.module)[-1][1], []
    hook = layer.register_forward_hook(lambda _m, given, out: caught.append((given[0], out)))
    try:
        with torch.no_grad():
            z = bound.module(fitted(bound, x))
    finally:
        hook.remove()
    if len(caught) != 1 or caught[0][1] is not z or caught[0][0].dim() != 2:
        raise BadInput("The model's output is not that of its last Linear layer: there is no last hidden layer to compare.")
    return caught[0][0], z
