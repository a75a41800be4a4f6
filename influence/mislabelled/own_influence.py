"""TracIn's self-influence: what a row's own steps did to its own loss.

Pruthi, Liu, Kale and Sundararajan, arXiv:2002.08484, section 4.1: sum over checkpoints of eta_k |grad l_i(theta_k)|². A row with a wrong
label has nothing but itself to be learnt from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from influence.attribution import tracin
from influence.mislabelled._shared import Score
from influence.registry import mislabelled, option
from influence.types import Examples, Report, Trained
from influence.workspace import Workspace


@mislabelled
@dataclass(frozen=True)
class OwnInfluence(Score):
    """How much the model learnt about a row from that row alone; for any model, best with checkpoints from early in training."""

    layers: Literal["all", "last"] = option("all", "Gradients of all layers, or of the last one only, which is quicker and coarser")
    first: int = option(0, "How many of the kept checkpoints count, from the earliest; 0: all", min=0, max=100, advanced=True)

    needs: ClassVar[str] = "One or more checkpoints of the model."
    cost: ClassVar[str] = "About one training epoch per checkpoint."
    reads: ClassVar[str] = "Step size times the squared gradient of the row's loss, summed over checkpoints; it only ranks."

    def values(self, trained: Trained, train: Examples, report: Report, workspace: Workspace) -> np.ndarray:
        """Return self-influence, (N,); 0 for rows that training never saw."""
        kept = trained.checkpoints[: self.first] if self.first else trained.checkpoints
        return tracin.own_influence(replace(trained, checkpoints=kept), train, self.layers, report, workspace.memory)
