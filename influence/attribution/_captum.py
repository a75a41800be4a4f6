"""What the adapters on Captum 0.9 share: how it is asked any question, and what it is kept from.

Captum knows losses of test rows only. Any question F of the logits z_j becomes one exactly: its gradient equals that of sum over j of
<dF/dz_j, z_j> with the coefficients held fixed, so they are passed to Captum as the labels of the test rows. (Method of TracIn: Pruthi et
al., arXiv:2002.08484; the adapters name their own.)

Where Captum would be silently wrong it is kept from it, or refused:

- It never calls `model.eval()`, leaves the model on another checkpoint with per-row gradients pinned on it, and seeds the shared generator:
  it gets a module of its own, and `alone` puts the generator back.
- Per-row gradients by batch (`sample_wise_grads_per_batch`) leave out every parameter that is not in a Linear or Conv2d, and fail for
  groups, padding by name and subclasses. They are used for a model of plain such layers only; else one row at a time, in small batches.
  That in turn fails for parameters that the model does not use: `Touching` uses them.
- Classes for the last layer leave out its bias: it is handed to them as one more column of weights, with a constant input of 1. They also
  take the last layer's output for the loss's input: if something follows that layer, it is refused.
- One tensor of inputs only: named inputs are refused. A list of paths would be sorted anew: checkpoints are handed over as objects.
- It leaves data where they are, and makes tensors of its own on the CPU: its models are on the CPU too (`loaded`), wherever others live.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from influence.errors import BadInput
from influence.grads import by_logits
from influence.loop import Bound, own_draws, threads
from influence.training import load
from influence.types import Checkpoint, Event, Examples, Question, Report, Trained, ignore
from influence.workspace import Workspace

ROW_BY_ROW = 8
"""Rows at a time where Captum takes one backward pass per row through the whole batch's graph: its cost grows with the square."""


@contextmanager
def alone(trained: Trained) -> Iterator[None]:
    """Captum seeds the shared generator, and warns of every input that it makes differentiable; within, that stays here."""
    count = trained.recipe.threads if trained.recipe else torch.get_num_threads()
    with threads(count), own_draws(torch.device("cpu")), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def loaded(trained: Trained, checkpoint: Checkpoint | None = None) -> Bound:
    """Return the trained module at a checkpoint (default: the last) as Captum gets it: on the CPU."""
    return load(trained, checkpoint, torch.device("cpu"))


def one_array(train: Examples, question: Question) -> None:
    """Refuse inputs that Captum cannot take.

    Raises:
        BadInput: inputs are named arrays.
    """
    if isinstance(train.x, dict) or isinstance(question.examples.x, dict):
        raise BadInput("Captum takes one array of inputs; this model takes several, by name. Choose tracin.")


def numbers(workspace: Workspace | None, bound: Bound) -> int:
    """Return how many numbers one of Captum's intermediate results may hold: it keeps up to four of one size at a time."""
    return int((workspace or Workspace()).memory * 2**20 / (4 * bound.flat.element_size()))


