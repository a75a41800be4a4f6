"""The metric in which Adam descends: how much of a slope it takes to move each number as far as plain gradient descent would.

Adam (Kingma and Ba, arXiv:1412.6980) moves a number by -lr m / (sqrt(v) + eps), with m and v the running means of its gradient and of that
squared. Near the end of training v hardly changes, and m follows the gradient, so that training is gradient flow in the metric
M = sqrt(v) + eps, for a time that is the sum of the step sizes:

    d theta / dt = -M^-1 grad - d theta,   d the decoupled decay of AdamW (arXiv:1711.05101)

v is read off the final weights anew, as what it would come to there: the mean over a pass's batches, in whatever order the rows come, of
their squared mean gradients. Of a batch of m among n rows, drawn without replacement, that is

    mu² + sigma² / m (n - m) / (n - 1),   mu and sigma² the mean and the variance of the gradients of single rows

(Cochran, Sampling Techniques, 3rd ed., theorem 2.2), so that a last batch of few rows, which moves v most, counts as it does in training:
each row is in it now and then. All rows take part in mu and sigma: a number that few rows move, such as the embedding of a rare word, must
not seem to be moved by none. That gradients are clipped is left out: without decay the scale cancels between slope and metric.
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

VERSION = 2
PARTS = 64
"""Batches, at least, among whose mean gradients the variance is told: more say more of it, and cost more."""


def metric(of: Objective, trained: Trained, train: Examples, recipe: Recipe, workspace: Workspace, report: Report = ignore) -> torch.Tensor:
    """Return the metric at the final weights, (P,); it takes a pass over the rows once, and is kept."""
    key = {"trained": trained.digest, "rows": train.digest, "loss": of.rows.loss, "version": VERSION}
    folder = workspace.kept("metric", key, lambda folder: _keep(folder, squared(of, recipe, report)))
    square = torch.from_numpy(np.load(folder / "square.npy")).to(of.bound.flat)
    return ((square + recipe.eps_root).sqrt() + recipe.eps).clamp(min=torch.finfo(square.dtype).tiny)  # numbers that nothing moves


def squared(of: Objective, recipe: Recipe, report: Report = ignore) -> torch.Tensor:
    """Return the expected mean over the batches of an epoch of the squared gradient of a batch, with Adam's decay in it, (P,).

    Places of rows that were gone in training count, as rows without a gradient.
    """
    n, there = of.n, len(of.ids) / of.n
    sizes = _sizes(recipe, n)
    mean, variance = _moments(of, min(len(of.ids), max(PARTS, len(of.ids) // max(sizes))), report)
    mean, square = mean * there, (variance + mean.square()) * there
    spread = float(np.mean((n - sizes) / sizes)) / max(1, n - 1)
    return (mean + of.decay * of.bound.flat).square() + spread * (square - mean.square()).clamp(min=0)


def _sizes(recipe: Recipe, n: int) -> np.ndarray:
    """Return the sizes of an epoch's batches over n places; of a training outside Lethe those of all its steps."""
    if recipe.went is not None:
        return np.asarray(recipe.went.load()["sizes"])
    whole, left = divmod(n, recipe.batch_size)
    return np.array([recipe.batch_size] * whole + [left] * (left > 0))


def _moments(of: Objective, parts: int, report: Report) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean of the gradients of single rows, and what `parts` means of some of them let one expect of their variance, (P,) each.

    Whatever the sizes m of the parts, sum m (their mean - mu)² is sigma² n (parts - 1) / (n - 1) on average over all orders of the rows.
    """
    n, order = len(of.ids), torch.from_numpy(np.argsort(keys(0, "metric", of.ids), kind="stable"))
    mean, square = torch.zeros_like(of.bound.flat), torch.zeros_like(of.bound.flat)
    for k, part in enumerate(order.tensor_split(parts)):
        report(Event("metric", k, parts))
        one = gradient(replace(of, rows=of.rows.cut(part), ids=of.ids[part.numpy()], n=len(part)))
        mean += one * (len(part) / n)
        square += one.square() * (len(part) / n)
    return mean, (square - mean.square()).clamp(min=0) * ((n - 1) / max(1, parts - 1))


def _keep(folder: Path, square: torch.Tensor) -> None:
    np.save(folder / "square.npy", square.numpy(force=True))
