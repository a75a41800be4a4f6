"""A module, batches and losses that belong to someone else, as the engine takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler

from influence.errors import BadInput
from influence.grads.matrix import Feature, features, fitting
from influence.grads.rows import Rows, planned
from influence.grads.sweep import layered
from influence.grads.uses import Astray, Losses, Plan, wide
from influence.loop import Bound, own_draws

TOGETHER = 256
"""Rows taken at a time: smaller batches are joined."""
FIRST = 8
"""Rows in a block before it is known what a row takes."""


def load_checkpoint(model: nn.Module, path: str) -> float:
    """Load a state dict, plain or under "model_state_dict" or "state_dict", and return its "learning_rate" (1 if it has none)."""
    found = torch.load(path, map_location=next(model.parameters()).device)
    rate = float(found.pop("learning_rate", 1.0))
    state = next((found[key] for key in ("model_state_dict", "state_dict") if key in found), found)
    inner = model.module if isinstance(model, nn.DataParallel) else model
    if not state.keys() <= inner.state_dict().keys():  # kept from nn.DataParallel; a submodule may have that name too
        state = {name.removeprefix("module."): value for name, value in state.items()}
    inner.load_state_dict(state)
    return rate


@contextmanager
def standing(model: nn.Module, learning: Iterable[nn.Parameter]) -> Iterator[None]:
    """Within, the model is in evaluation mode and the parameters `learning` are not frozen; then all is as before, weights too.

    So is the generator: going through a loader draws from it.
    """
    modes = [(module, module.training) for module in model.modules()]
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    kept = {name: (t.detach().clone(), t.requires_grad) for name, t in tensors.items()}
    try:
        model.eval()
        for parameter in learning:
            parameter.requires_grad_(True)
        with own_draws(torch.device("cpu")):
            yield
    finally:
        with torch.no_grad():
            for name, t in {**dict(model.named_parameters()), **dict(model.named_buffers())}.items():
                t.copy_(kept[name][0])
                t.requires_grad_(kept[name][1])
        for module, mode in modes:
            module.training = mode


class _Called(nn.Module):
    """A model that takes the leaves of its arguments by number, and gives outputs of two dimensions or more."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.spec, self.narrow = model, cast(Any, None), False

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        out = self.model(*tree_unflatten(list(x.values()), self.spec))
        self.narrow = out.dim() == 1
        return out[:, None] if self.narrow else out


class Borrowed(Bound):
    """A `Bound` whose module is a user's: its parameters stay where they are, `flat` only tells their number, type and device."""

    def __init__(self, model: nn.Module) -> None:
        self.module: _Called = _Called(model.module if isinstance(model, nn.DataParallel) else model).eval()
        self.names = [name for name, _ in self.module.named_parameters()]
        self.params = list(self.module.parameters())
        self.flat = self.params[0].detach().flatten()[:1].expand(sum(p.numel() for p in self.params))
        self.device = self.flat.device
        self.widest = reduce(torch.promote_types, {p.dtype for p in self.params}, torch.float32)
        self.plans: dict[Any, Plan] = {}
        self.step = FIRST

    def asked(self, batch: Sequence[Any], loss: Any) -> Asked:
        """Return the rows of a batch, each with what the loss function gives for it alone."""
        leaves, self.module.spec = tree_flatten(tuple(batch[:-1]))
        x = {str(k): leaf.to(self.device, self.flat.dtype if leaf.is_floating_point() else None) for k, leaf in enumerate(leaves)}
        return Asked(self, x, batch[-1].to(self.device), loss)

    def plan(self, rows: Asked, places: Sequence[int]) -> Plan:
        """Return how to read batches like this one, found out once for each shape of inputs."""
        key = (tuple(places), len(rows) == 1, *(leaf.shape[1:] for leaf in rows.x.values()))
        if key not in self.plans:
            self.plans[key] = planned(self, cast(Rows, rows), places)
        return self.plans[key]

    def features(self, rows: Asked, places: Sequence[int], memory: float) -> Iterator[tuple[int, dict[int, Feature]]]:
        """Yield blocks of rows that take about `memory` MiB: how many, and their gradients by parameter."""
        how, start = self.plan(rows, places), 0
        while start < len(rows):
            block = rows.cut(slice(start, start + self.step))
            try:
                found = features(self, cast(Rows, block), how)
            except Astray:  # from here on every row is taken alone
                how, self.step = how.whole, FIRST
                continue
            yield len(block), found
            start += len(block)
            self.step = min(TOGETHER, fitting(found, memory))

    def along(self, rows: Asked, places: Sequence[int], v: Tensor) -> Tensor:
        """Return <grad l_i, v_q> for directions v (Q, P), (B, Q)."""
        return layered(self, self.plan(rows, places), v)(cast(Rows, rows))


