"""Gradients of questions and directional derivatives of per-example losses: the only autograd tricks.

A question's gradient needs the model through its logits alone: one forward pass, dF/dlogits, and a batched vector-Jacobian product, in
O(batch) memory for any functional. The *sweep* is then d/de l_i(theta + e v) for every example, exact, without any per-example gradient:

- *ghost*: for layers that are linear in their own parameters (Linear, Conv, GroupNorm, LayerNorm, Embedding, ...), the tangent of the
  layer's output along v is the layer itself with v in place of its parameters, and <grad l_i, v> = sum of delta_i . layer(a_i; v) over the
  layers, where delta_i = dl_i/d(output) comes from one backward pass to the layers' outputs (no weight gradient is formed);
- *forward*: `torch.func.jvp` of the unreduced loss, for any other layer.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd.graph import get_gradient_edge
from torch.func import functional_call, jvp

from influence.errors import BadInput
from influence.loop import Bound, cat, tensors
from influence.losses import per_example
from influence.types import Event, Examples, Question, Report, ignore, tree_map

LINEAR_IN_PARAMETERS = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.GroupNorm, nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.Embedding,
)  # fmt: skip


def logits(bound: Bound, x: Any, batch: int = 4096) -> torch.Tensor:
    """Return the model's outputs in evaluation mode, (M, C), without a graph."""
    bound.module.eval()
    with torch.no_grad():
        return torch.cat([bound.module(part(x, cut)) for cut in slices(x, batch)])


def slices(x: Any, batch: int) -> list[slice]:
    """Cut the leading dimension of `x` into consecutive slices."""
    n = len(next(iter(x.values())) if isinstance(x, dict) else x)
    return [slice(start, min(start + batch, n)) for start in range(0, n, batch)]


def part(x: Any, cut: slice) -> Any:
    """Return the rows `cut` of `x`."""
    return tree_map(lambda leaf: leaf[cut], x)


def outputs(bound: Bound, examples: Examples) -> torch.Tensor:
    """Return the model's outputs on examples, (M, C)."""
    return logits(bound, tensors(examples, str(bound.flat.dtype).removeprefix("torch."))[0])


def query_gradient(bound: Bound, question: Question, batch: int = 4096) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the question's values (Q,) and its gradient (Q, P) at the module's parameters.

    Raises:
        BadInput: a value or gradient is not finite.
    """
    x, _ = tensors(question.examples, str(bound.flat.dtype).removeprefix("torch."))
    seen = logits(bound, x, batch).requires_grad_()
    values = question.value(seen)
    by_logits = torch.stack([torch.autograd.grad(value, seen, retain_graph=True)[0] for value in values])
    total = torch.zeros(len(values), len(bound.flat), dtype=bound.flat.dtype)
    for cut in slices(x, batch):
        out = bound.module(part(x, cut))
        for q, at in enumerate(by_logits[:, cut]):
            total[q] += cat(torch.autograd.grad(out, bound.params, at, retain_graph=q + 1 < len(values)))
    if not torch.isfinite(total).all():
        raise BadInput("The question's gradient is not finite: the model overflows. Train with a smaller step size or in float64.")
    return values.detach(), total


def ghost_applies(module: nn.Module) -> bool:
    """Whether every parameter belongs to exactly one layer that is linear in its parameters."""
    layers = _layers(module)
    owned = [id(p) for _, layer in layers for p in layer.parameters(recurse=False)]
    return all(_linear(layer) for _, layer in layers) and len(owned) == len(set(owned))


def _layers(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the layers that own parameters, by name."""
    return [(name, layer) for name, layer in module.named_modules() if any(True for _ in layer.parameters(recurse=False))]


def _linear(layer: nn.Module) -> bool:
    if type(layer) not in LINEAR_IN_PARAMETERS:
        return False
    plain = {name for name, _ in layer.named_parameters(recurse=False)} <= {"weight", "bias"}  # not so under weight_norm, spectral_norm
    return plain and not (isinstance(layer, nn.Embedding) and (layer.max_norm is not None or layer.padding_idx is not None))


def sweep(
    bound: Bound, x: Any, y: torch.Tensor, loss: str, v: torch.Tensor, batch: int = 256, kind: str = "auto", report: Report = ignore
) -> np.ndarray:
    """Return <grad l_i, v_q> of every example, (N, Q), for directions v (Q, P).

    `kind`: "ghost", "forward", or "auto" for the cheaper one that applies.

    Raises:
        BadInput: ghost was asked for but a layer is not linear in its parameters.
    """
    bound.module.eval()
    possible = ghost_applies(bound.module)
    if kind == "ghost" and not possible:
        raise BadInput("The ghost sweep needs layers that are linear in their parameters, each used once. Choose the forward sweep.")
    step = _ghost(bound, v) if kind == "ghost" or (kind == "auto" and possible) else _forward(bound, v)
    parts = []
    for cut in slices(x, batch):
        parts.append(step(part(x, cut), y[cut], loss))
        report(Event("sweep", cut.stop, len(y)))
    return torch.cat(parts).numpy()


def _forward(bound: Bound, v: torch.Tensor) -> Callable[..., torch.Tensor]:
    params = dict(zip(bound.names, [p.detach() for p in bound.params], strict=True))
    directions = [dict(zip(bound.names, bound.views(row), strict=True)) for row in v]

    def step(x: Any, y: torch.Tensor, loss: str) -> torch.Tensor:
        def losses(p: dict[str, torch.Tensor]) -> torch.Tensor:
            return per_example(loss, functional_call(bound.module, p, (x,)), y)

        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch's own, of what it loads at the first jvp
            return torch.stack([jvp(losses, (params,), (direction,))[1] for direction in directions], dim=1)

    return step


def _ghost(bound: Bound, v: torch.Tensor) -> Callable[..., torch.Tensor]:
    layers = _layers(bound.module)
    named = [dict(zip(bound.names, bound.views(row), strict=True)) for row in v]
    along = {name: [_twin(name, layer, direction) for direction in named] for name, layer in layers}

    def step(x: Any, y: torch.Tensor, loss: str) -> torch.Tensor:
        seen: list[tuple[str, torch.Tensor, Any]] = []  # the edge, not the output: a later in-place operation may change that

        def note(name: str, _: nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
            seen.append((name, given[0].detach(), get_gradient_edge(out)))

        hooks = [layer.register_forward_hook(partial(note, name)) for name, layer in layers]
        try:
            total = per_example(loss, bound.module(x), y).sum()
        finally:
            for hook in hooks:
                hook.remove()
        deltas = torch.autograd.grad(total, [edge for *_, edge in seen], allow_unused=True)
        scores = torch.zeros(len(y), len(v), dtype=v.dtype)
        with torch.no_grad():
            for (name, a, _), delta in zip(seen, deltas, strict=True):
                for q, twin in enumerate(along[name] if delta is not None else ()):
                    scores[:, q] += torch.linalg.vecdot(delta.flatten(1), twin.forward(a).flatten(1))
        return scores

    return step


def _twin(name: str, layer: nn.Module, direction: dict[str, torch.Tensor]) -> nn.Module:
    """Return the layer with a direction in place of its parameters, without hooks (and without `functional_call`'s time per call)."""
    twin = copy.copy(layer)
    own = {own: direction[f"{name}.{own}" if name else own] for own, _ in layer.named_parameters(recurse=False)}
    twin._parameters = layer._parameters | own  # type: ignore[operator]
    return twin
