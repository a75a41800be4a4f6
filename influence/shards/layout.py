"""Which shard and slice each row belongs to, and what each stage of a sharded training takes (see `influence.shards`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from influence.errors import BadInput
from influence.keyed import keys, uniform
from influence.types import Recipe

LEAST = 2
"""Rows that each shard's first slice must hold at first, and that must stay in each shard."""


def places(recipe: Recipe, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shard and the slice of each id, (N,) int64 each, both from 0."""
    drawn = {"shard": recipe.shards, "slice": recipe.slices}
    shard, part = ((uniform(recipe.seed, what, ids) * count).astype(np.int64) for what, count in drawn.items())
    return shard, part


@dataclass(frozen=True)
class Layout:
    """What each stage trains on: the roll of all ids that ever had a place, and those of it that are gone."""

    recipe: Recipe
    roll: np.ndarray
    gone: np.ndarray

    @classmethod
    def of(cls, recipe: Recipe, ids: np.ndarray, removed: Sequence[Any]) -> Layout:
        """Lay out a training on rows with these ids, of which some may be among those removed."""
        away = np.asarray(removed) if len(removed) else ids[:0]
        roll = np.concatenate([ids, np.setdiff1d(away, ids)])
        return cls(recipe, roll, np.isin(roll, away))

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """The shard and the slice of each id of the roll."""
        return places(self.recipe, self.roll)

    def inside(self, k: int, r: int) -> np.ndarray:
        """Return which ids of the roll shard k trains on when slice r has come in, (N,) bool."""
        shard, part = self.places
        return (shard == k) & (part <= r)

    def stage(self, k: int, r: int) -> Recipe:
        """Return by what recipe shard k is trained when slice r comes in."""
        epochs = max(1, round(2 * self.recipe.epochs / (self.recipe.slices + 1)))
        seed = int(keys(self.recipe.seed, f"shard {k}", np.array([r]))[0] >> np.uint64(33))
        return replace(self.recipe, shards=1, slices=1, epochs=epochs, seed=seed, course=None)

    @cached_property
    def steps(self) -> np.ndarray:
        """How many steps each stage takes, (S, R)."""
        rows = np.array([[self.inside(k, r).sum() for r in range(self.recipe.slices)] for k in range(self.recipe.shards)])
        return self.stage(0, 0).epochs * -(-rows // self.recipe.batch_size)

    def first(self, ids: Sequence[Any]) -> np.ndarray:
        """Return the first stage of each shard that sees one of `ids`, (S,): R where none does."""
        first = np.full(self.recipe.shards, self.recipe.slices)
        np.minimum.at(first, *places(self.recipe, np.asarray(ids)))
        return first

    def share(self, ids: Sequence[Any]) -> float:
        """Return which share of all steps is taken again when `ids` go."""
        again = np.arange(self.recipe.slices) >= self.first(ids)[:, None]
        return float(self.steps[again].sum() / self.steps.sum())

    def fits(self, present: np.ndarray) -> bool:
        """Whether no shard has too few rows."""
        try:
            self.refuse(present)
        except BadInput:
            return False
        return True

    def refuse(self, present: np.ndarray) -> None:
        """Refuse shards with too few rows; `present`: which of the roll are there, (N,) bool.

        Raises:
            BadInput: a shard begins, or is left, with fewer than two rows.
        """
        what = f"{self.recipe.shards} shards" + (f" of {self.recipe.slices} slices" if self.recipe.slices > 1 else "")
        for k in range(self.recipe.shards):
            begins, stays = int(self.inside(k, 0).sum()), int((self.inside(k, self.recipe.slices) & present).sum())
            if begins < LEAST:
                where = "its first slice" if self.recipe.slices > 1 else "it"
                raise BadInput(
                    f"{len(self.roll):,} rows are too few for {what}: shard {k + 1} has {begins} in {where}, and needs {LEAST} at least. "
                    "Choose fewer shards or slices."
                )
            if stays < LEAST:
                raise BadInput(
                    f"Shard {k + 1} of {self.recipe.shards} would keep {stays} of its rows; it needs {LEAST} at least. "
                    "Select fewer rows, or train with fewer shards."
                )