@dataclass(frozen=True)
class Asked:
    """Rows x and labels y of someone's batch, with their loss function; to the engine what `Rows` are."""

    bound: Borrowed
    x: dict[str, Tensor]
    y: Tensor
    function: Any
    loss: ClassVar[str] = "linear"

    def __len__(self) -> int:
        return len(self.y)

    def cut(self, rows: Any) -> Asked:
        """Return the rows at a slice or at positions."""
        return Asked(self.bound, {name: leaf[rows] for name, leaf in self.x.items()}, self.y[rows], self.function)

    def on(self, bound: Bound) -> tuple[Any, Losses]:
        """Return the inputs, and what gives outputs (B, ...) numbers (B,) whose gradients are those of the rows' losses."""
        return self.x, lambda out: (wide(out) * wide(self._by(out))).flatten(1).sum(1)

    @cached_property
    def target(self) -> Tensor:
        """dl_i/d(output_i)."""
        with torch.no_grad():
            return self._by(self.bound.module(self.x))

    @property
    def fixed(self) -> Rows:
        """The same with the derivatives by the outputs found beforehand."""
        return Rows(self.x, self.target, self.loss)

    def _by(self, out: Tensor) -> Tensor:
        narrow = self.bound.module.narrow
        seen = out.detach()[:, 0] if narrow else out.detach()
        by = torch.ones_like(seen) if self.function is None else by_outputs(self.function, seen, self.y)
        return by[:, None] if narrow else by


def by_outputs(loss: Any, out: Tensor, y: Tensor) -> Tensor:
    """Return dl_i/d(output_i), with l_i what the loss function gives for row i alone: a mean over the batch is no row's own."""

    def alone(z: Tensor, target: Tensor) -> Tensor:
        return loss(z[None], target[None]).sum()

    if _each(loss, out, y):
        z = out.clone().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(loss(z, y).sum(), z)[0]
    try:
        return vmap(grad(alone))(out, y)
    except (RuntimeError, ValueError):  # not every function of a user's can be vectorised
        return torch.stack([grad(alone)(z, target) for z, target in zip(out, y, strict=True)])


def _each(loss: Any, out: Tensor, y: Tensor) -> bool:
    """Whether the loss function gives each row what it gives for that row alone; seen on two rows, for its `reduction` may say nothing."""
    two = torch.arange(2) % len(out)
    both, alone = loss(out[two], y[two]).flatten(), torch.cat([loss(out[k : k + 1], y[k : k + 1]).flatten() for k in two.tolist()])
    return both.shape == alone.shape and torch.allclose(both, alone)


def see_order(loader: DataLoader[Any], what: str) -> None:
    """See that a loader gives the same rows in the same order whenever it is gone through.

    Raises:
        BadInput: it need not.
    """
    samplers = {type(loader.sampler), type(getattr(loader.batch_sampler, "sampler", loader.sampler))}
    plain = samplers == {SequentialSampler} and type(loader.batch_sampler) in (BatchSampler, type(None))
    if not (loader.in_order and (plain or isinstance(loader.dataset, IterableDataset))):
        raise BadInput(f"The {what} shuffles or has a sampler of its own, so its rows have no places. Make it with shuffle=False alone.")


def joined(batches: Iterable[Any]) -> Iterator[Any]:
    """Join consecutive batches of tensors of equal shapes to about `TOGETHER` rows.

    Raises:
        BadInput: a batch is something else than tensors with the rows leading, equally many in each.
    """
    held: list[tuple[list[Any], Any]] = []
    for batch in batches:
        leaves, spec = tree_flatten(tuple(batch) if isinstance(batch, tuple | list) else (batch,))
        rows = [leaf.shape[0] if isinstance(leaf, Tensor) and leaf.dim() else None for leaf in leaves]
        if len(rows) < 2 or None in rows or len(set(rows)) > 1:
            got = ", ".join(str(tuple(leaf.shape)) if isinstance(leaf, Tensor) else type(leaf).__name__ for leaf in leaves)
            raise BadInput(
                "A batch must consist of tensors with the rows leading, equally many in each: the model's arguments, then the labels. "
                f"Here it is {'a single tensor, ' if isinstance(batch, Tensor) else ''}{got or 'empty'}."
            )
        alike = bool(held) and held[0][1] == spec and all(a.shape[1:] == b.shape[1:] for a, b in zip(held[0][0], leaves, strict=True))
        if held and not (alike and sum(len(own[0]) for own, _ in held) + len(leaves[0]) <= TOGETHER):
            yield _one(held)
            held = []
        held.append((leaves, spec))
    if held:
        yield _one(held)


def _one(held: list[tuple[list[Any], Any]]) -> Any:
    parts = zip(*(leaves for leaves, _ in held), strict=True)
    return tree_unflatten([torch.cat(part) if len(part) > 1 else part[0] for part in parts], held[0][1])
