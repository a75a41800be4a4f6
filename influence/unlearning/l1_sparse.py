"""l1-sparse unlearning: fine-tuning with a penalty on the size of all weights that fades to zero.

Jia, Liu, Ram, Yao, Liu, Liu, Sharma and Liu, Model Sparsity Can Simplify Machine Unlearning, arXiv:2304.04934, equation 3 with the
decreasing schedule of section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from influence.loop import Loop
from influence.registry import option, unlearning
from influence.unlearning._descent import Descent, Request, resumed
from influence.unlearning._guard import Guarded, Look, guarded


@unlearning
@dataclass(frozen=True)
class L1Sparse(Guarded, Descent):
    """Goes on training on the retained rows while all weights are drawn towards zero, so that what few rows taught is let go first.

    The penalty falls to zero with the steps. Weights at which the retained rows suffer are not kept. Approximate.
    """

    gamma: float = option(1e-4, "Penalty at the start, times the sum of the weights' sizes", min=0.0, max=1.0)

    reservation: ClassVar[str] = (
        "Of rows that mattered it leaves 63 to 69 % of the way to retraining undone on digits; random rows end better known."
    )
    cost: ClassVar[str] = "About a quarter of a training: a fifth for the passes and the rest for the step size."
    needs: ClassVar[str] = "The retained rows; without a recipe the usual loss and step size are taken."

    def laid_out(self, asked: Request) -> tuple[Loop, Look]:
        """Return training on the retained rows with the penalty."""
        loop = resumed(Sparse, asked.trained, asked.retained, asked.recipe)
        loop.gamma = self.gamma
        return loop, guarded(loop, self.guarding(loop.bound, asked.recipe, asked.retained))


@dataclass
class Sparse(Loop):
    """A loop whose gradient has that of the penalty."""

    gamma: float = 0.0

    def gradient(self, t: int) -> torch.Tensor:
        """Return the gradient of the batch's loss and the penalty, (P,)."""
        return super().gradient(t) + self.gamma * (1 - t / len(self.batches)) * self.bound.flat.sign()
