"""The metric in which Adam descends: how much of a slope it takes to move each number as far as plain gradient descent would.

Adam (Kingma and Ba, arXiv:1412.6980) moves a number by -lr m / (sqrt(v) + eps), with m and v the running means of its gradient and of that
squared. Near the end of training v hardly changes, and m follows the gradient, so that training is gradient flow in the metric
M = sqrt(v) + eps, for a time that is the sum of the step sizes:

    d theta / dt = -M^-1 grad - d theta,   d the decoupled decay of AdamW (arXiv:1711.05101)

v is read off the final weights anew, as the mean over all batches of an epoch of their squared gradients, which is what it would come to
there. All rows take part: a number that few rows move, such as the embedding of a rare word, must not seem to be moved by none.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from influence.curvature import Objective, gradient
from influence.keyed import keys
from influence.types import Event, Examples, Recipe, Report, Trained, ignore
from influence.workspace import Workspace

VERSION = 1


def metric(of: Objective, trained: Trained, train: Examples, recipe: Recipe, workspace: Workspace, report: Report = ignore) -> torch.Tensor:
    """Return the metric at the final weights, (P,); it takes a pass over the rows once, and is kept."""
    key = {"trained": trained.digest, "rows": train.digest, "loss": of.rows.loss, "version": VERSION}
    folder = workspace.kept("metric", key, lambda folder: _keep(folder, squared(of, recipe, report)))
    square = torch.from_numpy(np.load(folder / "square.npy")).to(of.bound.flat)
    return ((square + recipe.eps_root).sqrt() + recipe.eps).clamp(min=torch.finfo(square.dtype).tiny)  # numbers that nothing moves


def squared(of: Objective, recipe: Recipe, report: Report = ignore) -> torch.Tensor:
    """Return the mean over the batches of an epoch of the squared gradient of a batch, with Adam's decay in it, (P,).

    A last batch of fewer rows counts as much as these are of a batch, so that no row is left out.
    """
    order, size = torch.from_numpy(np.argsort(keys(0, "metric", of.ids), kind="stable")), min(recipe.batch_size, len(of.ids))
    found, decay, batches = torch.zeros_like(of.bound.flat), of.decay * of.bound.flat, order.split(size)
    for k, part in enumerate(batches):
        report(Event("metric", k, len(batches)))
        summed = gradient(replace(of, rows=of.rows.cut(part), ids=of.ids[part.numpy()], n=size))
        found += (summed + decay * len(part) / size).square()
    return found * size / len(order)


def _keep(folder: Path, square: torch.Tensor) -> None:
    np.save(folder / "square.npy", square.numpy(force=True))
