"""Influence function: what the final weights say of every row, without its training.

Koh and Liang, arXiv:1703.04730. To first order, removing row i of n moves the minimum of the objective by (H + decay)^-1 grad l_i / n:

    s_i = <grad l_i, (G + decay + damping)^-1 grad F> / n

with G the Gauss-Newton matrix (`curvature.ggn`), which is H where the outputs are linear in the parameters. The solve is by EK-FAC
(arXiv:2308.03296) or by conjugate gradients with exact products, preconditioned by EK-FAC. Then one sweep scores all rows (`grads.sweep`).
For networks the answer is to a question of its own: what fine-tuning these weights without the row would change (the proximal Bregman
response; Bae et al., arXiv:2209.05364).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch

from influence.attribution._shared import only_trained_on
from influence.curvature import EKFAC, cg, damping, ggn
from influence.curvature.ekfac import VERSION
from influence.grads import query_gradient, sweep
from influence.loop import tensors, threads
from influence.registry import attribution, option
from influence.settled import factors, objective
from influence.types import Event, Examples, Question, Report, Scores, Trained, ignore
from influence.workspace import Workspace


@attribution
@dataclass(frozen=True)
class InfluenceFunction:
    """Estimates from the final weights alone how the model would settle without each row; needs no recipe, good for ranking."""

    solver: Literal["cg", "ekfac"] = option(
        "cg", "Exact curvature by conjugate gradients, or its factored approximation alone: faster, less true"
    )
    damping: float = option(0.0, "Added to the curvature; 0: found from the recipe or the weights", min=0.0, max=1e6, advanced=True)
    layers: Literal["all", "last"] = option("all", "Parameters that are taken to move: all, or those of the last layer", advanced=True)
    iterations: int = option(30, "cg: most products with the curvature", min=1, max=10_000, advanced=True)
    tolerance: float = option(0.01, "cg: relative residual at which a solve ends", min=1e-12, max=0.5, advanced=True)
    batch: int = option(256, "Training rows at a time", min=1, max=65536, advanced=True)

    calibrated: ClassVar[bool] = False
    version: ClassVar[int] = VERSION + 1
    """Of the factors, and one more: the damping of trainings that clip."""
    needs: ClassVar[str] = "The model's final weights and its training rows."
    cost: ClassVar[str] = "A few training epochs per question with ekfac, some tens with cg; as many again, once, as there are classes."

    def unavailable(self, trained: Trained) -> str:
        """Always "": weights are all it needs."""
        return ""

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q); the last event's metrics have the damping and the largest relative residual of the solves.

        Raises:
            BadInput: all parameters of the layers are frozen, or the question's gradient or a score is not finite.
        """
        values = self._swept(trained, train, (train,), question, report, workspace)[0]
        return Scores(values, train.ids, question.labels, "influence_function", self.calibrated)

    def replaced(
        self,
        trained: Trained,
        train: Examples,
        second: Examples,
        question: Question,
        report: Report = ignore,
        workspace: Workspace | None = None,
    ) -> Scores:
        """Return how replacing a row by its second version (the same ids in order) is estimated to move the question, (N, Q).

        The curvature is that of the rows as they are.

        Raises:
            BadInput: as for scores.
        """
        own, other = self._swept(trained, train, (train, second), question, report, workspace)
        return Scores(own - other, train.ids, question.labels, "influence_function", self.calibrated)

    def _swept(
        self, trained: Trained, train: Examples, versions: Sequence[Examples], question: Question, report: Report, space: Workspace | None
    ) -> list[np.ndarray]:
        """Return the scores of each version of the rows, with the curvature of the training rows."""
        with threads(trained.recipe.threads if trained.recipe else torch.get_num_threads()):
            of = objective(trained, train, self.layers)
            curvature = factors(of, trained, train, space or Workspace(), report)
            ridge = self.damping or damping.chosen(curvature, trained.recipe)
            _, v = query_gradient(of.bound, question)
            towards, residual = self._solve(curvature, v * of.mask, ridge, report)
            found = []
            for rows in versions:
                x, y = tensors(rows, of.bound.dtype)
                found.append(sweep(of.bound, x, y, of.rows.loss, towards, self.batch, report=report) / of.n)
        report(Event("sweep", len(train), len(train), self._said(residual), {"damping": ridge, "relative residual": residual}))
        return [only_trained_on(values, train, trained) for values in found]

    def _solve(self, curvature: EKFAC, v: torch.Tensor, ridge: float, report: Report) -> tuple[torch.Tensor, float]:
        """Return (curvature + ridge)^-1 v and the largest relative residual (0: solved exactly)."""
        if self.solver == "ekfac":
            return curvature.solve(v, ridge), 0.0
        of = replace(curvature.of, decay=curvature.of.decay + ridge)
        solved = cg(lambda p: ggn(of, p), v, lambda r: curvature.solve(r, ridge), self.iterations, self.tolerance, report)
        return solved.x, float(solved.residual.max())

    def _said(self, residual: float) -> str:
        if residual <= self.tolerance:
            return ""
        return (
            f"The solve stopped at a relative residual of {residual:.2g}, above {self.tolerance:g}. Allow more iterations for truer scores."
        )
