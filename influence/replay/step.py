"""One step of the walk: adjoints after an optimiser step to adjoints before it, and the step's part of dF/dw."""

from __future__ import annotations

import torch

from influence.errors import BadInput
from influence.loop import Loop, cat, tensors
from influence.losses import per_example
from influence.optim import Slots
from influence.replay.layers import elementary
from influence.replay.twice import Products
from influence.types import Examples


class Step:
    """Walks a loop back, step by step. `second`: second versions of the rows, whose weights w' are 0."""

    def __init__(self, loop: Loop, second: Examples | None) -> None:
        self.loop, self.second = loop, second
        elementary(loop.bound.module)
        for layer in loop.norms:
            layer.followed = True
        self.norms = [layer for layer in loop.norms if layer.running_mean is not None]
        self.products = Products(loop.bound.module)
        self.checked = False
        if second is not None:
            self.x, self.y = tensors(second, loop.recipe.dtype)
            pairs = [(loop.x[name], self.x[name]) for name in loop.x] if isinstance(loop.x, dict) else [(loop.x, self.x)]
            self.relabelled = all(torch.equal(first, other) for first, other in pairs)
            if loop.norms and not self.relabelled:  # a second version is seen by the batch's statistics, so both go through together
                self.both = {n: torch.cat([loop.x[n], self.x[n]]) for n in loop.x} if isinstance(loop.x, dict) else torch.cat(pairs[0])

    def state(self) -> list[torch.Tensor]:
        """Return the tensors by which a question is differentiated: the parameters, then running statistics as fresh leaves."""
        own: list[torch.Tensor] = []
        for layer in self.norms:
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean = layer.running_mean.detach().requires_grad_()
            layer.running_var = layer.running_var.detach().requires_grad_()
            own += [layer.running_mean, layer.running_var]
        return [*self.loop.bound.params, *own]

    def __call__(self, t: int, state: Slots, at: Slots, total: Slots) -> None:
        """Carry the adjoints `at` over step t, in place, and add its part of dF/dw to `total`; `state`: before the step."""
        loop, params = self.loop, self.loop.bound.params
        loop.bound.flat.copy_(state["theta"])
        loop.bound.module.train()
        statistics = self.state()[len(params) :]
        for layer in self.norms:
            assert layer.num_batches_tracked is not None
            layer.num_batches_tracked.fill_(t)
        loss, weights = self._checked_loss(t) if not self.checked else self._loss(t)
        after = [value for layer in self.norms for value in (layer.running_mean, layer.running_var) if value is not None]
        grads = torch.autograd.grad(loss, params, create_graph=True)
        with torch.no_grad():
            mu = loop.rule.back(at, state, cat(grads), loop.batches.lr[t], t)
        pulled = list(torch.split(at["statistics"], [value.numel() for value in statistics], dim=1)) if statistics else []
        found = self.products([*grads, *after], [*params, *statistics, *weights], [*loop.bound.views(mu), *pulled])
        with torch.no_grad():
            for carried, part in zip(loop.bound.views(at["theta"]), found, strict=False):
                carried += part
            if statistics:
                at["statistics"] = cat(found[len(params) : len(params) + len(statistics)], 1)
            for gathered, part in zip(total.values(), found[len(params) + len(statistics) :], strict=True):
                gathered.index_add_(1, loop.batches.places[t], part.cpu())

    def _checked_loss(self, t: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return `_loss`, having looked whether the model does in a step what the walk cannot follow.

        Raises:
            BadInput: it keeps statistics other than those of batch normalisation, or draws what second versions would draw differently.
        """
        own = {id(value) for layer in self.norms for value in (layer.running_mean, layer.running_var)}
        others = {name: value.clone() for name, value in self.loop.bound.module.named_buffers() if id(value) not in own}
        found = self._loss(t)
        now = dict(self.loop.bound.module.named_buffers())
        changed = [name for name, value in others.items() if value.is_floating_point() and not torch.equal(value, now[name])]
        if changed:
            raise BadInput(
                f"The model changes {changed[0]} while it trains, and the walk cannot follow that. Use BatchNorm, GroupNorm or LayerNorm, "
                "or choose tracin."
            )
        if self.loop.draws(t) and self.second is not None and self.loop.norms and not self.relabelled:
            raise BadInput(
                "Rows with edited cells cannot be walked in a model with both BatchNorm and dropout: the two versions would draw different "
                "masks. Use GroupNorm, or edit labels only."
            )
        self.checked = True
        return found

    def _loss(self, t: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the batch's loss and the weights by which it can be differentiated: w (all 1) and, of second versions, w' (all 0)."""
        loop, places = self.loop, self.loop.batches.places[t]
        w = torch.ones(len(places), dtype=loop.bound.flat.dtype, device=loop.bound.device, requires_grad=True)
        fixed = loop.weights_at(t)
        v = torch.zeros_like(w, requires_grad=True)
        here, beside = (w, v) if fixed is None else (w * fixed, v * fixed)
        if self.second is None:
            losses = self._losses(t, loop.outputs(t, loop.x, here), loop.y)
            return (losses * here).sum() / len(losses), [w]
        if self.relabelled:
            out = other = loop.outputs(t, loop.x, here + beside)  # statistics see the cells, which stay when weight moves between labels
        elif loop.norms:
            out, other = loop.outputs(t, self.both, torch.cat([here, beside]), torch.cat([places, places + len(loop.y)])).chunk(2)
        else:
            out, other = loop.outputs(t, loop.x), loop.outputs(t, self.x)
        losses, others = self._losses(t, out, loop.y), self._losses(t, other, self.y)
        return ((losses * here).sum() + (others * beside).sum()) / len(losses), [w, v]

    def _losses(self, t: int, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return per_example(self.loop.recipe.loss, outputs, y[self.loop.batches.places[t]].to(outputs.device))
