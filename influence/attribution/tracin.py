"""TracIn: follow a question along the checkpoints of training.

Pruthi, Liu, Kale and Sundararajan, Estimating Training Data Influence by Tracing Gradient Descent, arXiv:2002.08484 (there TracInCP):

    s_i = sum over checkpoints k of eta_k <grad l_i(theta_k), grad F(theta_k)>

with l_i the training loss of row i, F the question's differentiable value and eta_k the step size of checkpoint k. One step on row i
alone lowers F by eta <grad l_i, grad F> to first order, so removing the row is predicted to raise F by it: positive scores mark rows
whose removal raises F. All rows are scored by one sweep per checkpoint (`grads.sweep`): directional derivatives, never a gradient per
row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from influence.attribution._shared import part, training_loss
from influence.grads import query_gradient, sweep
from influence.loop import tensors, threads
from influence.registry import attribution, option
from influence.training import load
from influence.types import Examples, Question, Report, Scores, Trained, ignore
from influence.workspace import Workspace


@attribution
@dataclass(frozen=True)
class TracIn:
    """How much each row's steps moved the question at the kept checkpoints, summed; for any model, good for ranking only."""

    sweep: Literal["auto", "ghost", "forward"] = option(
        "auto", "How derivatives are taken: layer by layer (ghost), in forward mode, or ghost where it applies", advanced=True
    )
    batch: int = option(256, "Training rows at a time", min=1, max=65536, advanced=True)

    calibrated: ClassVar[bool] = False
    needs: ClassVar[str] = "One or more checkpoints of the model."
    cost: ClassVar[str] = "About one training epoch per checkpoint."

    def unavailable(self, trained: Trained) -> str:
        """Always "": weights are all it needs."""
        return ""

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q); in no unit of the question.

        Raises:
            BadInput: the question's gradient or a score is not finite, or the ghost sweep was chosen and does not apply.
        """
        n, kept, loss = len(train), trained.checkpoints, training_loss(trained, train)
        total = np.zeros((n, len(question.labels)))
        with threads(trained.recipe.threads if trained.recipe else torch.get_num_threads()):
            for k, checkpoint in enumerate(kept):
                bound = load(trained, checkpoint)
                x, y = tensors(train, str(bound.flat.dtype).removeprefix("torch."))
                _, v = query_gradient(bound, question)
                heard = part(report, "tracin", k * n, len(kept) * n)
                total += checkpoint.lr * sweep(bound, x, y, loss, v, self.batch, self.sweep, heard)
        total[np.isin(train.ids, trained.removed)] = 0  # rows that training never saw moved nothing
        return Scores(total, train.ids, question.labels, "tracin", self.calibrated)
