"""The margin of the given label along training.

In the spirit of Pleiss, Zhang, Elenberg and Weinberger, Identifying Mislabeled Data using the Area Under the Margin Ranking,
arXiv:2001.10528: the mean over training of z[given label] - max of z[other labels]. They average over all epochs and learn a threshold by
an extra class; here it is averaged over the kept checkpoints, and rows are only ranked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from influence.mislabelled._shared import Score, logits_of, margins
from influence.registry import mislabelled
from influence.types import Event, Examples, Report, Trained
from influence.workspace import Workspace


@mislabelled
@dataclass(frozen=True)
class MarginOverTraining(Score):
    """How far the label stayed behind the best other one while the model was trained: wrong labels are learnt late, against the others."""

    needs: ClassVar[str] = "Checkpoints of the model; more of them see more of its training."
    cost: ClassVar[str] = "One pass over the rows per checkpoint."
    reads: ClassVar[str] = "How far the best other class lay above the given label, in log-odds, on average over the checkpoints."

    def values(self, trained: Trained, train: Examples, report: Report, workspace: Workspace) -> np.ndarray:
        """Return minus the mean margin, (N,)."""
        total, kept = np.zeros(len(train)), trained.checkpoints
        for k, checkpoint in enumerate(kept):
            total += margins(logits_of(trained, train, checkpoint), train.y)
            report(Event("score", k + 1, len(kept)))
        return -total / len(kept)
