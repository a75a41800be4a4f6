"""The sweep: d/de l_i(theta + e v) for every example, exact, without any per-example gradient.

- *ghost*: for layers that are linear in their own parameters (Linear, Conv, GroupNorm, LayerNorm, Embedding, ...), the tangent of the
  layer's output along v is the layer itself with v in place of its parameters, and <grad l_i, v> = sum of delta_i . layer(a_i; v) over the
  layers (`layers.py`);
- *forward*: `torch.func.jvp` of the unreduced loss, for any other layer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.func import functional_call, jvp

from influence.errors import BadInput
from influence.grads.layers import ghost_applies, owners, seen, twin
from influence.grads.query import part, slices
from influence.loop import Bound
from influence.losses import per_example
from influence.types import Event, Report, ignore


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
    layers = owners(bound.module)
    named = [dict(zip(bound.names, bound.views(row), strict=True)) for row in v]
    twins = {name: [twin(name, layer, direction) for direction in named] for name, layer in layers}

    def step(x: Any, y: torch.Tensor, loss: str) -> torch.Tensor:
        scores = torch.zeros(len(y), len(v), dtype=v.dtype)
        uses = seen(bound.module, layers, x, lambda out: per_example(loss, out, y))
        with torch.no_grad():
            for use in uses:
                for q, along in enumerate(twins[use.name]):
                    scores[:, q] += torch.linalg.vecdot(use.delta.flatten(1), along.forward(use.a).flatten(1))
        return scores

    return step
