"""The training loss of each row at the end of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import log_softmax

from influence.mislabelled._shared import Score, logits_of, own
from influence.registry import mislabelled
from influence.types import Event, Examples, Report, Trained
from influence.workspace import Workspace


@mislabelled
@dataclass(frozen=True)
class Loss(Score):
    """How badly the trained model fits the label; quick, and blind to wrong labels that the model has learnt by heart."""

    needs: ClassVar[str] = "The final weights."
    cost: ClassVar[str] = "One pass over the rows."
    in_shards: ClassVar[bool] = True
    reads: ClassVar[str] = "Cross-entropy of the given label, in nats: 0.7 is a coin's guess between two classes."

    def values(self, trained: Trained, train: Examples, report: Report, workspace: Workspace) -> np.ndarray:
        """Return each row's cross-entropy, (N,)."""
        losses = -own(log_softmax(logits_of(trained, train), 1), train.y)
        report(Event("score", len(train), len(train)))
        return losses
