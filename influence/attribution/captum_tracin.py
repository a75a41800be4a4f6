"""TracIn as computed by Captum: an adapter on `captum.influence.TracInCP` and `TracInCPFast` (version 0.9).

Method: Pruthi et al., arXiv:2002.08484. Captum knows test losses per row only. Any question F of the logits z_j becomes one exactly: its
gradient equals that of sum over j of <dF/dz_j, z_j> with the coefficients held fixed, so they are passed to Captum as the labels of the
test rows. They differ from checkpoint to checkpoint; each has its own Captum object, and the results are added up.

Where Captum would be silently wrong it is kept from it, or refused:

- It never calls `model.eval()`, and leaves the model on another checkpoint with per-row gradients pinned on it: it gets a module of its
  own.
- Per-row gradients by batch (`sample_wise_grads_per_batch`) leave out every parameter that is not in a Linear or Conv2d, and fail for
  groups, padding by name and subclasses. They are used for a model of plain such layers only; otherwise one row at a time, in small
  batches.
- `TracInCPFast` leaves out the bias: the last layer's bias is handed to it as one more column of weights, with a constant input of 1.
- `TracInCPFast` takes the last layer's output for the loss's input: if something follows that layer, it is refused.
- One tensor of inputs only: named inputs are refused. A list of paths would be sorted anew: checkpoints are handed over as objects.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from influence.attribution._shared import training_loss
from influence.errors import BadInput
from influence.grads import logits
from influence.loop import Bound, tensors, threads
from influence.losses import per_example
from influence.registry import attribution, option
from influence.training import load
from influence.types import Checkpoint, Event, Examples, Question, Report, Scores, Trained, ignore
from influence.workspace import Workspace

ROW_BY_ROW = 8
"""Rows at a time where Captum takes one backward pass per row through the whole batch's graph: its cost grows with the square."""
LARGEST = 2**26
"""Numbers that one of Captum's intermediate results may hold: (rows, parameters), or (test rows, training rows)."""


