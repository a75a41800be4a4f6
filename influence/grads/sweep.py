"""The sweep: d/de l_i(theta + e v) for every example, exact, without a gradient per example.

- *ghost*: one forward and one backward pass to the outputs of all operations that are linear in their parameters (`uses.py`), shared by all
  directions; then, per operation and by what is cheaper, <delta_i, op(a_i; v)> or the row's gradient formed and multiplied with v;
- *forward* and *backward*: through the whole model (`whole.py`).

`auto` takes ghost for every parameter that it covers and every batch that it can read, and for what is left forward, else backward, else
whole gradients of rows. The model is in evaluation mode: no dropout, BatchNorm with its running statistics.
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
from influence.grads.rows import Rows, apart, planned, singly, some
from influence.grads.uses import Astray, Plan, Use, uses, wide
from influence.grads.whole import backward, forward, padded
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
    if kind in ("forward", "backward"):
        apart(bound, some(rows))
        step = through(bound, places, v, kind)
    else:
        step = layered(bound, planned(bound, rows, places), v, kind)
    for cut in slices(y, batch):
        scores[cut] = step(rows.cut(cut)).cpu().numpy()
        report(Event("sweep", cut.stop, len(y)))
    return scores


def layered(bound: Bound, how: Plan, v: torch.Tensor, kind: Kind = "auto") -> Step:
    """Return the step layer by layer, and through the whole model where that does not go.

    Raises:
        BadInput: a parameter (here) or a batch (at its step) cannot be read layer by layer, and ghost was asked for.
    """
    if kind == "ghost" and how.rest:
        names = ", ".join(bound.names[k] for k in how.rest[:3])
        raise BadInput(f"The ghost sweep covers operations that are linear in their parameters; {names} is used otherwise. Choose auto.")
    directions = bound.views(v)
    others = through(bound, how.rest, v) if how.rest else None
    most = max(1, CACHED // max(how.numbers, 1))

    def few(rows: Rows) -> torch.Tensor:
        try:
            seen = uses(bound.module, bound.params, how, *rows.on(bound))
        except Astray:
            if kind == "ghost":
                raise
            apart(bound, rows)
            return through(bound, how.whole.rest, v)(rows)
        scores = torch.zeros(1, dtype=v.dtype, device=v.device) if others is None else others(rows).to(v.dtype)
        with torch.no_grad():
            for use in seen:
                scores = scores + along(use, {role: directions[k].to(use.delta.dtype) for role, k in use.owned.items()})
        return scores.expand(len(rows), len(v))

    return lambda rows: torch.cat([few(rows.cut(cut)) for cut in slices(rows.target, most)])


def through(bound: Bound, places: Sequence[int], v: torch.Tensor, kind: Kind = "auto") -> Step:
    """Return the step through the whole model by `kind`; auto: the first that works of forward, backward and whole gradients of rows.

    An embedding's `padding_idx` stops the gradient, of which forward mode knows nothing: there it is backward in any case.
    """
    back = padded(bound, places)
    modes = [*([forward] if kind != "backward" and not back else []), *([backward] if kind != "forward" or back else [])]
    ways = [mode(bound, places, v) for mode in modes]

    def step(rows: Rows) -> torch.Tensor:
        rows = rows.fixed
        while ways:
            try:
                return ways[0](*rows.on(bound))
            except (NotImplementedError, RuntimeError) as error:  # functorch has no one error for "no forward mode"
                if kind != "auto":
                    other = "auto or backward" if kind == "forward" else "auto"
                    raise BadInput(f"The {kind} sweep failed: {str(error).splitlines()[0][:200]} Choose the {other} sweep.") from error
                del ways[0]
        return _formed(bound, rows, places, v)

    return step


def _formed(bound: Bound, rows: Rows, places: Sequence[int], v: torch.Tensor) -> torch.Tensor:
    """Form the rows' gradients, some rows at a time, and multiply them with v."""
    views, size = bound.views(v), sum(bound.params[k].numel() for k in places)
    found = []
    for cut in slices(rows.target, max(1, WIDE // size)):
        grads = singly(bound, rows.cut(cut), places)
        found.append(sum(g @ views[k].flatten(1).T.to(g.dtype) for k, g in grads.items()))
    return torch.cat(found)  # type: ignore[arg-type]


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
