"""What the methods that train nothing share: weights to go towards, and how far the rows allow it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from influence.loop import Bound, threads
from influence.registry import option
from influence.training import load
from influence.types import Event, Examples, Report, Selection, Trained, ignore
from influence.unlearning._descent import LOOKS, Request, approximate, usual
from influence.unlearning._emptied import still_said
from influence.unlearning._guard import Guarded
from influence.unlearning._response import by_id
from influence.unlearning._rows import parted, relabelled
from influence.workspace import Workspace

Holds = Callable[[torch.Tensor], bool]
"""Whether the rows allow weights (P,)."""
NOTHING = "the method found nothing to change"


@dataclass(frozen=True)
class Stride(Guarded, ABC):
    """Goes from the model's weights towards others, in parts of the way, as far as the rows allow; claim L1.

    A method says where to (`goal`), what more than the retained rows' loss has to hold on the way (`fares`), and which other to choose
    where there is none (`instead`).
    """

    seed: int = option(0, "Which of the retained rows are looked at", min=0, max=2**31 - 1, advanced=True)

    id: ClassVar[str]
    cost: ClassVar[str]
    needs: ClassVar[str]
    reservation: ClassVar[str] = ""
    relabels: ClassVar[bool] = False
    instead: ClassVar[str] = "Choose retrain."

    def unavailable(self, trained: Trained) -> str:
        """Return nothing: weights are all it needs."""
        return ""

    @abstractmethod
    def goal(self, asked: Request, bound: Bound, holds: Holds, workspace: Workspace) -> torch.Tensor:
        """Return the weights to go towards, (P,); the module `bound` holds the model's and may be moved."""

    def fares(self, bound: Bound, asked: Request) -> Callable[[], str]:
        """Return what says what else the present weights have done that may not be, as in "would have …", or ""."""
        return lambda: ""

    def told(self, asked: Request, bound: Bound, workspace: Workspace) -> str:
        """Return what is to be said of the weights that the method ends at, in a sentence or two, or nothing."""
        return ""

    def __call__(
        self,
        trained: Trained,
        train: Examples,
        selection: Selection,
        monitor: Callable[[Bound], dict[str, float]] | None = None,
        report: Report = ignore,
        workspace: Workspace | None = None,
    ) -> Trained:
        """Return the model at the last part of the way that the rows allow, claim L1.

        Raises:
            BadInput: the selection cannot be removed, or there is no way to go.
        """
        train = by_id(train)  # sums have one order, whatever order the rows stand in
        retained, forget = parted(trained, train, selection) if selection.action == "remove" else self._as_before(trained, train, selection)
        asked = Request(trained, train, retained, forget, replace(usual(trained, train), seed=self.seed))
        with threads(asked.recipe.threads):
            bound = load(trained)
            start, guard, fares = bound.flat.clone(), self.guarding(bound, asked.recipe, retained), self.fares(bound, asked)

            def wrong(weights: torch.Tensor) -> str:
                bound.flat.copy_(weights)
                return fares() if guard.holds(bound) else _harm(guard.harmed(bound))

            goal = self.goal(asked, bound, lambda weights: not wrong(weights), kept := workspace or Workspace())
            part, why = LOOKS, ""
            while part and (found := wrong(start.lerp(goal, part / LOOKS))):
                part, why = part - 1, found
            for k in range(LOOKS + 1):
                bound.flat.copy_(start.lerp(goal, min(k, part) / LOOKS))
                note = ""
                if k == LOOKS:
                    still = still_said(bound, retained, forget, selection.action == "relabel")
                    note = " ".join(filter(None, (self._said(part, bound.flat.equal(start), why), self.told(asked, bound, kept), still)))
                report(Event(self.id, k, LOOKS, note, monitor(bound) if monitor else {}))
        return approximate(trained, selection, bound, 1, 0.0)

    def _as_before(self, trained: Trained, train: Examples, selection: Selection) -> tuple[Examples, Examples]:
        """Return the rows with their new labels, and those that get one with the old."""
        if not self.relabels:
            return parted(trained, train, selection)  # which says so
        rows, there = relabelled(trained, train, selection), ~np.isin(train.ids, list(trained.removed))
        return rows.take(there), train.take(there & train.mask(selection.ids))

    def _said(self, part: int, still: bool, why: str) -> str:
        if still:
            return f"The model is as it was: {f'even a small part of the way would have {why}' if why else NOTHING}. {self.instead}"
        return f"Only {part / LOOKS:.0%} of the way was gone: more would have {why}. {self.instead}" if why else ""


def _harm(group: str) -> str:
    return f"harmed the retained rows of {group}" if group else "harmed the retained rows"
