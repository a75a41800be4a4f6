"""The metagradient: what really happens to a question when a row's weight in training changes, to first order.

Maclaurin, Duvenaud and Adams, arXiv:1502.03492 (reverse mode through training); as attribution MAGIC: Ilyas and Engstrom,
arXiv:2504.16430. The score of row i is -dF/dw_i, where w_i multiplies the row's loss in every batch: the predicted change of F if the row
is removed (w_i goes from 1 to 0). The walk itself is in `influence.replay`.

One walk follows one training: it says what *this* model would have become. For "a model like this one" the setting `seeds` averages over
trainings with other initial weights (a brought training keeps its own), orders and draws, which estimates the change of the mean over
seeds (truth *fresh*). The standard error that is told is the root mean square over rows of each score's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from influence import training
from influence.registry import attribution, option
from influence.repeatable import no_recipe
from influence.replay import walk
from influence.replay.walk import VERSION
from influence.types import Event, Examples, Question, Report, Scores, Trained, ignore
from influence.workspace import Workspace, allowed


@attribution
@dataclass(frozen=True)
class Metagradient:
    """Walks back through the recorded training and predicts, in the question's own unit, what retraining without a row would change."""

    seeds: int = option(1, "1: this model; more: the mean over so many models of this recipe with other seeds", min=1, max=1000)
    memory: int = option(
        0, "MiB for states that have to be computed again; 0: as much as INFLUENCE_MEMORY allows", min=0, max=2**20, advanced=True
    )
    recompute: bool = option(False, "Compute the training again even if it was recorded", advanced=True)

    calibrated: ClassVar[bool] = True
    version: ClassVar[int] = VERSION
    needs: ClassVar[str] = "The recipe and the training rows by which the model was trained."
    cost: ClassVar[str] = "Two to three trainings per question, one more if the training was not recorded; times the number of seeds."

    @property
    def trainings(self) -> int:
        """The time of how many trainings a question takes at most: three for each walk, one for each model that has to be trained."""
        return 4 * self.seeds

    def unavailable(self, trained: Trained) -> str:
        """Say why the training cannot be walked, or ""."""
        return no_recipe(trained, "The metagradient", "tracin")

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q) in the question's unit; with several seeds the last event tells their standard error over seeds.

        Raises:
            BadInput: there is no recipe, the training does not end at the model's weights, or it diverged.
        """
        most = allowed() if workspace is None else workspace.memory
        memory, slopes = min(self.memory or most, most), []
        for k, model in enumerate(self._models(trained, train, memory, report)):
            heard = report if self.seeds == 1 else _part(report, k, self.seeds)
            slopes.append(walk(model, train, question, memory, self.recompute, heard, workspace=workspace).slope)
        if self.seeds > 1:
            error = np.sqrt((np.var(slopes, axis=0, ddof=1) / self.seeds).mean(0))
            told = {f"standard error: {label}": float(e) for label, e in zip(question.labels, error, strict=True)}
            report(Event("walk", self.seeds, self.seeds, "; ".join(f"{name} {e:.2g}" for name, e in told.items()), told))
        return Scores(-np.mean(slopes, axis=0), train.ids, question.labels, "metagradient", self.calibrated)

    def replaced(
        self,
        trained: Trained,
        train: Examples,
        second: Examples,
        question: Question,
        report: Report = ignore,
        workspace: Workspace | None = None,
    ) -> Scores:
        """Return the predicted change of the question if a row is replaced by its second version (the same ids in order), (N, Q).

        Of this model alone, whatever the setting `seeds` says; both versions go through the same walk.

        Raises:
            BadInput: as for scores; or the second versions have other ids, or cannot be walked in this model.
        """
        most = allowed() if workspace is None else workspace.memory
        memory = min(self.memory or most, most)
        found = walk(trained, train, question, memory, self.recompute, report, second, workspace).replaced
        assert found is not None  # there were second versions
        return Scores(found, train.ids, question.labels, "metagradient", self.calibrated)

    def _models(self, trained: Trained, train: Examples, memory: float, report: Report) -> Iterator[Trained]:
        """Yield the model, then others of its recipe with the seeds after its own."""
        yield trained
        for k in range(1, self.seeds):
            assert trained.recipe is not None
            recipe = replace(trained.recipe, seed=(trained.recipe.seed + k) % 2**31)
            kept = 0 if self.recompute else memory
            yield training.train(trained.model, train, recipe, removed=trained.removed, record=kept, report=_part(report, k, self.seeds))


def _part(report: Report, k: int, n: int) -> Report:
    """Return a `Report` that tells of the k-th of n models."""
    return lambda event: report(Event(event.stage, k * event.total + event.done, n * event.total, f"model {k + 1} of {n}"))
