"""Models that place rows by what is in them (unpadded texts, experts, sorting): where a row lies then has to be seen in every batch.

They are told by operations that move entries by values or read a value. Rows moved by a product with a matrix of zeros and ones that is
made by comparing alone are not told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from influence.grads.parts import Layout

_MOVING = re.compile(
    "index|gather|scatter|take|::put|sort|topk|nonzero|masked_select|unique|repeat_interleave|pack_padded|embedding|local_scalar|equal"
)
READS = {Tensor.tolist, Tensor.numpy, Tensor.__array__}
"""Functions that hand values to Python and are no operations of PyTorch."""


class Moves(TorchDispatchMode):
    """Notes whether an operation moves entries by values, or reads a value. Looking up a parameter's entries moves no row."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if _MOVING.search(func._schema.name) and not (args and isinstance(args[0], nn.Parameter)):
            self.seen = True
        return func(*args, **(kwargs or {}))


def weights(losses: Tensor) -> Tensor:
    """Return one factor for each row's loss, between 1 and 2; always the same, so that nothing is drawn from anybody's generator."""
    return 1 + torch.rand(len(losses), generator=torch.Generator().manual_seed(0)).to(losses)


def placed(rows: Sequence[Layout], deltas: Sequence[Tensor], weighted: Sequence[Tensor], by: Tensor) -> bool:
    """Whether each row lies where its layout says: there, weighting the rows' losses weights the deltas, and by just as much."""
    for where, delta, other in zip(rows, deltas, weighted, strict=True):
        own = where(delta)
        gap = where(other) - own * by.to(own.dtype).view(-1, *[1] * (own.dim() - 1))
        if gap.abs().max() > torch.finfo(own.dtype).eps ** 0.5 * own.abs().max():
            return False
    return True
