"""What the adapters on Captum's two influence functions share.

Both are, with R of a few columns (Koh and Liang, arXiv:1703.04730),

    s_i = <R' grad l_i, R' grad F>,   R R' ~ (sum of the rows' Hessians + hessian_reg I)^-1.

Captum's Hessian is that of the *sum* of the losses, so its `hessian_reg` and its tolerances mean something else for every number of rows.
With hessian_reg = N * damping the score is <grad l_i, (H + damping I)^-1 grad F> / N, H the Hessian of the mean loss: the predicted change
of the question when the row is removed, of a model trained to its end. N counts the places in training, removed rows' too; weight decay
adds to the damping, as it adds to the Hessian. Besides what `_captum.py` says of all adapters:

- The best rows are looked up with the training loss in place of the question's (`influence` with k): all scores are computed instead.
- Where a parameter is not used by the model, per-row gradients by batch lack its part and the others move up: one row at a time then.
- Directions of negative curvature, and those below `hessian_inverse_tol`, are left out, as Captum does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from influence.attribution._captum import (
    ROW_BY_ROW,
    Counter,
    Loss,
    Touching,
    all_used,
    alone,
    batches,
    blocks,
    by_batch_is_right,
    linear,
    loaded,
    numbers,
    one_array,
    surrogates,
)
from influence.attribution._shared import only_trained_on
from influence.grads.whole import plain_operations
from influence.loop import Bound, tensors
from influence.losses import per_example
from influence.settled import training_loss
from influence.types import Examples, Question, Report, Scores, Trained
from influence.workspace import Workspace

VERSION = 1


@dataclass(frozen=True)
class Given:
    """What an influence function is made from: the final model, the rows that it was trained on, and Captum's arguments."""

    bound: Bound
    module: nn.Module
    rows: DataLoader[Any]
    arguments: Mapping[str, Any]
    places: int
    decay: float
    kept: Callable[[Callable[[], torch.Tensor]], torch.Tensor]


def influence(
    name: str, method: Any, make: Callable[[Given], Any], trained: Trained, train: Examples, question: Question, report: Report, work: Any
) -> Scores:
    """Return scores (N, Q). `make` builds Captum's object; its costly R, (columns, P), is kept in the workspace.

    Raises:
        BadInput: inputs are named arrays, or a score is not finite.
    """
    one_array(train, question)
    workspace = work or Workspace()
    bound = loaded(trained)
    with alone(trained), plain_operations(bound.module):
        present = train.take(~np.isin(train.ids, trained.removed))
        heard = Counter(report, name, 0, len(present) * (method.passes + 1), len(train) + len(present) * (method.passes + 1))
        given = _given(name, method, bound, trained, train, present, heard, workspace)
        peer = make(given)
        heard.finish()
        size = _batch(method.batch, bound, workspace, peer.sample_wise_grads_per_batch)
        asked = [_embedded(peer, test, size) for test in surrogates(bound, question)]
        last = Counter(report, name, heard.rows, len(train), heard.total)
        rows = TensorDataset(*tensors(train, bound.dtype))
        parts = []
        for block in blocks(rows, size):
            parts.append(peer.compute_intermediate_quantities(block.tensors) @ torch.cat(asked).T)
            last(len(block))
        last.finish()
    scores = torch.cat(parts).detach().numpy()
    return Scores(only_trained_on(scores, train, trained), train.ids, question.labels, name, method.calibrated)


def _given(
    name: str, method: Any, bound: Bound, trained: Trained, train: Examples, present: Examples, heard: Counter, workspace: Workspace
) -> Given:
    loss, recipe = training_loss(trained, train), trained.recipe
    x, y = tensors(present, bound.dtype)
    used = all_used(bound, x[:1])
    at_once, module = by_batch_is_right(bound.module) and used, bound.module if used else Touching(bound.module)
    reduction = "sum" if at_once else "none"
    arguments = {
        "checkpoint": trained.final,
        "checkpoints_load_func": lambda module, checkpoint: checkpoint.lr,  # the module already holds it
        "loss_fn": Loss(lambda z, target: per_example(loss, z, target), reduction, heard),
        "test_loss_fn": Loss(linear, reduction),
        "sample_wise_grads_per_batch": at_once,
    }
    places = len(present) + len(np.setdiff1d(np.asarray(trained.removed, dtype=object), present.ids.astype(object)))
    decay = recipe.weight_decay if recipe is not None and recipe.optimizer != "adamw" else 0.0
    key = [name, method, trained.digest, train.digest, loss, VERSION]
    return Given(bound, module, batches(TensorDataset(x, y), method.batch), arguments, places, decay, _keeper(name, key, workspace))


def _keeper(name: str, key: Any, workspace: Workspace) -> Callable[[Callable[[], torch.Tensor]], torch.Tensor]:
    """Return what computes R, or finds it where an earlier call left it."""

    def kept(compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        def make(folder: Path) -> None:
            np.save(folder / "R.npy", compute().numpy())

        return torch.from_numpy(np.load(workspace.kept(name, key, make) / "R.npy"))

    return kept


def _embedded(peer: Any, test: TensorDataset, size: int) -> torch.Tensor:
    """Return R' grad F, (1, columns)."""
    if not len(test):
        return torch.zeros(1, peer.columns, dtype=test.tensors[0].dtype)
    return peer.compute_intermediate_quantities(batches(test, size), aggregate=True, test=True)


def _batch(wanted: int, bound: Bound, workspace: Workspace, at_once: bool) -> int:
    """How many rows' gradients to form at a time: whole ones, (B, P)."""
    most = max(1, numbers(workspace, bound) // len(bound.flat))
    return min(wanted if at_once else min(wanted, ROW_BY_ROW), most)
