"""The sweep: d/de l_i(theta + e v) for every example, exact, without a gradient per example.

- *ghost*: one forward and one backward pass to the outputs of all operations that are linear in their parameters (`uses.py`), shared by all
  directions; then, per operation and by what is cheaper, <delta_i, op(a_i; v)> or the row's gradient formed and multiplied with v;
- *forward* and *backward*: through the whole model (`whole.py`).

`auto` takes ghost for every parameter that it covers, and one of the others for what is left. The model is in evaluation mode: no dropout,
BatchNorm with its running statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F

from influence.errors import BadInput
from influence.grads.chosen import chosen
from influence.grads.ops import Linear
from influence.grads.query import slices
from influence.grads.rows import Rows, planned
from influence.grads.uses import Losses, Use, uses, wide
from influence.grads.whole import whole
from influence.loop import Bound
from influence.types import Event, Report, ignore

Kind = Literal["auto", "ghost", "forward", "backward"]
Step = Callable[[Rows], torch.Tensor]
CACHED = 6_000_000
"""Numbers in the outputs of a batch's layers; more rows at a time than that only miss the processor's caches."""
WIDE = 2**23
"""Numbers that the tangents of several directions may take at once."""
FORMED = 2.5
"""What forming a gradient costs at each position, in applications of one direction there (copies of what was seen included)."""


def sweep(
    bound: Bound,
    x: Any,
    y: torch.Tensor,
    loss: str,
    v: torch.Tensor,
    batch: int = 256,
    kind: Kind = "auto",
    report: Report = ignore,
    layers: str | Sequence[str] | None = None,
) -> np.ndarray:
    """Return <grad l_i, v_q> of every example, (N, Q), for directions v (Q, P).

    `layers`: of which layers (`chosen.py`); the others cost nothing. Frozen parameters have no gradient.

    Raises:
        BadInput: ghost was asked for but does not cover every parameter, or rows of a batch are not independent.
    """
    rows, places = Rows(x, y, loss), chosen(bound, layers)
    bound.module.eval()
    v = wide(v).to(bound.flat.device)
    scores = np.zeros((len(rows), len(v)), dtype=str(v.dtype).removeprefix("torch."))
    if not places or not len(rows):
        return scores
    step = _whole(bound, places, v, kind) if kind in ("forward", "backward") else _layer_by_layer(bound, rows, places, v, kind)
    for cut in slices(y, batch):
        scores[cut] = step(rows.cut(cut)).cpu().numpy()
        report(Event("sweep", cut.stop, len(y)))
    return scores


def _whole(bound: Bound, places: Sequence[int], v: torch.Tensor, kind: Kind) -> Step:
    step = whole(bound, places, v, kind)
    return lambda rows: step(*rows.on(bound))


def _layer_by_layer(bound: Bound, rows: Rows, places: Sequence[int], v: torch.Tensor, kind: Kind) -> Step:
    how = planned(bound, rows, places)
    if kind == "ghost" and how.rest:
        names = ", ".join(bound.names[k] for k in how.rest[:3])
        raise BadInput(f"The ghost sweep covers operations that are linear in their parameters; {names} is used otherwise. Choose auto.")
    directions = bound.views(v)
    others = whole(bound, how.rest, v) if how.rest else None
    most = max(1, CACHED // max(how.numbers, 1))

    def few(x: Any, losses: Losses) -> torch.Tensor:
        scores = torch.zeros(1, dtype=v.dtype, device=v.device) if others is None else others(x, losses).to(v.dtype)
        seen = uses(bound.module, bound.params, how, x, losses)
        with torch.no_grad():
            for use in seen:
                scores = scores + along(use, {role: directions[k] for role, k in use.owned.items()})
        return scores.expand(-1, len(v))

    return lambda rows: torch.cat([few(*rows.cut(cut).on(bound)) for cut in slices(rows.target, most)])


def along(use: Use, v: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return <gradients by the use's parameters, v_q>, (B, Q), for directions by role, (Q, *shape) each."""
    q = len(next(iter(v.values())))
    positions = 1 if use.op.small or "weight" not in use.shapes else use.positions
    if use.op.small or q * positions > FORMED * positions + q:
        found = use.op.parts(use.given, use.delta, use.rows, use.shapes)
        return sum((its.dense() @ v[role].flatten(1).T for role, its in found.items()), torch.zeros((), dtype=use.delta.dtype))
    if q > 1 and isinstance(use.op, Linear) and use.delta.dim() == 2 and use.rows.kind == "first":
        step = max(1, WIDE // use.delta.numel())
        return torch.cat([_abreast(use, {role: d[k : k + step] for role, d in v.items()}) for k in range(0, q, step)], dim=1)
    return torch.stack([_once(use, {role: d[k] for role, d in v.items()}) for k in range(q)], dim=1)


def _once(use: Use, v: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """One direction, (B,)."""
    if isinstance(use.op, Linear) and "weight" in v and use.delta.shape[-1] > use.given["input"].shape[-1]:
        t, other = use.delta @ v["weight"], use.given["input"]  # from the wider side to the narrower: less to multiply
        shift = use.rows(use.delta @ v["bias"]) if "bias" in v else None
    else:
        t, other, shift = use.op.tangent(use.given, v), use.delta, None
    found = use.rows(t.mul_(other)).flatten(1).sum(1)
    return found if shift is None else found + (shift.flatten(1).sum(1) if shift.dim() > 1 else shift)


def _abreast(use: Use, v: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Several directions of a linear layer in one matrix product, (B, Q)."""
    out = use.delta.shape[-1]
    scores = use.delta @ v["bias"].T if "bias" in v else torch.zeros((), dtype=use.delta.dtype)
    if "weight" not in v:
        return scores
    t = F.linear(use.given["input"], v["weight"].flatten(0, 1)).unflatten(1, (-1, out))
    return torch.einsum("bqo,bo->bq", t, use.delta) + scores
