"""Directional derivatives through the whole model, whatever its operations: in forward mode, or by differentiating a gradient."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from influence.grads.uses import Losses, only, wide
from influence.loop import Bound

Whole = Callable[[Any, Losses], torch.Tensor]
"""Rows and their losses to <grad l_i, v_q>, (B, Q)."""


@contextmanager
def plain_operations(module: nn.Module) -> Iterator[None]:
    """Fused attention and recurrent layers can be differentiated once only; within, their plain equivalents run."""
    fast = torch.backends.mha.get_fastpath_enabled()
    recurrent = any(isinstance(m, nn.RNNBase) for m in module.modules())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of what it loads at the first jvp and of accelerators that are not here
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False) if recurrent else nullcontext():
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)


def forward(bound: Bound, places: Sequence[int], v: torch.Tensor) -> Whole:
    """d/de l_i(theta + e v_q) by `torch.func.jvp`, of the parameters at `places` alone."""
    params = {bound.names[k]: bound.params[k].detach() for k in places}
    directions = [{bound.names[k]: views[k].to(bound.params[k].dtype) for k in places} for views in map(bound.views, v)]

    def step(x: Any, losses: Losses) -> torch.Tensor:
        def at(p: dict[str, torch.Tensor]) -> torch.Tensor:
            return losses(functional_call(bound.module, p, (x,)))

        with torch.no_grad(), plain_operations(bound.module):
            return torch.stack([jvp(at, (params,), (direction,))[1] for direction in directions], dim=1)

    return step


def backward(bound: Bound, places: Sequence[int], v: torch.Tensor) -> Whole:
    """d/dw_i <grad sum_i w_i l_i, v_q>: for operations without forward mode."""
    params = [bound.params[k] for k in places]
    directions = [[views[k] for k in places] for views in map(bound.views, v)]

    def step(x: Any, losses: Losses) -> torch.Tensor:
        with only(bound.params, places), torch.enable_grad(), plain_operations(bound.module):
            found = losses(bound.module(x))
            w = torch.ones_like(found, requires_grad=True)
            grads = torch.autograd.grad((w * found).sum(), params, create_graph=True, allow_unused=True)
            columns = []
            for direction in directions:
                along = sum((wide(g) * d).sum() for g, d in zip(grads, direction, strict=True) if g is not None)
                columns.append(torch.autograd.grad(along, w, retain_graph=True)[0])
            return torch.stack(columns, dim=1)

    return step


def padded(bound: Bound, places: Sequence[int]) -> bool:
    """Whether an embedding's `padding_idx` stops a gradient, of which forward mode knows nothing."""
    tables = {id(m.weight) for m in bound.module.modules() if isinstance(m, nn.Embedding) and m.padding_idx is not None}
    return any(id(bound.params[k]) in tables for k in places)
