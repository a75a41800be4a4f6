"""One step in the weights that takes all rows out at once: the influence function's answer, put into the model.

The step is that of Koh and Liang (arXiv:1703.04730, section 2.1) for a set of rows; as an unlearning method Izzo et al.
(arXiv:2002.10077) and Warnecke et al. (arXiv:2108.11577, section 4), here with the curvature by EK-FAC (Grosse et al., arXiv:2308.03296),
refined by conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from influence.loop import Bound, threads
from influence.registry import option, unlearning
from influence.training import load
from influence.types import Event, Examples, Report, Selection, Trained, ignore
from influence.unlearning._descent import LOOKS, Guard, approximate, usual
from influence.unlearning._response import Settled, by_id
from influence.unlearning._rows import parted
from influence.workspace import Workspace


@unlearning
@dataclass(frozen=True)
class InfluenceStep:
    """Moves the weights once, to where they would have settled without the rows, as the curvature at the model's weights tells it.

    No training: the curvature is read once per model and serves every request, so a request costs little more than a look at its own rows.
    It looks from where the model is: best for up to a few rows in a hundred that do not make up a kind of their own. The step is taken in
    parts and ends where the loss of the retained rows has given back more than `tolerance` of what training gained.
    """

    products: int = option(4, "Products with the curvature by which the step is refined; 0: its factors alone", min=0, max=100)
    turns: int = option(
        3, "How often loss and curvature are read anew on the way, at most: a removal of few rows needs one or two", min=1, max=20
    )
    rows: int = option(1000, "Retained rows that a turn looks at, others each time", min=2, max=10**7, advanced=True)
    tolerance: float = option(
        0.1, "Share of what training gained on the retained rows at whose loss the step ends", min=0.0, max=1.0, advanced=True
    )
    seed: int = option(0, "Which of the retained rows are looked at", min=0, max=2**31 - 1, advanced=True)

    reservation: ClassVar[str] = ""
    cost: ClassVar[str] = "A few looks at the removed rows and at some others; once per model a few passes over all rows."
    needs: ClassVar[str] = "The removed rows, a sample of the retained ones, and once per model all that it was trained on."

    def unavailable(self, trained: Trained) -> str:
        """Return nothing: weights are all it needs."""
        return ""

    def prepare(self, trained: Trained, train: Examples, workspace: Workspace, report: Report = ignore) -> None:
        """Make what serves every request: the factors of the curvature."""
        Settled.at(trained, by_id(train), workspace, report)

    def __call__(
        self,
        trained: Trained,
        train: Examples,
        selection: Selection,
        monitor: Callable[[Bound], dict[str, float]] | None = None,
        report: Report = ignore,
        workspace: Workspace | None = None,
    ) -> Trained:
        """Return the model after the step, claim L1.

        Raises:
            BadInput: the selection cannot be removed, all parameters are frozen, or the step is not finite.
        """
        train = by_id(train)  # sums have one order, whatever order the rows stand in
        retained, forget = parted(trained, train, selection)
        with threads(trained.recipe.threads if trained.recipe else 1):
            settled = Settled.at(trained, train, workspace or Workspace())
            step = settled.step(forget, retained, self.products, self.rows, self.turns, self.seed)
            bound, recipe = load(trained), usual(trained, train)
            guard, start = Guard(bound, recipe, retained, self.tolerance), bound.flat.clone()
            part = 0
            for k in range(1, LOOKS + 1):
                report(Event("influence_step", k - 1, LOOKS, metrics=monitor(bound) if monitor else {}))
                bound.flat.copy_(start + step * (k / LOOKS))
                if not guard.holds(bound):
                    break
                part = k
            bound.flat.copy_(start + step * (part / LOOKS))
            report(Event("influence_step", LOOKS, LOOKS, _said(part), monitor(bound) if monitor else {}))
        return approximate(trained, selection, bound, 1, 0.0)


def _said(part: int) -> str:
    if part == LOOKS:
        return ""
    if not part:
        return "The model is as it was: even a small part of the step would have harmed the retained rows. Choose retrain."
    return (
        f"Only {part / LOOKS:.0%} of the step was taken: more would have harmed the retained rows. Choose retrain for so large a removal."
    )
