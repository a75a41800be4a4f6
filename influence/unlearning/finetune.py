"""Fine-tuning: training goes on, without the rows, and what only they taught fades (called catastrophic forgetting elsewhere)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from influence.loop import Bound, Loop, threads
from influence.registry import option, unlearning
from influence.types import Examples, Report, Selection, Trained, ignore
from influence.unlearning._descent import approximate, descend, resumed, shortened, step_size
from influence.unlearning._rows import parted


@unlearning
@dataclass(frozen=True)
class Finetune:
    """Goes on training on the retained rows from the model's weights; what only the removed rows taught fades.

    The step size starts at the recipe's and shrinks until a short trial does not raise the loss of the retained rows; no other rows are
    looked at. Approximate: traces of the removed rows may remain.
    """

    epochs: int = option(0, "Passes over the retained rows; 0: a fifth of the training's", min=0, max=1000)
    lr: float = option(0.0, "Step size at the start; 0: searched for on the retained rows", min=0.0, max=10.0)
    batch_size: int = option(0, "Rows per step; 0: the training's", min=0, max=65536, advanced=True)
    seed: int = option(0, "Order of the rows", min=0, max=2**31 - 1, advanced=True)

    cost: ClassVar[str] = "About a quarter of a training: a fifth for the passes and the rest for the step size."
    needs: ClassVar[str] = "The retained rows; without a recipe the usual loss and step size are taken."

    def unavailable(self, trained: Trained) -> str:
        """Return nothing: every model can be trained further."""
        return ""

    def __call__(
        self,
        trained: Trained,
        train: Examples,
        selection: Selection,
        monitor: Callable[[Bound], dict[str, float]] | None = None,
        report: Report = ignore,
    ) -> Trained:
        """Return the fine-tuned model, claim L1.

        Raises:
            BadInput: the selection cannot be removed, or the weights do not stay finite.
        """
        retained, _ = parted(trained, train, selection)
        recipe = shortened(trained, train, self.epochs, self.batch_size, self.seed)
        with threads(recipe.threads):
            recipe = replace(recipe, lr=self.lr or step_size(trained, retained, recipe, "finetune", report))
            loop = resumed(Loop, trained, retained, recipe)
            descend(loop, "finetune", monitor, report)
        return approximate(trained, selection, loop)
