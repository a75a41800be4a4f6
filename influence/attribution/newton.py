"""Newton's step without each row, exact for linear models: leave-one-out of a logistic or linear regression without refitting.

Pregibon, Logistic regression diagnostics, doi:10.1214/aos/1176345513 (1981); as an influence function arXiv:2506.06656. The influence
function takes the curvature with the row still in it, and so predicts too small a change for rows of high leverage; here the row's own
part of the curvature is taken out, whatever the number of classes (`curvature.newton`). In a network the last layer moves alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from influence.curvature import damping, fit
from influence.curvature.newton import closed, head
from influence.errors import BadInput
from influence.grads import query_gradient
from influence.loop import Bound, threads
from influence.registry import attribution, option
from influence.settled import objective
from influence.types import Event, Examples, Question, Report, Scores, Trained, ignore
from influence.workspace import Workspace


@attribution
@dataclass(frozen=True)
class Newton:
    """Takes each row out of the last layer exactly; the whole answer for logistic and linear regression, a part of it for networks."""

    damping: float = option(0.0, "Added to the curvature; 0: found from the recipe or the weights", min=0.0, max=1e6, advanced=True)

    calibrated: ClassVar[bool] = True
    version: ClassVar[int] = 2
    needs: ClassVar[str] = "A last layer that is linear and small, and the training rows."
    cost: ClassVar[str] = "One pass over the rows, and a matrix as large as the last layer, once."

    def unavailable(self, trained: Trained) -> str:
        """Say why the last layer cannot be solved exactly, or ""."""
        return closed(Bound(trained.model), trained.model.outputs)

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q): in the question's unit where the last layer is the whole model, else for their order alone.

        Raises:
            BadInput: the last layer is not linear, too large or frozen, or the rows do not determine it.
        """
        if reason := self.unavailable(trained):
            raise BadInput(reason)
        with threads(trained.recipe.threads if trained.recipe else torch.get_num_threads()):
            of = objective(trained, train, "last")
            report(Event("newton", 0, 3))
            ridge = of.decay + (self.damping or damping.chosen(fit(of), trained.recipe))
            layer = head(of, ridge)
            report(Event("newton", 1, 3))
            _, v = query_gradient(of.bound, question)
            report(Event("newton", 2, 3))
            found = layer.removals(v).numpy(force=True)
        values = np.zeros((len(train), len(question.labels)))
        values[~np.isin(train.ids, trained.removed)] = found  # rows that training never saw moved nothing
        report(Event("newton", 3, 3, metrics={"ridge": ridge}))
        return Scores(values, train.ids, question.labels, "newton", len(of.places) == len(of.bound.params))
