"""What each layer saw of a batch: its inputs, and the derivatives of the rows' losses by its outputs.

With a_i the input of a layer and delta_i = dl_i/d(output), everything about the gradient of row i by that layer's parameters follows
without forming it: for a layer that is linear in its own parameters, <grad l_i, v> = delta_i . layer(a_i; v).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import get_gradient_edge

LINEAR_IN_PARAMETERS = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.GroupNorm, nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.Embedding,
)  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """One use of one layer in a batch: its input `a` (B, ...) and `delta` = dl_i/d(output), (B, ...)."""

    name: str
    layer: nn.Module
    a: torch.Tensor
    delta: torch.Tensor


def seen(module: nn.Module, layers: Sequence[tuple[str, nn.Module]], x: Any, losses: Callable[[torch.Tensor], torch.Tensor]) -> list[Seen]:
    """Return what `layers` (name, layer) saw when the rows `x` went through the module; `losses` maps outputs (B, C) to (B,).

    One ordinary forward and one backward pass to the layers' outputs: no gradient of a parameter is formed. A layer that is used several
    times is seen several times; one that the losses do not depend on is left out.
    """
    uses: list[tuple[str, nn.Module, torch.Tensor, Any]] = []  # the edge, not the output: a later in-place operation may change that

    def note(name: str, layer: nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        uses.append((name, layer, given[0].detach(), get_gradient_edge(out)))

    hooks = [layer.register_forward_hook(partial(note, name)) for name, layer in layers]
    try:
        total = losses(module(x)).sum()
    finally:
        for hook in hooks:
            hook.remove()
    deltas = torch.autograd.grad(total, [edge for *_, edge in uses], allow_unused=True)
    return [Seen(name, layer, a, delta) for (name, layer, a, _), delta in zip(uses, deltas, strict=True) if delta is not None]


def ghost_applies(module: nn.Module) -> bool:
    """Whether every parameter belongs to exactly one layer that is linear in its parameters."""
    layers = owners(module)
    owned = [id(p) for _, layer in layers for p in layer.parameters(recurse=False)]
    return all(linear_in_parameters(layer) for _, layer in layers) and len(owned) == len(set(owned))


def owners(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the layers that own parameters, by name."""
    return [(name, layer) for name, layer in module.named_modules() if any(True for _ in layer.parameters(recurse=False))]


def linear_in_parameters(layer: nn.Module) -> bool:
    """Whether the layer's output is linear in its own parameters, so that the layer itself gives its tangent."""
    if type(layer) not in LINEAR_IN_PARAMETERS:
        return False
    plain = {name for name, _ in layer.named_parameters(recurse=False)} <= {"weight", "bias"}  # not so under weight_norm, spectral_norm
    return plain and not (isinstance(layer, nn.Embedding) and (layer.max_norm is not None or layer.padding_idx is not None))


def twin(name: str, layer: nn.Module, direction: dict[str, torch.Tensor]) -> nn.Module:
    """Return the layer with a direction in place of its parameters, without hooks (and without `functional_call`'s time per call)."""
    twin = copy.copy(layer)
    own = {own: direction[f"{name}.{own}" if name else own] for own, _ in layer.named_parameters(recurse=False)}
    twin._parameters = layer._parameters | own  # type: ignore[operator]
    return twin