@attribution
@dataclass(frozen=True)
class CaptumTracIn:
    """TracIn by Captum's own classes, to compare with or for reports that must name Captum; slower than `tracin`, equal to it in value."""

    layer: Literal["all", "last"] = option("all", "All layers (TracInCP), or only the last Linear layer (TracInCPFast)")
    batch: int = option(256, "Training rows at a time", min=1, max=65536, advanced=True)

    calibrated: ClassVar[bool] = False
    needs: ClassVar[str] = "One or more checkpoints of the model, and one array of inputs."
    cost: ClassVar[str] = "Tens of training epochs per checkpoint and question; a few with layer=last."

    def unavailable(self, trained: Trained) -> str:
        """Say why Captum cannot score this model, or ""."""
        if self.layer == "last" and not any(type(layer) is nn.Linear for layer in Bound(trained.model).module.modules()):
            return "TracInCPFast scores the last Linear layer; this model has none. Choose layer=all, or tracin."
        return ""

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q); in no unit of the question.

        Raises:
            BadInput: inputs are named arrays, the model does not end in a Linear layer (layer=last), or a score is not finite.
        """
        if isinstance(train.x, dict) or isinstance(question.examples.x, dict):
            raise BadInput("Captum takes one array of inputs; this model takes several, by name. Choose tracin.")
        loss, q = training_loss(trained, train), len(question.labels)
        total, all_rows = np.zeros((len(train), q)), len(trained.checkpoints) * q * len(train)
        score = self._all_layers if self.layer == "all" else self._last_layer
        with threads(trained.recipe.threads if trained.recipe else torch.get_num_threads()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Captum warns of every input that it makes differentiable
            for k, checkpoint in enumerate(trained.checkpoints):
                bound = load(trained, checkpoint)
                dtype = str(bound.flat.dtype).removeprefix("torch.")
                rows = TensorDataset(*tensors(train, dtype))
                for j, test in enumerate(_surrogates(bound, question, dtype)):
                    heard = _Counter(report, (k * q + j) * len(train), len(train), all_rows)
                    if len(test):
                        total[:, j] += score(bound.module, checkpoint, rows, test, loss, heard)
                    heard.finish()
        return Scores(total, train.ids, question.labels, "captum_tracin", self.calibrated)

    def _all_layers(
        self, module: nn.Module, checkpoint: Checkpoint, rows: TensorDataset, test: TensorDataset, loss: str, heard: _Counter
    ) -> np.ndarray:
        from captum.influence import TracInCP

        at_once = by_batch_is_right(module)
        size = self.batch if at_once else min(self.batch, ROW_BY_ROW)
        size = max(1, min(size, LARGEST // sum(p.numel() for p in module.parameters())))
        reduction = "sum" if at_once else "none"
        peer = TracInCP(
            module,
            _batches(rows, size),
            [checkpoint],
            checkpoints_load_func=_step_size,
            loss_fn=_Loss(lambda z, y: per_example(loss, z, y), reduction, heard),
            test_loss_fn=_Loss(_linear, reduction),
            sample_wise_grads_per_batch=at_once,
        )
        return peer.influence(_batches(test, size), aggregate=True)[0].numpy()

    def _last_layer(
        self, module: nn.Module, checkpoint: Checkpoint, rows: TensorDataset, test: TensorDataset, loss: str, heard: _Counter
    ) -> np.ndarray:
        from captum.influence import TracInCPFast

        module, last = bias_as_weight(module, output_layer(module, rows.tensors[0][:2]))
        blocks = list(zip(*(part.split(max(1, LARGEST // (4 * len(rows)))) for part in test.tensors), strict=True))
        heard.share = len(blocks)
        peer = TracInCPFast(
            module,
            last,
            _batches(rows, self.batch),
            [checkpoint],
            checkpoints_load_func=_step_size,
            loss_fn=_Loss(lambda z, y: per_example(loss, z, y), "sum", heard),
            test_loss_fn=_Loss(_linear, "sum"),
        )
        return sum(peer.influence(block).detach().sum(0) for block in blocks).numpy()


class _Counter:
    """Progress in training rows; Captum tells none, but asks for the loss of each batch."""

    def __init__(self, report: Report, start: int, rows: int, total: int) -> None:
        self.report, self.start, self.rows, self.total, self.seen, self.share = report, start, rows, total, 0, 1

    def __call__(self, rows: int) -> None:
        self.seen += rows
        self.report(Event("captum_tracin", self.start + min(self.rows - 1, self.seen // self.share), self.total))

    def finish(self) -> None:
        self.report(Event("captum_tracin", self.start + self.rows, self.total))


class _Loss:
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


def _linear(outputs: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
    return (outputs * coefficients).flatten(1).sum(1)


def _batches(rows: TensorDataset, size: int) -> DataLoader[Any]:
    return DataLoader(rows, size, generator=torch.Generator())  # its own generator: iterating draws from the shared one otherwise


def _step_size(module: nn.Module, checkpoint: Checkpoint) -> float:
    return checkpoint.lr  # the module already holds this checkpoint: Captum would load it anew for every batch


def _surrogates(bound: Bound, question: Question, dtype: str) -> Iterator[TensorDataset]:
    """Yield for each value of the question the rows it depends on and their coefficients dF/dz, (rows, C)."""
    x, _ = tensors(question.examples, dtype)
    seen = logits(bound, x).requires_grad_()
    for value in question.value(seen):
        by_logits = torch.autograd.grad(value, seen, retain_graph=True)[0]
        used = by_logits.flatten(1).any(1)
        yield TensorDataset(x[used], by_logits[used])


def by_batch_is_right(module: nn.Module) -> bool:
    """Whether Captum's per-row gradients by batch cover every parameter: each in one plain Linear or Conv2d."""
    layers = [layer for layer in module.modules() if any(True for _ in layer.parameters(recurse=False))]
    owned = [id(p) for layer in layers for p in layer.parameters(recurse=False)]
    return all(_plain(layer) for layer in layers) and len(owned) == len(set(owned))


def _plain(layer: nn.Module) -> bool:
    if type(layer) is nn.Conv2d:
        return layer.groups == 1 and not isinstance(layer.padding, str) and layer.padding_mode == "zeros"
    return type(layer) is nn.Linear


def output_layer(module: nn.Module, x: torch.Tensor) -> str:
    """Return the name of the Linear layer whose output is the model's, (B, C).

    Raises:
        BadInput: there is none.
    """
    seen: list[tuple[str, torch.Tensor]] = []

    def note(name: str, _module: nn.Module, _given: Any, out: torch.Tensor) -> None:
        seen.append((name, out))

    linear = [(name, layer) for name, layer in module.named_modules() if type(layer) is nn.Linear]
    hooks = [layer.register_forward_hook(partial(note, name)) for name, layer in linear]
    try:
        out = module(x)
    finally:
        for hook in hooks:
            hook.remove()
    names = [name for name, value in seen if value is out]
    if out.dim() != 2 or len(names) != 1 or [name for name, _ in seen].count(names[0]) != 1:
        raise BadInput(
            "TracInCPFast takes the output of the last Linear layer for the model's output; in this model something follows that layer, "
            "and its scores would be silently wrong. Choose layer=all, or tracin."
        )
    return names[0]


class _WithOne(nn.Module):
    """Append a constant 1 to each row, (B, D) -> (B, D + 1)."""

    def forward(self, a: torch.Tensor) -> torch.Tensor:
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
    both = nn.Sequential(_WithOne(), wide)
    if not name:
        return both, wide
    module.set_submodule(name, both)
    return module, wide
