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
from influence.repeatable import no_recipe
from influence.types import Event, Examples, Report, Trained, ignore

SMOOTH, ROUGH = 0.8, 0.5
"""Between trainings whose walks agreed with retraining and those that mostly did not (docs/measurements.md)."""
VERDICTS = {
    "smooth": "Smooth: training answers small changes evenly, as the metagradient assumes.",
    "between": "In between: the metagradient may be right here or not at all. Check it by retraining.",
    "rough": "Rough: training answers small changes erratically. Trust the metagradient only where retraining agrees.",
}


@dataclass(frozen=True)
class Smoothness:
    """Empirical metasmoothness: mean over `n` random sets of rows, its 95 % interval, and each set's own value."""

    value: float
    low: float
    high: float
    n: int
    values: tuple[float, ...]

    @property
    def word(self) -> str:
        """Return "smooth" or "rough" if the whole interval says so, else "between"."""
        return "smooth" if self.low >= SMOOTH else "rough" if self.high < ROUGH else "between"

    @property
    def verdict(self) -> str:
        """Say in one sentence how far the metagradient of this training can be trusted."""
        return VERDICTS[self.word]


def smoothness(
    trained: Trained, examples: Examples, share: float = 0.01, sets: int = 5, seed: int = 0, report: Report = ignore
) -> Smoothness:
    """Measure it with 2 `sets` + 1 trainings; `share`: of the rows that each set takes away.

    Sets are drawn among the rows that training saw.

    Raises:
        BadInput: there is no recipe, fewer than two sets or no rows would be taken, or a training diverged or did not move at all.
    """
    recipe = trained.recipe
    if recipe is None:
        raise BadInput(no_recipe(trained, "Measuring smoothness", "a method that does not follow training"))
    seen = np.flatnonzero(~np.isin(examples.ids, trained.removed))
    if sets < 2 or not 0 < share < 1 or len(seen) < 2:
        raise BadInput(
            f"At least two sets of some of the rows are needed, share between 0 and 1; got {sets} sets of a share of {share:g} of "
            f"{len(seen)} rows."
        )
    size = min(max(1, round(share * len(seen))), len(seen) - 1)
    weights = [np.ones(len(examples))]
    for k in range(sets):
        out = seen[np.argsort(uniform(seed, f"smoothness {k}", examples.ids[seen]), kind="stable")[:size]]
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
    half = float(stats.t.ppf(0.975, sets - 1) * values.std(ddof=1) / np.sqrt(sets))
    mean = float(values.mean())
    return Smoothness(mean, max(-1.0, mean - half), min(1.0, mean + half), sets, tuple(map(float, values)))


def agreement(start: torch.Tensor, middle: torch.Tensor, end: torch.Tensor) -> float:
    """Return S of three parameter vectors.

    Raises:
        BadInput: nothing moved, so that there is no direction to go on in.
    """
    first, second = middle - start, end - middle
    moved = float(first.abs().sum())
    if not moved:
        raise BadInput("Taking weight from these rows moved no parameter, so nothing can be said of smoothness. Take more rows.")
    return float((first.abs() * first.sign() * second.sign()).sum()) / moved


def _end(trained: Trained, examples: Examples, weights: np.ndarray, report: Report, k: int, total: int) -> torch.Tensor:
    """Train with these weights and return the final parameters, (P,).

    Raises:
        BadInput: training diverged.
    """
    assert trained.recipe is not None
    loop = Loop.of(trained.model, examples, trained.recipe, weights, trained.removed)
    loop.bound.module.train()
    loop.run(0, len(loop.batches), lambda t: report(Event("smoothness", k, total)) if t % 64 == 63 else None)
    if not torch.isfinite(loop.bound.flat).all():
        raise BadInput(
            "A training without some of the rows diverged: it is rough, and a metagradient of it means nothing. Train with a smaller lr."
        )
    return loop.bound.flat.double().cpu()
