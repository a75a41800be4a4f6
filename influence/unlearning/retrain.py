"""Training again without the rows: exact by construction, and the truth by which every other method is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from influence import training
from influence.errors import BadInput
from influence.loop import Bound
from influence.registry import option, unlearning
from influence.types import Claim, Examples, Report, Selection, Trained, ignore
from influence.unlearning._rows import gone, parted, relabelled
from influence.workspace import Workspace


@unlearning
@dataclass(frozen=True)
class Retrain:
    """Trains the model from the beginning by its recipe, without the rows or with their labels corrected.

    Truth *same* keeps the initial weights and every other row's place in the order, so that nothing but the removal differs.
    Truth *fresh* draws both anew from `seed`: a model as one would get it the next time. What was fitted on training rows before (scaling,
    categories, vocabulary) is kept, as predictions of removals have it; *refitted* fits it again without the rows, so that nothing of them
    is left in it. Then inputs may be others and fewer, and initial weights with them.
    """

    truth: Literal["same", "fresh"] = option("same", "Keep initial weights and order, or draw them anew")
    preprocessing: Literal["kept", "refitted"] = option(
        "kept", "Scaling, categories and vocabulary: as they are, or fitted again without the rows"
    )
    seed: int = option(1, "Truth fresh: seed of the initial weights and the order of rows", min=0, max=2**31 - 1, advanced=True)

    claims: ClassVar[Claim] = "L2"
    in_shards: ClassVar[bool] = True
    relabels: ClassVar[bool] = True
    reservation: ClassVar[str] = ""
    cost: ClassVar[str] = "One full training."
    needs: ClassVar[str] = "The recipe by which the model was trained, and the retained rows."

    def unavailable(self, trained: Trained) -> str:
        """Return why the model cannot be retrained, or nothing."""
        return "" if trained.recipe else "This model has no recipe to train it again by. Train it here, or choose finetune or neggrad_plus."

    def __call__(
        self,
        trained: Trained,
        train: Examples,
        selection: Selection,
        monitor: Callable[[Bound], dict[str, float]] | None = None,
        report: Report = ignore,
        workspace: Workspace | None = None,
    ) -> Trained:
        """Return the model trained without the selection, or on its new labels, claim L2; `train` comes as `preprocessing` wants it.

        Raises:
            BadInput: there is no recipe, or the selection cannot be removed or relabelled.
        """
        if trained.recipe is None:
            raise BadInput(self.unavailable(trained))
        if selection.action == "relabel":
            rows = relabelled(trained, train, selection)
        else:
            rows, _ = parted(trained, train, selection)
        recipe = trained.recipe if self.truth == "same" else replace(trained.recipe, seed=self.seed)
        made = training.train(trained.model, rows, recipe, removed=gone(trained, selection), monitor=monitor, report=report)
        return replace(made, claim=self.claims)
