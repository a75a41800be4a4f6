"""Retraining: the truth, estimated from models that were really trained without rows.

R models are trained, each without some rows; the score of row i is mean(F | i left out) - mean(F | i kept), the difference in means by
which Feldman and Zhang (arXiv:2008.03703) estimate influence; a linear datamodel (Ilyas et al., arXiv:2202.00622) fitted by least squares
has the same expectation, as rows are left out independently of each other. Every row is left out exactly m = fraction x R times, in
models drawn for it alone, so the estimate is unbiased for the effect of leaving the row out in company of a `fraction` of the others.

Noise: a score's standard error is sd(F) sqrt(1/m + 1/(R - m)), with sd(F) the spread of F over the R models; it is told in the last
event. It falls as one over the root of R. To order single rows it must be below the spread of the scores; sums over many rows need far
fewer models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from influence.attribution._shared import only_trained_on
from influence.errors import BadInput
from influence.grads import outputs
from influence.keyed import uniform
from influence.loop import Bound, threads
from influence.progress import part as share_of
from influence.registry import attribution, option
from influence.repeatable import no_recipe
from influence.training import bound_at, train_many
from influence.types import Event, Examples, Question, Recipe, Report, Scores, Trained, ignore
from influence.workspace import Workspace

MOST, FEWEST, NUMBERS = 128, 4, 2**21
"""Models trained side by side: as many as have this many parameters in all, within limits."""


@attribution
@dataclass(frozen=True)
class Retraining:
    """Trains many models, each without some rows, and compares those that saw a row with those that did not: slow, and true up to noise."""

    subsets: int = option(64, "How many models to train", min=2, max=100_000)
    fraction: float = option(0.1, "Share of the rows that each model does without", min=0.0001, max=0.9)
    truth: Literal["same", "fresh"] = option("same", "Same seed and order as the model, or fresh seeds for every model")
    seed: int = option(0, "Which rows are left out together (and the fresh seeds)", min=0, max=2**31 - 1, advanced=True)

    calibrated: ClassVar[bool] = True
    version: ClassVar[int] = 2
    needs: ClassVar[str] = "The recipe and the training rows by which the model was trained."
    cost: ClassVar[str] = "As many trainings as subsets, several side by side."

    side_by_side: ClassVar[bool] = True
    in_shards: ClassVar[bool] = True

    @property
    def trainings(self) -> int:
        """How many trainings it takes."""
        return self.subsets

    def unavailable(self, trained: Trained) -> str:
        """Say why the model cannot be trained again, or ""."""
        return no_recipe(trained, "Retraining", "tracin")

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q) in the question's unit; the last event tells their standard error.

        Raises:
            BadInput: there is no recipe, a retraining diverged, or subsets x fraction leaves rows out never or always.
        """
        recipe = trained.recipe
        if recipe is None:
            raise BadInput(self.unavailable(trained))
        out = self._left_out(train.ids)
        size = min(MOST, max(FEWEST, NUMBERS // len(Bound(trained.model).flat)))
        parts = [self._answers(trained, recipe, train, question, out, slice(at, at + size), report) for at in range(0, len(out), size)]
        values = np.concatenate(parts)
        left = out.astype(np.float64)
        without, times = left.T @ values / left.sum(0)[:, None], left.sum(0)[0]
        kept = (1 - left).T @ values / (len(out) - times)
        error = values.std(0, ddof=1) * np.sqrt(1 / times + 1 / (len(out) - times))
        told = {f"standard error: {label}": float(e) for label, e in zip(question.labels, error, strict=True)}
        note = "; ".join(f"{name} {e:.2g}" for name, e in told.items())
        report(Event("retrain", len(out), len(out), note, told))
        return Scores(only_trained_on(without - kept, train, trained), train.ids, question.labels, "retraining", self.calibrated)

    def _left_out(self, ids: np.ndarray) -> np.ndarray:
        """Return which model does without which row, (R, N) bool: m times each, keyed by id.

        Raises:
            BadInput: m would be none or all of the models.
        """
        times = round(self.subsets * self.fraction)
        if not 0 < times < self.subsets:
            raise BadInput(
                f"{self.subsets} subsets with a fraction of {self.fraction} leave each row out {times} times; it must be at least once and "
                f"not always. Choose at least {int(np.ceil(1 / self.fraction))} subsets."
            )
        draws = np.stack([uniform(self.seed, f"subset {r}", ids) for r in range(self.subsets)])
        return draws.argsort(axis=0, kind="stable").argsort(axis=0) < times

    def _answers(
        self, trained: Trained, recipe: Recipe, train: Examples, question: Question, out: np.ndarray, part: slice, report: Report
    ) -> np.ndarray:
        """Train the models of one part side by side and return the question's values, (R_part, Q)."""
        chosen, start = out[part], part.start
        seeds = [self.seed + 1_000_003 + start + r for r in range(len(chosen))] if self.truth == "fresh" else None
        heard = share_of(report, "retrain", start, len(out), len(chosen))
        thetas = train_many(trained.model, train, recipe, 1.0 - chosen, seeds, trained.removed, heard)
        with threads(recipe.threads):
            found = [question.value(outputs(bound_at(trained.model, recipe, theta), question.examples)) for theta in thetas]
        return torch.stack(found).numpy().astype(np.float64)
