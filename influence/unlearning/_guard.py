"""Whether the retained rows still fare well while a model forgets others: all of them together, and each group of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from influence import grads
from influence.groups import columns_of, groups_of
from influence.keyed import keys
from influence.loop import Bound, Loop, tensors
from influence.losses import per_example
from influence.registry import option
from influence.types import Examples, Recipe, Selection, Trained

SEEN = 512
"""Retained rows, of all and of every group, on which the loss is watched: the same rows each time, so that a small rise shows."""
OF_EACH = 16
"""Rows of each class that are among these, as far as there are so many; of very many classes fewer."""
LEARNT = 0.05
"""Share of the best guess's loss that a training counts as having gained at least: one that has hardly begun is no limit."""
GROUP_ROWS, MOST_GROUPS = 50, 12
"""A group of fewer retained rows is not watched by itself: its loss moves with single rows. The largest are watched, so many."""

Look = Callable[[bool], None]
"""What is done before each evaluation step and, with True, at the end."""


class Guard:
    """Says whether the retained rows still fare well, on keyed samples of them; no other data is looked at.

    The loss may rise over its start by `slack` times what training gained over the best constant guess: a share, so that it means the same
    for every loss and for models that start near zero. With `by`, a column that forms groups, or several, no group's loss may rise by
    more than that either.
    """

    def __init__(self, bound: Bound, recipe: Recipe, retained: Examples, slack: float, by: str = "") -> None:
        self.recipe, self.rows = recipe, _watched(retained, recipe.seed)
        self.groups = dict(_groups(retained, by, recipe.seed)) if by else {}
        start, guess = self.loss(bound), constant_loss(recipe, self.rows if retained.classes else retained)
        self.rise = slack * max(guess - start, LEARNT * guess)
        self.most = start + self.rise
        self.most_of = {name: float(losses(bound, recipe, rows).mean()) + self.rise for name, rows in self.groups.items()}

    def loss(self, bound: Bound) -> float:
        """Mean loss of the sample."""
        return float(losses(bound, self.recipe, self.rows).mean())

    def holds(self, bound: Bound) -> bool:
        """Whether the loss is finite and within its limit, of all and of every group."""
        return self.loss(bound) <= self.most and not self.harmed(bound)

    def harmed(self, bound: Bound) -> str:
        """Return the first group whose loss is not within its limit, or ""."""
        over = (name for name, rows in self.groups.items() if not float(losses(bound, self.recipe, rows).mean()) <= self.most_of[name])
        return next(over, "")


def _watched(retained: Examples, seed: int) -> Examples:
    """Return the rows on which the loss is watched: a sample, and more of a class too rare to show harm in it."""
    if len(retained) <= SEEN or not retained.classes:
        return sample(retained, SEEN, seed, "guard")
    drawn, kinds = np.argsort(keys(seed, "guard", retained.ids), kind="stable"), np.unique(retained.y)
    of_each = max(1, min(OF_EACH, SEEN // (2 * len(kinds))))
    few = [drawn[retained.y[drawn] == kind][:of_each] for kind in kinds]
    return retained.take(np.unique(np.concatenate([drawn[:SEEN], *few])))


def _groups(retained: Examples, by: str, seed: int) -> Iterator[tuple[str, Examples]]:
    """Give the groups that are watched, the largest first, each with a sample of its rows."""
    found = groups_of(retained, by)
    counts = found.counts()
    for place in np.argsort(-counts, kind="stable")[:MOST_GROUPS]:
        if counts[place] >= GROUP_ROWS:
            name = found.names[place]
            yield name, sample(retained.take(found.code == place), SEEN, seed, f"guard {name}")


@dataclass(frozen=True)
class Guarded:
    """The settings that methods share whose way is watched."""

    tolerance: float = option(
        0.1, "Share of what training gained on the retained rows that may be given back", min=0.0, max=1.0, advanced=True
    )
    guard: str = option(
        "", "Column, or up to three, whose groups may not lose more than all rows may; none: all rows together", column=True, advanced=True
    )

    def refuse(self, trained: Trained, train: Examples, selection: Selection) -> None:
        """Refuse settings that do not fit these rows, before anything is trained.

        Raises:
            BadInput: no groups can be formed by `guard`.
        """
        if self.guard:
            columns_of(train, self.guard)

    def guarding(self, bound: Bound, recipe: Recipe, retained: Examples) -> Guard:
        """Return what says at any weights of the module whether the retained rows still fare as well as the settings ask."""
        return Guard(bound, recipe, retained, self.tolerance, self.guard)


def guarded(loop: Loop, guard: Guard, brake: Callable[[bool], None] = lambda braked: None) -> Look:
    """Return what is done at every look: say whether the retained rows suffer; at the end go back to the last weights at which not."""
    safe = loop.bound.state()

    def look(last: bool) -> None:
        nonlocal safe
        suffers = not guard.holds(loop.bound)
        brake(suffers)
        if not suffers:
            safe = loop.bound.state()
        elif last:
            loop.bound.load(safe)

    return look


def sample(examples: Examples, n: int, seed: int, purpose: str) -> Examples:
    """Return at most n rows, drawn by key, in the order they stand."""
    if len(examples) <= n:
        return examples
    return examples.take(np.sort(np.argsort(keys(seed, purpose, examples.ids), kind="stable")[:n]))


def losses(bound: Bound, recipe: Recipe, examples: Examples) -> torch.Tensor:
    """Return the loss of each example in evaluation mode, (N,)."""
    return per_example(recipe.loss, grads.outputs(bound, examples), tensors(examples, recipe.dtype)[1])


def constant_loss(recipe: Recipe, examples: Examples) -> float:
    """Return the loss of saying the class frequencies, or the mean target, of every row."""
    y = tensors(examples, recipe.dtype)[1]
    if examples.classes:
        share = torch.bincount(y, minlength=len(examples.classes)) / len(y)
        return float(-(share * share.clamp(min=1e-12).log()).sum())
    return float(per_example(recipe.loss, y.mean().expand(len(y), 1), y).mean())
