"""Gradient similarity from an index of compressed gradients: quick for every further question, whatever the number of rows.

The score is the dot product <grad l_i, grad F> at the final weights, as of *gradient_similarity*. All rows are screened by k coordinates of
their gradients kept on disk (in the spirit of Choe et al., LoGra, arXiv:2405.13954); the rows that lead at both ends are then scored
exactly. Returned is the exact score where there is one, the screen's elsewhere: the top of the list is exact, sums over many rows are
estimates, and the order far from the ends is approximate. An estimate lacks what the directions that were not kept hold, and each number
kept of a row is rounded to bfloat16 (by 2^-9 of itself at most); their products are formed in float32. The last event tells the recall,
measured when the index was built on held questions (`index/recall.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from influence.attribution._shared import over_all
from influence.index import FIRST, Index, Settings, build
from influence.index.build import VERSION
from influence.loop import threads
from influence.registry import attribution, option
from influence.settled import some_learn, trained_on, training_loss
from influence.training import load
from influence.types import Event, Examples, Question, Report, Scores, Trained, ignore
from influence.workspace import Workspace


@attribution
@dataclass(frozen=True)
class Indexed:
    """How alike the gradients of a row and of the question are, from an index made once: the first rows exact, the others estimated."""

    size: int = option(256, "Numbers kept of each row's gradient", min=8, max=16384)
    scored: int = option(3000, "Rows scored exactly at each end of the list", min=FIRST, max=10**7)
    seed: int = option(0, "Which rows the index learns from, and which it is tried on", min=0, max=2**31 - 1, advanced=True)

    calibrated: ClassVar[bool] = False
    version: ClassVar[int] = VERSION
    needs: ClassVar[str] = "The final weights, and some room on disk: two bytes a number kept."
    cost: ClassVar[str] = "A few training epochs for the index and its recall, once; then fractions of a second for each question."

    def unavailable(self, trained: Trained) -> str:
        """Always "": weights are all it needs."""
        return ""

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q), exact for the first rows; in no unit of the question. The last event tells the recall.

        Raises:
            BadInput: all parameters are frozen, or the question's gradient or a score is not finite.
        """
        workspace, settings = workspace or Workspace(), Settings(self.size, seed=self.seed)
        with threads(trained.recipe.threads if trained.recipe else torch.get_num_threads()):
            bound, loss, rows = some_learn(load(trained)), training_loss(trained, train), trained_on(train, trained)
            key = {"of": trained.digest, "rows": rows.digest, "loss": loss, "settings": settings, "version": VERSION}
            folder = workspace.kept(
                "index", key, lambda it: build(it, trained.digest, bound, rows, loss, settings, memory=workspace.memory / 4, report=report)
            )
            index = Index(folder, trained.digest, bound, rows)
            values, exact = index.ask(question, self.scored, report)
        found = index.recall(self.scored)
        note = (
            f"Recall {100 * found.mean:.3g} % (lowest {100 * found.lowest:.3g} %, n = {found.lists} trial lists): so many of the {FIRST} "
            "rows that exact gradient similarity puts first are among those scored exactly"
        )
        if exact.all():
            note = "Every row was scored exactly: the index left nothing out"
        told = {"recall": found.mean, "recall lowest": found.lowest, "lists": found.lists, "exact": int(exact.sum(0).min())}
        report(Event("screen", len(question.labels), len(question.labels), note, told))
        return Scores(over_all(values, train, trained), train.ids, question.labels, "indexed", self.calibrated)
