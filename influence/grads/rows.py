"""Rows and what is asked of each of them, and gradients of single rows where nothing cheaper will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.func import functional_call, grad, vmap

from influence.grads.chosen import chosen
from influence.grads.parts import Part
from influence.grads.query import fitted, part, slices
from influence.grads.uses import Losses, Plan, Use, only, plan, uses, wide
from influence.grads.whole import plain_operations
from influence.loop import Bound
from influence.losses import per_example
from influence.types import tree_map


@dataclass(frozen=True)
class Rows:
    """Rows x, each with one number of its own: the training loss against `target` (B,), or, with loss "linear", <target_i, output_i>.

    Any function of a row's outputs has the gradient of the latter, with `target` (B, C) its derivatives by the outputs.
    """

    x: Any
    target: torch.Tensor
    loss: str

    def __len__(self) -> int:
        return len(self.target)

    def cut(self, rows: Any) -> Rows:
        """Return the rows at a slice or at positions."""
        return Rows(part(self.x, rows), self.target[rows], self.loss)

    def on(self, bound: Bound) -> tuple[Any, Losses]:
        """Return the inputs as the model takes them (its device; floating numbers in its precision), and the losses of its outputs."""
        like = bound.flat
        target = self.target.to(like.device, torch.promote_types(like.dtype, torch.float32) if self.target.is_floating_point() else None)
        return fitted(bound, self.x), lambda out: self._losses(wide(out), target)

    def _losses(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (out * target).flatten(1).sum(1) if self.loss == "linear" else per_example(self.loss, out, target)


def planned(bound: Bound, rows: Rows, places: Sequence[int]) -> Plan:
    """Find out from three of the rows how to read batches of them."""
    bound.module.eval()
    x, losses = rows.cut(torch.arange(3) % len(rows)).on(bound)
    return plan(bound.module, bound.params, places, x, losses)


def gathered(seen: Sequence[Use]) -> dict[int, list[Part]]:
    """Return the parts of each parameter's gradients, by its place."""
    found: dict[int, list[Part]] = {}
    for use in seen:
        for place, its in use.parts().items():
            found.setdefault(place, []).append(its)
    return found


def singly(bound: Bound, rows: Rows, places: Sequence[int]) -> dict[int, torch.Tensor]:
    """Return the rows' gradients by the parameters at `places`, (B, size) each, whatever the operations.

    All rows at once by `torch.func.vmap`; one at a time where an operation does not allow that.
    """
    bound.module.eval()
    x, _ = rows.on(bound)
    with plain_operations(bound.module):
        try:
            return _together(bound, rows, x, places)
        except (NotImplementedError, RuntimeError, ValueError):  # functorch has no one error for "not under vmap"
            return _one_by_one(bound, rows, places)


def _together(bound: Bound, rows: Rows, x: Any, places: Sequence[int]) -> dict[int, torch.Tensor]:
    params = {bound.names[k]: bound.params[k].detach() for k in places}

    def loss(p: Mapping[str, torch.Tensor], one: Any, target: torch.Tensor) -> torch.Tensor:
        given, losses = Rows(tree_map(lambda t: t[None], one), target[None], rows.loss).on(bound)
        return losses(functional_call(bound.module, dict(p), (given,)))[0]

    with only(bound.params, ()):
        found = vmap(grad(loss), in_dims=(None, 0, 0))(params, x, rows.target.to(bound.flat.device))
    return {k: wide(found[bound.names[k]]).flatten(1) for k in places}


def _one_by_one(bound: Bound, rows: Rows, places: Sequence[int]) -> dict[int, torch.Tensor]:
    found: dict[int, list[torch.Tensor]] = {k: [] for k in places}
    params = [bound.params[k] for k in places]
    with only(bound.params, places), torch.enable_grad():
        for i in range(len(rows)):
            x, losses = rows.cut(slice(i, i + 1)).on(bound)
            grads = torch.autograd.grad(losses(bound.module(x)).sum(), params, allow_unused=True)
            for k, p, g in zip(places, params, grads, strict=True):
                found[k].append(wide(torch.zeros_like(p) if g is None else g).flatten())
    return {k: torch.stack(gs) for k, gs in found.items()}


def row_gradients(
    bound: Bound, x: Any, y: torch.Tensor, loss: str, rows: Any = None, layers: str | Sequence[str] | None = None
) -> torch.Tensor:
    """Return the whole gradient of each row's loss, (B, P); zero at frozen parameters and outside `layers`.

    `rows`: a slice or positions; None: all. The only function here whose result grows with B times P.

    Raises:
        BadInput: `layers` names none of the model's.
    """
    asked = Rows(x, y, loss) if rows is None else Rows(x, y, loss).cut(rows)
    how = planned(bound, asked, chosen(bound, layers))
    out = torch.zeros(len(asked), len(bound.flat), dtype=wide(bound.flat).dtype, device=bound.flat.device)
    views = bound.views(out)
    for cut in slices(asked.target, 256):
        block = asked.cut(cut)
        for k, parts in gathered(uses(bound.module, bound.params, how, *block.on(bound))).items():
            views[k][cut] = torch.stack([its.dense() for its in parts]).sum(0).view_as(views[k][cut])
        if how.rest:
            for k, g in singly(bound, block, how.rest).items():
                views[k][cut] = g.view_as(views[k][cut])
    return out
