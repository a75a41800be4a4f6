"""The inner loop of training, shared by training (forwards) and replay (backwards).

Places in the order belong to ids: `Batches` is computed from the *roll*, all ids that ever had a place. The place of a row that is gone is
filled by another row at weight 0, so the tensors keep their shapes and training without a row is bit-equal to training with its weight 0.
What a model draws in a step (dropout) comes from a generator seeded by (seed, step): a place has its mask, whoever else is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from mmap import mmap
from typing import Any

import numpy as np
import torch
from torch import nn

from influence.batchnorm import Weighted, weighted
from influence.errors import BadInput
from influence.keyed import keys, order
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


def device() -> torch.device:
    """Return where models live: INFLUENCE_DEVICE ("cpu", "cuda", "cuda:1", ...), the CPU if it is not set.

    Raises:
        BadInput: there is no such device here.
    """
    named, there = os.environ.get("INFLUENCE_DEVICE", "cpu"), ["cpu", *(f"cuda:{k}" for k in range(torch.cuda.device_count()))]
    if named not in (*there, "cuda" if len(there) > 1 else "", "meta"):
        raise BadInput(
            f"INFLUENCE_DEVICE is {named!r}; this machine has {', '.join(there)}. Set one of them, or leave it unset for the CPU."
        )
    return torch.device(named)


def generator(device: torch.device) -> torch.Generator:
    """Return the generator from which modules draw there."""
    return torch.default_generator if device.type == "cpu" else torch.cuda.default_generators[device.index or 0]


@contextmanager
def own_draws(device: torch.device) -> Iterator[torch.Generator]:
    """Lend out the generator from which modules draw, and leave it as it was."""
    drawing = generator(device)
    before = drawing.get_state()
    try:
        yield drawing
    finally:
        drawing.set_state(before)


@lru_cache(maxsize=16)
def step_seeds(seed: int, steps: int) -> list[int]:
    """Return the seed of each step's draws; 32 bits, as PyTorch's generator on the CPU takes no more."""
    return [int(word) for word in keys(seed, "draws", np.arange(steps)) >> np.uint64(32)]


class Bound:
    """A module whose parameters are views of one flat vector, (P,): one update, one copy, one row of a trajectory."""

    def __init__(self, model: Architecture, seed: int = 0, dtype: str = "float32", on: torch.device | None = None) -> None:
        self.device = on or device()
        with own_draws(torch.device("cpu")) as drawing:  # initial weights are drawn on the CPU: the same on every device
            drawing.manual_seed(seed)
            self.module: nn.Module = model().to(self.device, getattr(torch, dtype))
        self.names = [name for name, _ in self.module.named_parameters()]
        self.params = list(self.module.parameters())
        self.flat = torch.cat([p.detach().flatten() for p in self.params])
        for parameter, view in zip(self.params, self.views(self.flat), strict=True):
            parameter.data = view

    def views(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """Cut vectors (..., P) into the parameters' shapes, (..., *shape) each."""
        parts = vector.split([p.numel() for p in self.params], dim=-1)
        return [part.view(*vector.shape[:-1], *p.shape) for part, p in zip(parts, self.params, strict=True)]

    @property
    def dtype(self) -> str:
        """The number format, as recipes name it."""
        return str(self.flat.dtype).removeprefix("torch.")

    def state(self) -> State:
        """Return a copy of parameters and buffers by name, on the CPU."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self.module.state_dict().items()}

    def floating(self) -> list[torch.Tensor]:
        """Return the buffers that hold floating-point numbers (running statistics, constants), in order."""
        return [value for value in self.module.buffers() if value.is_floating_point()]

    def vector(self) -> torch.Tensor:
        """Return a copy of all that training changes as one vector: the parameters, then the floating-point buffers."""
        return torch.cat([self.flat, *[value.detach().flatten() for value in self.floating()]])

    def put(self, vector: torch.Tensor) -> Bound:
        """Take over what `vector` gave."""
        own = self.floating()
        flat, *rest = vector.split([len(self.flat), *[value.numel() for value in own]])
        self.flat.copy_(flat)
        for value, part in zip(own, rest, strict=True):
            value.copy_(part.view_as(value))
        return self

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


def _own(array: np.ndarray) -> np.ndarray:
    """Return the array as PyTorch may have it: a copy, or of a whole file's map another map, of which batches are read as they are used.

    That one is copied on write: what a layer changes in place never reaches the file.
    """
    base: Any = array.base  # a part of a map has the map for its base, a map of a file the file's memory
    if isinstance(array, np.memmap) and type(base) is mmap and array.flags.c_contiguous and array.filename is not None:
        return np.memmap(str(array.filename), array.dtype, "c", array.offset, array.shape)
    return np.require(array, requirements=["W", "C"])


def tensors(examples: Examples, dtype: str) -> tuple[Any, torch.Tensor]:
    """Return x and y as tensors; floating arrays in `dtype`. Arrays handed out read-only are copied; memory maps are not."""
    kind = getattr(torch, dtype)

    def leaf(array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(_own(array))
        return tensor.to(kind) if tensor.is_floating_point() else tensor

    return tree_map(leaf, examples.x), leaf(examples.y)


@dataclass(frozen=True)
class Batches:
    """The T batches of a training: positions into the examples, (|B_t|,) each, the weight of each place (None: all 1), the step sizes.

    `widths`: how many tokens of its texts a step saw, where each batch was cut to its longest (None: all that there are). It decides what
    dropout draws, and stays as it was when the longest text is gone.
    """

    places: list[torch.Tensor]
    present: list[torch.Tensor] | None
    lr: list[float]
    widths: list[int] | None = None

    def __len__(self) -> int:
        return len(self.places)

    def rows(self, t: int, x: Any, places: torch.Tensor, on: torch.device) -> Any:
        """Return rows of `x` there, as wide as those of step t."""
        width = None if self.widths is None else self.widths[t]
        return tree_map(lambda leaf: (leaf[places] if width is None else leaf[places][..., :width]).to(on), x)


def batches(recipe: Recipe, examples: Examples, removed: Sequence[Any] = (), seed: int | None = None) -> Batches:
    """Lay out every step of the recipe; `removed` ids keep their (empty) places, whether or not their rows are here.

    Raises:
        BadInput: there is no row to train on, or a recorded training saw rows that are not here.
    """
    if not len(examples):
        raise BadInput("There are no training rows left. Keep at least one row of each class.")
    recipe = recipe if seed is None else replace(recipe, seed=seed)
    if recipe.went is not None:
        return _as_it_went(recipe, recipe.went.load(), examples, removed)
    gone = np.setdiff1d(np.asarray(removed), examples.ids) if len(removed) else examples.ids[:0]
    roll = np.sort(np.concatenate([examples.ids, gone]))  # sorted: the order of the rows in a file is no part of the recipe
    at = np.where(np.isin(roll, removed), -1, as_places(roll, examples.ids)) if len(removed) else as_places(roll, examples.ids)
    orders = [order(recipe.seed, epoch, roll) for epoch in range(recipe.epochs)]
    chosen = [torch.from_numpy(at[o]) for o in orders]
    cuts = [part for epoch in chosen for part in epoch.split(recipe.batch_size)]
    return _laid_out(cuts, step_sizes(recipe, len(cuts)), recipe, removed)


def _as_it_went(recipe: Recipe, went: Mapping[str, np.ndarray], examples: Examples, removed: Sequence[Any]) -> Batches:
    """Lay out the steps of a training outside Lethe as they were taken.

    Raises:
        BadInput: it saw rows that are not here.
    """
    roll = went["ids"]
    out = np.isin(roll, np.asarray(removed)) if len(removed) else np.zeros(len(roll), dtype=bool)
    at = np.where(out, -1, as_places(roll, examples.ids))
    unknown = roll[(at < 0) & ~out]
    if len(unknown):
        raise BadInput(
            f"The recorded training saw {len(unknown):,} rows that are not among these {len(examples):,} training rows, for example "
            f"{unknown[0]}. Bring the rows that the model was trained on, with their ids."
        )
    cuts = list(torch.from_numpy(at[went["places"]]).split(went["sizes"].tolist()))
    widths = went["widths"].tolist() if "widths" in went else None
    return replace(_laid_out(cuts, went["lr"].tolist(), recipe, removed), widths=widths)


def _laid_out(cuts: list[torch.Tensor], lr: list[float], recipe: Recipe, removed: Sequence[Any]) -> Batches:
    """Return batches of places, of which those below 0 are empty."""
    present = [(part >= 0).to(getattr(torch, recipe.dtype)) for part in cuts] if len(removed) else None
    return Batches([part.clamp(min=0) for part in cuts], present, lr)


def begun(model: Architecture, recipe: Recipe) -> Bound:
    """Return a module before its first step: drawn by the recipe's seed, or as a training outside Lethe began.

    Other seeds of such a training begin there too: what it began with may have been learnt (fine-tuning), and how it would be drawn anew is
    not known here.

    Raises:
        BadInput: that training was of a model of another size.
    """
    bound = Bound(model, recipe.seed, recipe.dtype)
    if recipe.course is None:
        return bound
    start = torch.from_numpy(np.array(recipe.course.load()["start"])).to(bound.flat)
    if len(start) != len(bound.vector()):
        raise BadInput(f"The recorded training began with {len(start):,} numbers; this model has {len(bound.vector()):,}. Bring its own.")
    return bound.put(start)


def _movable(bound: Bound) -> None:
    """Refuse to train a module of which parameters are frozen: weight decay and momentum would move them all the same.

    Raises:
        BadInput: some are.
    """
    still = [name for name, parameter in zip(bound.names, bound.params, strict=True) if not parameter.requires_grad]
    if still:
        raise BadInput(
            f"{len(still):,} of {len(bound.names):,} parameters of this model are frozen ({still[0]!r}), and training moves all of them. "
            "Unfreeze them, or unlearn without training: influence_step, newton_head or ssd."
        )


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
    norms: list[Weighted] = field(default_factory=list)

    @classmethod
    def of(cls, model: Architecture, examples: Examples, recipe: Recipe, weights: np.ndarray | None, removed: Sequence[Any]) -> Loop:
        """Set up a training from its beginning.

        Raises:
            BadInput: there is no row to train on, parameters are frozen, or the recipe is one for shards, each of which has a training of
                its own.
        """
        if recipe.sharded:
            raise BadInput(recipe.in_shards("Following the training", "retraining"))
        bound = begun(model, recipe)
        _movable(bound)
        x, y = tensors(examples, recipe.dtype)
        w = None if weights is None else torch.as_tensor(np.array(weights), dtype=bound.flat.dtype)
        rule = optimizer(recipe, bound.params)
        slots = {name: torch.zeros_like(bound.flat) for name in rule.slots}
        return cls(bound, recipe, x, y, batches(recipe, examples, removed), w, rule, slots, weighted(bound.module))

    def weights_at(self, t: int) -> torch.Tensor | None:
        """Return the weight of each place of batch t, or None if all are 1."""
        present = self.batches.present
        if self.weights is None:
            return None if present is None else present[t].to(self.bound.device)
        at = self.weights[self.batches.places[t]]
        return (at if present is None else at * present[t]).to(self.bound.device)

    def remembered(self, t: int) -> torch.Tensor | None:
        """Return which rows of batch t the running statistics are of, (|B_t|,) bool; None: all that count in the loss."""
        return None

    def losses(self, t: int) -> torch.Tensor:
        """Return the losses of batch t at the present parameters, (|B_t|,), with their graph."""
        return per_example(self.recipe.loss, self.outputs(t, self.x), self.y[self.batches.places[t]].to(self.bound.device))

    def outputs(self, t: int, x: Any, weights: torch.Tensor | None = None, places: torch.Tensor | None = None) -> torch.Tensor:
        """Return the outputs of rows of `x`, by default those that have the places of batch t, with the draws of step t, (B, C).

        `weights`: what they count in batch statistics; by default what they count in the loss.
        """
        at = self.batches.places[t] if places is None else places
        for layer in self.norms:
            layer.weights, layer.rows = self.weights_at(t) if weights is None else weights, len(self.batches.places[t])
            layer.remembered = self.remembered(t)
        self.seeded(t)
        return self.bound.module(self.batches.rows(t, x, at, self.bound.device))

    def seeded(self, t: int) -> torch.Generator:
        """Return the generator from which the module draws, at the beginning of step t."""
        return generator(self.bound.device).manual_seed(step_seeds(self.recipe.seed, len(self.batches))[t])

    def draws(self, t: int) -> bool:
        """Whether the module drew random numbers in step t, which has just been computed."""
        after = generator(self.bound.device).get_state()
        return not torch.equal(after, self.seeded(t).get_state())

    def gradient(self, t: int) -> torch.Tensor:
        """Return the gradient of batch t's loss, sum of w_i l_i over the number of places, (P,)."""
        losses, w = self.losses(t), self.weights_at(t)
        loss = (losses if w is None else losses * w).sum() / len(losses)
        return cat(torch.autograd.grad(loss, self.bound.params))

    def run(self, start: int, stop: int, before: Callable[[int], None] | None = None) -> None:
        """Take steps start to stop - 1; `before(t)` sees the state before each."""
        with own_draws(self.bound.device):
            for t in range(start, stop):
                if before is not None:
                    before(t)
                g = self.gradient(t)
                with torch.no_grad():
                    self.rule.step(self.bound.flat, self.slots, g, self.batches.lr[t], t)
