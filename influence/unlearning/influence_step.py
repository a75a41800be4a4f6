"""One step in the weights that takes all rows out at once: the influence function's answer, put into the model.

The step is that of Koh and Liang (arXiv:1703.04730, section 2.1) for a set of rows; as an unlearning method Izzo et al.
(arXiv:2002.10077) and Warnecke et al. (arXiv:2108.11577, section 4), here as gradient flow for the time of training (`_response`): in the
metric of Adam where that trained the model (`_metric`), else preconditioned by EK-FAC (Grosse et al., arXiv:2308.03296).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from influence.loop import Bound
from influence.registry import option, unlearning
from influence.training import load
from influence.types import Examples, Recipe, Report, Trained, ignore
from influence.unlearning._budget import affordable, taken
from influence.unlearning._descent import Request, usual
from influence.unlearning._response import Settled, by_id
from influence.unlearning._stride import Holds, Stride
from influence.workspace import Workspace


@unlearning
@dataclass(frozen=True)
class InfluenceStep(Stride):
    """Moves the weights once, to where training would have taken them without the rows, or with other labels, as the curvature tells it.

    No training: what the curvature takes is read once per model and serves every request, so a request costs little more than a look at its
    own rows.
    It looks from where the model is: best for up to a few rows in a hundred that do not make up a kind of their own. The step is taken in
    parts and ends where the loss of the retained rows has given back more than `tolerance` of what training gained.
    """

    relabels: ClassVar[bool] = True

    products: int = option(4, "Products with the curvature by which each part is solved", min=1, max=100)
    turns: int = option(
        3,
        "Parts of the way at most, fewer where the budget leaves one fewer than 500 rows: loss and curvature are read anew at each",
        min=1,
        max=20,
    )
    budget: float = option(0.25, "Share of the training's work that a request may take, more or less", min=0.0, max=100.0, advanced=True)
    rows: int = option(
        0, "Retained rows that a part looks at, others each time; 0: what the budget allows", min=0, max=10**7, advanced=True
    )

    cost: ClassVar[str] = (
        "About a quarter of a training, its budget, and more where the training was short; once per model a pass over all rows, or a few."
    )
    needs: ClassVar[str] = "The removed rows, a sample of the retained ones, and once per model all that it was trained on."

    def prepare(self, trained: Trained, train: Examples, workspace: Workspace, report: Report = ignore) -> None:
        """Make what serves every request: the factors of the curvature, or Adam's metric."""
        Settled.at(trained, by_id(train), workspace, report)

    def expected(self, trained: Trained, train: Examples) -> float:
        """Return the share of the training's work that a request takes, by a count that leaves out the removed rows and the guard."""
        bound, recipe, n = load(trained), usual(trained, train), len(np.union1d(train.ids, list(trained.removed)))
        rows, turns = self._looked_at(bound, train, n, recipe)
        return taken(bound, train, n, recipe, rows, turns, self.products)

    def goal(self, asked: Request, bound: Bound, holds: Holds, workspace: Workspace) -> torch.Tensor:
        """Return the weights after the whole step, (P,).

        Raises:
            BadInput: all parameters are frozen, or the step is not finite.
        """
        settled = Settled.at(asked.trained, asked.train, workspace)
        rows, turns = self._looked_at(bound, asked.forget, settled.of.n, asked.recipe)
        return bound.flat + settled.step(asked.forget, asked.retained, self.products, rows, turns, self.seed)

    def _looked_at(self, bound: Bound, few: Examples, n: int, recipe: Recipe) -> tuple[int, int]:
        """Return how many rows a part of the way looks at, and how many parts there are."""
        return (self.rows, self.turns) if self.rows else affordable(bound, few, n, recipe, self.budget, self.turns, self.products)
