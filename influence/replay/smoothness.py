"""When not to trust a walk: does training answer the second half of a change as it answered the first?

A metagradient extrapolates: it holds as far as the trained weights move along a line when the rows' weights do. *Empirical metasmoothness*
(Engstrom et al., Optimizing ML Training with Metagradient Descent, arXiv:2503.13751, section on metasmooth training) measures that with
three trainings, at row weights w, w + h v and w + 2 h v: with d1 and d2 the changes of the final parameters over the two halves,

    S = sum_j |d1_j| sign(d1_j) sign(d2_j) / sum_j |d1_j|,

the share of parameters that go on in the same direction minus those that turn round, each counted by how far it moved; 1 is smooth, 0 is
noise. Here w = 1, v takes weight from a random set of rows, and 2 h v removes it: the very change that scores predict. Several random sets
give the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats

from influence.errors import BadInput
from influence.keyed import uniform
from influence.loop import Loop, threads
from influence.types import Event, Examples, Report, Trained, ignore

SMOOTH, ROUGH = 0.8, 0.5
"""From where on a walk predicts well, and below which only the order of large sets can be trusted (docs/measurements.md)."""


@dataclass(frozen=True)
class Smoothness:
    """Empirical metasmoothness: mean over `n` random sets of rows, its 95 % interval, and each set's own value."""

    value: float
    low: float
    high: float
    n: int
    values: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """Say in one sentence how far the metagradient of this training can be trusted."""
        if self.low >= SMOOTH:
            return "Smooth: the metagradient predicts removals of this size well."
        if self.high < ROUGH:
            return (
                "Rough: training answers small changes erratically. Do not trust the metagradient; try a smooth activation or a smaller lr."
            )
        return "In between: trust the order of rows more than the predicted size, and check by retraining."


def smoothness(
    trained: Trained, examples: Examples, share: float = 0.01, sets: int = 5, seed: int = 0, report: Report = ignore
) -> Smoothness:
    """Measure it with 2 `sets` + 1 trainings; `share`: of the rows that each set takes away.

    Raises:
        BadInput: there is no recipe, or fewer than two sets or no rows would be taken.
    """
    recipe = trained.recipe
    if recipe is None:
        raise BadInput("Smoothness is measured by training again and needs the recipe; this model has none. Train it here.")
    size = max(1, round(share * len(examples)))
    if sets < 2 or size >= len(examples):
        raise BadInput(f"At least two sets of some of the rows are needed; got {sets} of {size} of {len(examples)}.")
    weights = [np.ones(len(examples))]
    for k in range(sets):
        out = np.argsort(uniform(seed, f"smoothness {k}", examples.ids), kind="stable")[:size]
        for left in (0.5, 0.0):
            weights.append(np.ones(len(examples)))
            weights[-1][out] = left
    ends = []
    with threads(recipe.threads):
        for k, w in enumerate(weights):
            report(Event("smoothness", k, len(weights)))
            ends.append(_end(trained, examples, w, report, k, len(weights)))
    report(Event("smoothness", len(weights), len(weights)))
    values = np.array([agreement(ends[0], ends[2 * k + 1], ends[2 * k + 2]) for k in range(sets)])
    half = stats.t.ppf(0.975, sets - 1) * values.std(ddof=1) / np.sqrt(sets)
    mean = float(values.mean())
    return Smoothness(mean, max(-1.0, mean - half), min(1.0, mean + half), sets, tuple(map(float, values)))


def agreement(start: torch.Tensor, middle: torch.Tensor, end: torch.Tensor) -> float:
    """Return S of three parameter vectors; 1 if nothing moves."""
    first, second = middle - start, end - middle
    moved = float(first.abs().sum())
    return float((first.abs() * first.sign() * second.sign()).sum()) / moved if moved else 1.0


def _end(trained: Trained, examples: Examples, weights: np.ndarray, report: Report, k: int, total: int) -> torch.Tensor:
    """Train with these weights and return the final parameters, (P,)."""
    assert trained.recipe is not None
    loop = Loop.of(trained.model, examples, trained.recipe, weights, trained.removed)
    loop.bound.module.train()
    loop.run(0, len(loop.batches), lambda t: report(Event("smoothness", k, total)) if t % 64 == 63 else None)
    return loop.bound.flat.double().cpu()