class Counter:
    """Progress in training rows; Captum tells none, but asks for the loss of each batch. `share`: how often it asks for each row."""

    def __init__(self, report: Report, stage: str, start: int, rows: int, total: int) -> None:
        self.report, self.stage, self.start, self.rows, self.total = report, stage, start, rows, total
        self.seen, self.share = 0, 1

    def __call__(self, rows: int) -> None:
        """Note that the losses of some rows were asked for."""
        self.seen += rows
        self.report(Event(self.stage, self.start + min(self.rows - 1, self.seen // self.share), self.total))

    def finish(self) -> None:
        """Note that the part is done; what is asked for later is no progress."""
        self.report(Event(self.stage, self.start + self.rows, self.total))
        self.report = ignore


class Loss:
    """A loss as Captum wants it: its `reduction` says whether it returns one number or one per row."""

    def __init__(
        self, per_row: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], reduction: str, heard: Callable[[int], None] | None = None
    ) -> None:
        self.per_row, self.reduction, self.heard = per_row, reduction, heard

    def __call__(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.heard is not None:
            self.heard(len(labels))
        losses = self.per_row(outputs, labels)
        return losses.sum() if self.reduction == "sum" else losses


def linear(outputs: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
    """Return <coefficients_i, output_i> of each row, (B,)."""
    return (outputs * coefficients).flatten(1).sum(1)


def batches(rows: TensorDataset, size: int) -> DataLoader[Any]:
    """Return a loader in order, with a generator of its own: iterating draws from the shared one otherwise."""
    return DataLoader(rows, size, generator=torch.Generator())


def blocks(rows: TensorDataset, size: int) -> list[TensorDataset]:
    """Cut rows into consecutive blocks."""
    return [TensorDataset(*part) for part in zip(*(t.split(max(1, size)) for t in rows.tensors), strict=True)]


def step_size(module: nn.Module, checkpoint: Checkpoint) -> float:
    """Return the checkpoint's step size; the module already holds it, Captum would load it anew for every batch."""
    return checkpoint.lr


def surrogates(bound: Bound, question: Question) -> Iterator[TensorDataset]:
    """Yield for each value of the question the rows it depends on and their coefficients dF/dz, (rows, C)."""
    x, _, outward = by_logits(bound, question)
    for coefficients in outward:
        used = coefficients.flatten(1).any(1)
        yield TensorDataset(x[used], coefficients[used])


def by_batch_is_right(module: nn.Module) -> bool:
    """Whether Captum's per-row gradients by batch cover every parameter: each in one plain Linear or Conv2d."""
    layers = [layer for layer in module.modules() if any(True for _ in layer.parameters(recurse=False))]
    owned = [id(p) for layer in layers for p in layer.parameters(recurse=False)]
    return all(_plain(layer) for layer in layers) and len(owned) == len(set(owned))


def _plain(layer: nn.Module) -> bool:
    if type(layer) is nn.Conv2d:
        return layer.groups == 1 and not isinstance(layer.padding, str) and layer.padding_mode == "zeros"
    return type(layer) is nn.Linear


class Touching(nn.Module):
    """A module that adds nothing to the outputs of another, but depends on all parameters."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the module's outputs."""
        return self.module(x) + 0 * torch.stack([p.sum() for p in self.module.parameters()]).sum()


def all_used(bound: Bound, x: torch.Tensor) -> bool:
    """Whether the outputs depend on every parameter."""
    with torch.enable_grad():
        found = torch.autograd.grad(bound.module(x).sum(), bound.params, allow_unused=True)
    return all(g is not None for g in found)


def no_linear_layer(trained: Trained, what: str) -> str:
    """Return why `what`, which looks at the last Linear layer, is closed to a model without one, or ""."""
    if any(type(layer) is nn.Linear for layer in Bound(trained.model).module.modules()):
        return ""
    return f"{what} looks at the last Linear layer; this model has none. Choose tracin."


def output_layer(module: nn.Module, x: torch.Tensor) -> str:
    """Return the name of the Linear layer whose output is the model's, (B, C).

    Raises:
        BadInput: there is none.
    """
    seen: list[tuple[str, torch.Tensor]] = []

    def note(name: str, _module: nn.Module, _given: Any, out: torch.Tensor) -> None:
        seen.append((name, out))

    found = [(name, layer) for name, layer in module.named_modules() if type(layer) is nn.Linear]
    hooks = [layer.register_forward_hook(partial(note, name)) for name, layer in found]
    try:
        out = module(x)
    finally:
        for hook in hooks:
            hook.remove()
    names = [name for name, value in seen if value is out]
    if out.dim() != 2 or len(names) != 1 or [name for name, _ in seen].count(names[0]) != 1:
        raise BadInput(
            "Captum takes the output of the last Linear layer for the model's output; in this model something follows that layer, "
            "and its scores would be silently wrong. Choose captum_tracin with layer=all, or tracin."
        )
    return names[0]


class WithOne(nn.Module):
    """Append a constant 1 to each row, (B, D) -> (B, D + 1)."""

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        """Return the wider rows."""
        return torch.cat([a, torch.ones_like(a[:, :1])], dim=1)


def bias_as_weight(module: nn.Module, name: str) -> tuple[nn.Module, nn.Linear]:
    """Return the module and its layer `name` with the layer's bias as one more column of its weights; the function is the same."""
    layer = module.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    bias = layer._parameters["bias"]
    if bias is None:
        return module, layer
    wide = nn.Linear(layer.in_features + 1, layer.out_features, bias=False, device="meta")
    wide.weight = nn.Parameter(torch.cat([layer.weight.data, bias.data[:, None]], dim=1))
    both = nn.Sequential(WithOne(), wide)
    if not name:
        return both, wide
    module.set_submodule(name, both)
    return module, wide
