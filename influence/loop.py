"""The inner loop of training, shared by training (forwards) and replay (backwards).

Places in the order belong to ids: `Batches` is computed from the *roll*, all ids that ever had a place. The place of a row that is gone is
filled by another row at weight 0, so the tensors keep their shapes and training without a row is bit-equal to training with its weight 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from influence.errors import BadInput
from influence.keyed import order
from influence.losses import per_example
from influence.optim import Optimizer, Slots, optimizer, step_sizes
from influence.types import Architecture, Examples, Recipe, State, as_places, tree_map


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run with this many CPU threads: the count is part of what makes a run bit-equal."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Bound:
    """A module whose parameters are views of one flat vector, (P,): one update, one copy, one row of a trajectory."""

    def __init__(self, model: Architecture, seed: int = 0, dtype: str = "float32") -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module: nn.Module = model().to(getattr(torch, dtype))
        self.names = [name for name, _ in self.module.named_parameters()]
        self.params = list(self.module.parameters())
        self.flat = torch.cat([p.detach().flatten() for p in self.params])
        for parameter, view in zip(self.params, self.views(self.flat), strict=True):
            parameter.data = view

    def views(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """Cut vectors (..., P) into the parameters' shapes, (..., *shape) each."""
        parts = vector.split([p.numel() for p in self.params], dim=-1)
        return [part.view(*vector.shape[:-1], *p.shape) for part, p in zip(parts, self.params, strict=True)]

    def state(self) -> State:
        """Return a copy of parameters and buffers by name."""
        return {name: value.detach().clone() for name, value in self.module.state_dict().items()}

    def load(self, state: State) -> Bound:
        """Take over parameters and buffers.

        Raises:
            BadInput: names or shapes differ from the module's.
        """
        try:
            self.module.load_state_dict(state)
        except RuntimeError as error:
            raise BadInput(f"These weights do not fit the model: {' '.join(str(error).split())[:300]}") from None
        return self


def cat(parts: Sequence[torch.Tensor], lead: int = 0) -> torch.Tensor:
    """Join tensors of shapes (*lead dims, *shape) into one (*lead dims, P)."""
    return torch.cat([part.flatten(lead) for part in parts], dim=-1)


def tensors(examples: Examples, dtype: str) -> tuple[Any, torch.Tensor]:
    """Return x and y as tensors; floating arrays in `dtype`. Arrays handed out read-only are copied."""
    kind = getattr(torch, dtype)

    def leaf(array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(np.require(array, requirements=["W", "C"]))
        return tensor.to(kind) if tensor.is_floating_point() else tensor

    return tree_map(leaf, examples.x), leaf(examples.y)


@dataclass(frozen=True)
class Batches:
    """The T batches of a training: positions into the examples, (|B_t|,) each, the weight of each place (None: all 1), the step sizes."""

    places: list[torch.Tensor]
    present: list[torch.Tensor] | None
    lr: list[float]

    def __len__(self) -> int:
        return len(self.places)


def batches(recipe: Recipe, examples: Examples, removed: Sequence[Any] = (), seed: int | None = None) -> Batches:
    """Lay out every step of the recipe; `removed` ids keep their (empty) places, whether or not their rows are here.

    Raises:
        BadInput: there is no row to train on.
    """
    if not len(examples):
        raise BadInput("There are no training rows left. Keep at least one row of each class.")
    gone = np.setdiff1d(np.asarray(removed), examples.ids) if len(removed) else examples.ids[:0]
    roll = np.sort(np.concatenate([examples.ids, gone]))  # sorted: the order of the rows in a file is no part of the recipe
    at = np.where(np.isin(roll, removed), -1, as_places(roll, examples.ids)) if len(removed) else as_places(roll, examples.ids)
    orders = [order(recipe.seed if seed is None else seed, epoch, roll) for epoch in range(recipe.epochs)]
    chosen = [torch.from_numpy(at[o]) for o in orders]
    cuts = [part for epoch in chosen for part in epoch.split(recipe.batch_size)]
    present = [(part >= 0).to(getattr(torch, recipe.dtype)) for part in cuts] if len(removed) else None
    return Batches([part.clamp(min=0) for part in cuts], present, step_sizes(recipe, len(cuts)))


@dataclass
class Loop:
    """One training in motion: the module, its optimiser and memory, the data and the batches."""

    bound: Bound
    recipe: Recipe
    x: Any
    y: torch.Tensor
    batches: Batches
    weights: torch.Tensor | None
    rule: Optimizer
    slots: Slots

    @classmethod
    def of(cls, model: Architecture, examples: Examples, recipe: Recipe, weights: np.ndarray | None, removed: Sequence[Any]) -> Loop:
        """Set up a training from its beginning."""
        bound = Bound(model, recipe.seed, recipe.dtype)
        x, y = tensors(examples, recipe.dtype)
        w = None if weights is None else torch.as_tensor(np.array(weights), dtype=bound.flat.dtype)
        rule = optimizer(recipe)
        slots = {name: torch.zeros_like(bound.flat) for name in rule.slots}
        return cls(bound, recipe, x, y, batches(recipe, examples, removed), w, rule, slots)

    def weights_at(self, t: int) -> torch.Tensor | None:
        """Return the weight of each place of batch t, or None if all are 1."""
        present = self.batches.present
        if self.weights is None:
            return None if present is None else present[t]
        at = self.weights[self.batches.places[t]]
        return at if present is None else at * present[t]

    def losses(self, t: int) -> torch.Tensor:
        """Return the losses of batch t at the present parameters, (|B_t|,), with their graph."""
        at = self.batches.places[t]
        outputs = self.bound.module(tree_map(lambda leaf: leaf[at], self.x))
        return per_example(self.recipe.loss, outputs, self.y[at])

    def run(self, start: int, stop: int, before: Callable[[int], None] | None = None) -> None:
        """Take steps start to stop - 1; `before(t)` sees the state before each. Batch loss: sum of w_i l_i over the number of places."""
        for t in range(start, stop):
            if before is not None:
                before(t)
            losses, w = self.losses(t), self.weights_at(t)
            loss = (losses if w is None else losses * w).sum() / len(losses)
            g = cat(torch.autograd.grad(loss, self.bound.params))
            with torch.no_grad():
                self.rule.step(self.bound.flat, self.slots, g, self.batches.lr[t], t)
