"""Gradients of questions and directional derivatives of per-example losses: the only autograd tricks.

A question's gradient needs the model through its logits alone: one forward pass, dF/dlogits, and a batched vector-Jacobian product, in O(batch)
memory for any functional. The *sweep* is then d/de l_i(theta + e v) for every example, exact, without any per-example gradient:

- *ghost*: for layers that are linear in their own parameters (Linear, Conv, GroupNorm, LayerNorm, Embedding, ...), the tangent of the layer's
  output along v is the layer itself with v in place of its parameters, and <grad l_i, v> = sum over layers of delta_i . layer(a_i; v), where
  delta_i = dl_i/d(output) comes from one backward pass to the layers' outputs (no weight gradient is formed);
- *forward*: `torch.func.jvp` of the unreduced loss, for any other layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
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
        return torch.cat([bound.module(tree_map(lambda leaf, c=cut: leaf[c], x)) for cut in slices(x, batch)])


def slices(x: Any, batch: int) -> list[slice]:
    """Cut the leading dimension of `x` into consecutive slices."""
    n = len(next(iter(x.values())) if isinstance(x, dict) else x)
    return [slice(start, min(start + batch, n)) for start in range(0, n, batch)]


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
        out = bound.module(tree_map(lambda leaf, c=cut: leaf[c], x))
        for q, at in enumerate(by_logits[:, cut]):
            total[q] += cat(torch.autograd.grad(out, bound.params, at, retain_graph=q + 1 < len(values)))
    if not torch.isfinite(total).all():
        raise BadInput("The question's gradient is not finite: the model overflows. Train with a smaller step size or in float64.")
    return values.detach(), total


def ghost_applies(module: nn.Module) -> bool:
    """Whether every parameter belongs to exactly one layer that is linear in its parameters."""
    owned = [id(p) for layer in module.modules() for p in layer.parameters(recurse=False)]
    linear = all(type(layer) in LINEAR_IN_PARAMETERS for layer in module.modules() if any(True for _ in layer.parameters(recurse=False)))
    return linear and len(owned) == len(set(owned))


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
        parts.append(step(tree_map(lambda leaf, c=cut: leaf[c], x), y[cut], loss))
        report(Event("sweep", cut.stop, len(y)))
    return torch.cat(parts).numpy()


def _forward(bound: Bound, v: torch.Tensor) -> Callable[..., torch.Tensor]:
    params = dict(zip(bound.names, [p.detach() for p in bound.params], strict=True))
    directions = [dict(zip(bound.names, bound.views(row), strict=True)) for row in v]

    def step(x: Any, y: torch.Tensor, loss: str) -> torch.Tensor:
        def losses(p: dict[str, torch.Tensor]) -> torch.Tensor:
            return per_example(loss, functional_call(bound.module, p, (x,)), y)

        with torch.no_grad():
            return torch.stack([jvp(losses, (params,), (direction,))[1] for direction in directions], dim=1)

    return step


def _ghost(bound: Bound, v: torch.Tensor) -> Callable[..., torch.Tensor]:
    layers = [(name, layer) for name, layer in bound.module.named_modules() if any(True for _ in layer.parameters(recurse=False))]
    named = [dict(zip(bound.names, bound.views(row), strict=True)) for row in v]
    along = {
        name: [{own: d[f"{name}.{own}" if name else own] for own, _ in layer.named_parameters(recurse=False)} for d in named]
        for name, layer in layers
    }

    def step(x: Any, y: torch.Tensor, loss: str) -> torch.Tensor:
        seen: list[tuple[str, nn.Module, torch.Tensor, torch.Tensor]] = []
        hooks = [
            layer.register_forward_hook(lambda m, i, o, name=name: seen.append((name, m, i[0].detach(), o)))  # type: ignore[misc]
            for name, layer in layers
        ]
        try:
            total = per_example(loss, bound.module(x), y).sum()
        finally:
            for hook in hooks:
                hook.remove()
        deltas = torch.autograd.grad(total, [out for *_, out in seen])
        scores = torch.zeros(len(y), len(v), dtype=v.dtype)
        with torch.no_grad():
            for (name, layer, a, _), delta in zip(seen, deltas, strict=True):
                for q, own in enumerate(along[name]):
                    scores[:, q] += (delta * functional_call(layer, own, (a,), strict=False)).flatten(1).sum(1)
        return scores

    return step
