"""Training a part of one shard again: exact, at a share of what retraining costs, for models that were trained in shards.

Bourtoule, Chandrasekaran, Choquette-Choo, Jia, Travers, Zhang, Lie and Papernot, Machine Unlearning, IEEE S&P 2021, arXiv:1912.03817.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from influence.errors import BadInput
from influence.loop import Bound, threads
from influence.registry import unlearning
from influence.repeatable import no_recipe
from influence.shards import stages
from influence.shards.layout import Layout
from influence.training import checkpoint
from influence.types import Claim, Event, Examples, Report, Selection, Trained, ignore
from influence.unlearning._rows import left, parted
from influence.workspace import Workspace


@unlearning
@dataclass(frozen=True)
class Sisa:
    """Trains only the shards that held the rows again, each from before its first slice with one of them.

    The new weights are bit for bit those of training all shards again without the rows, as `retrain` does it, and so are the weights kept
    after each slice: request after request can be served. The model must have been trained in shards (`shards` and `slices` of the
    recipe): each shard has a model of its own, and the mean of them answers. Rows that lie scattered touch many shards: then it costs as
    much as retraining. What was fitted on training rows before (scaling, categories, vocabulary) is kept.
    """

    claims: ClassVar[Claim] = "L2"
    in_shards: ClassVar[bool] = True
    reservation: ClassVar[str] = ""
    cost: ClassVar[str] = "For one row at most one shard's training; for rows in every shard nearly a full one."
    needs: ClassVar[str] = "A model trained in shards, with the weights kept after each slice, and the retained rows."

    def unavailable(self, trained: Trained) -> str:
        """Return why no part of the training can be taken again, or nothing."""
        if reason := no_recipe(trained, "SISA", "finetune"):
            return reason
        if trained.recipe is None or not trained.recipe.sharded:
            return "SISA needs a model trained in shards; this one saw all rows at once. Train again with, say, 5 shards and 4 slices."
        if len(trained.checkpoints) != trained.recipe.slices:
            return "SISA needs the weights kept after each slice, and they did not come with this model. Choose retrain."
        return ""

    def share(self, trained: Trained, train: Examples, selection: Selection) -> float:
        """Return which share of a full training's steps the selection takes."""
        assert trained.recipe is not None
        gone = left(trained, selection)
        return Layout.of(trained.recipe, train.ids, trained.removed).share(gone) if gone else 0.0

    def __call__(
        self,
        trained: Trained,
        train: Examples,
        selection: Selection,
        monitor: Callable[[Bound], dict[str, float]] | None = None,
        report: Report = ignore,
        workspace: Workspace | None = None,
    ) -> Trained:
        """Return the model trained without the selection, claim L2; the last event tells what was trained again.

        Raises:
            BadInput: the model was not trained in shards, the selection cannot be removed, or a shard would keep too few rows.
        """
        if (reason := self.unavailable(trained)) or trained.recipe is None:
            raise BadInput(reason)
        retained, _ = parted(trained, train, selection)
        recipe, gone = trained.recipe, left(trained, selection)
        removed = (*trained.removed, *gone)
        since = stages.Since(trained.checkpoints, gone)
        with threads(recipe.threads):
            made = stages.train(
                trained.model, retained, recipe, None, removed, since, monitor, lambda event: report(replace(event, stage="sisa"))
            )
        layout = Layout.of(recipe, train.ids, removed)
        again, share = int((layout.first(gone) < recipe.slices).sum()), layout.share(gone)
        steps = round(share * int(layout.steps.sum()))
        report(Event("sisa", steps, steps, f"{again} of {recipe.shards} shards trained again, {share:.1%} of a full training's steps."))
        return Trained(trained.model, tuple(checkpoint(*stage) for stage in made), recipe, self.claims, None, removed)
