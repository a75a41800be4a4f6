"""The metagradient: what really happens to a question when a row's weight in training changes, to first order.

Maclaurin, Duvenaud and Adams, arXiv:1502.03492 (reverse mode through training); as attribution MAGIC: Ilyas and Engstrom,
arXiv:2504.16430. The score of row i is -dF/dw_i, where w_i multiplies the row's loss in every batch: the predicted change of F if the row
is removed (w_i goes from 1 to 0). The walk itself is in `influence.replay`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from influence.attribution._shared import no_recipe
from influence.registry import attribution, option
from influence.replay import walk
from influence.types import Examples, Question, Report, Scores, Trained, ignore
from influence.workspace import Workspace


@attribution
@dataclass(frozen=True)
class Metagradient:
    """Walks back through the recorded training and predicts, in the question's own unit, what retraining without a row would change."""

    memory: int = option(2048, "MiB for states of the training that have to be computed again", min=1, max=2**20, advanced=True)
    recompute: bool = option(False, "Compute the training again even if it was recorded", advanced=True)

    calibrated: ClassVar[bool] = True
    needs: ClassVar[str] = "The recipe and the training rows by which the model was trained."
    cost: ClassVar[str] = "Two to three trainings per question; one more if the training was not recorded."

    def unavailable(self, trained: Trained) -> str:
        """Say why the training cannot be walked, or ""."""
        return no_recipe(trained, "The metagradient")

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q) in the question's unit.

        Raises:
            BadInput: there is no recipe, the training does not end at the model's weights, or it diverged.
        """
        slope, _ = walk(trained, train, question, self.memory, self.recompute, report)
        return Scores(-slope, train.ids, question.labels, "metagradient", self.calibrated)
