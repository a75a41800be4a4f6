"""Rows and what is asked of each of them, and gradients of single rows where nothing cheaper will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from influence.errors import BadInput
from influence.grads.chosen import chosen
from influence.grads.parts import Part
from influence.grads.query import fitted, part, slices
from influence.grads.uses import Astray, Losses, Plan, Use, only, plan, uses, wide
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

    @property
    def fixed(self) -> Rows:
        """The same, with losses that may be differentiated in any mode: these are."""
        return self

    def on(self, bound: Bound) -> tuple[Any, Losses]:
        """Return the inputs as the model takes them (its device; floating numbers in its precision), and the losses of its outputs."""
        like = bound.flat
        target = self.target.to(like.device, torch.promote_types(like.dtype, torch.float32) if self.target.is_floating_point() else None)
        return fitted(bound, self.x), lambda out: self._losses(wide(out), target)

    def _losses(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (out * target).flatten(1).sum(1) if self.loss == "linear" else per_example(self.loss, out, target)


def planned(bound: Bound, rows: Rows, places: Sequence[int]) -> Plan:
    """Find out from some of the rows how to read batches of them.

    Raises:
        BadInput: rows of a batch are not independent.
    """
    tried = some(rows)
    apart(bound, tried)
    return plan(bound.module, bound.params, places, *tried.on(bound))


def some(rows: Rows) -> Rows:
    """Return three rows: the first, the middle and the last, for rows may be sorted."""
    return rows.cut(torch.linspace(0, len(rows) - 1, 3).long())


def apart(bound: Bound, rows: Rows) -> None:
    """See that the model gives the same for each row alone as beside the others: only then has a row a gradient of its own.

    Raises:
        BadInput: it does not.
    """
    _no_layer_mixes(bound.module.eval())
    with torch.no_grad(), plain_operations(bound.module):
        together = bound.module(rows.on(bound)[0])
        try:
            alone = [bound.module(rows.cut(slice(i, i + 1)).on(bound)[0]).flatten() for i in range(len(rows))]
        except (IndexError, RuntimeError, ValueError):  # some models cannot take a row alone
            alone = []
    coarsest = max(torch.finfo(t.dtype).eps for t in (together, *bound.params))
    allowed = coarsest ** (1 / 3) * together.abs().max()  # rounding differs with the number of rows, most on accelerators
    same = [
        one.shape == seen.shape and not (one - seen).abs().max() > allowed for one, seen in zip(alone, together.flatten(1), strict=False)
    ]
    if sum(same) < len(rows):
        raise BadInput(
            "The model gives other outputs for a row alone than for the same row beside others, so no row has a gradient of its own. "
            "See that rows come first in every layer (batch_first=True) and that no layer mixes them or draws at random in evaluation mode."
        )


def _no_layer_mixes(module: nn.Module) -> None:
    """Tell of layers known to mix rows, the second in its gradient alone.

    Raises:
        BadInput: there is one.
    """
    for m in module.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is None:
            raise BadInput(
                "A BatchNorm layer without running statistics makes each row's output depend on the others of its batch, so no row has a "
                "gradient of its own. Train with track_running_stats=True, or use GroupNorm."
            )
        if isinstance(m, nn.Embedding) and m.scale_grad_by_freq:
            raise BadInput(
                "An Embedding with scale_grad_by_freq=True scales each row's gradient by what else is in its batch, so no row has a "
                "gradient of its own. Build the model with scale_grad_by_freq=False."
            )


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
            loss = losses(bound.module(x)).sum()
            grads = torch.autograd.grad(loss, params, allow_unused=True) if loss.requires_grad else [None] * len(params)
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
        try:
            seen = uses(bound.module, bound.params, how, *block.on(bound))
        except Astray:
            how, seen = how.whole, []
        for k, parts in gathered(seen).items():
            views[k][cut] = torch.stack([its.dense() for its in parts]).sum(0).view_as(views[k][cut])
        if how.rest:
            for k, g in singly(bound, block, how.rest).items():
                views[k][cut] = g.view_as(views[k][cut])
    return out
