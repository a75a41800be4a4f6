"""SCRUB with rewinding: a student that stays near the model on retained rows and goes away from it on the removed ones.

Kurmanji, Triantafillou, Hayes and Triantafillou, Towards Unbounded Machine Unlearning, arXiv:2302.09880, section 3.1 (the objective,
steps of both kinds in turn, more of the second kind at the end) and 3.2 (rewinding, here before those at the end). The divergence is zero
to first order where student and teacher agree: the way away begins only once the retained rows have moved the student.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch

from influence import grads
from influence.keyed import order
from influence.loop import Batches, Loop
from influence.losses import per_example
from influence.optim import step_sizes
from influence.registry import option, unlearning
from influence.training import load
from influence.types import Recipe, State, as_places
from influence.unlearning._descent import Descent, Request, joined, passes, resumed
from influence.unlearning._guard import Guard, Guarded, Look
from influence.unlearning._unseen import like_unseen


@unlearning
@dataclass(frozen=True)
class Scrub(Guarded, Descent):
    """Turns the model away from what it said of the removed rows, then towards what it said of the retained ones and their labels, in turn.

    After the last turn it goes back to the weights at which the removed rows were nearest to the loss that their nearest retained
    neighbours let one expect of rows never seen, and ends with passes over the retained rows. Weights at which the retained rows suffer are
    not kept. Only training rows are looked at. Approximate.
    """

    alpha: float = option(0.001, "Weight of staying near the model on the retained rows", min=0.0, max=100.0)
    gamma: float = option(0.99, "Weight of the loss of the retained rows", min=0.0, max=100.0)
    away: int = option(0, "Passes over the removed rows, one before each pass over the retained ones; 0: three for ten", min=0, max=1000)

    reservation: ClassVar[str] = (
        "Of rows that mattered it leaves 66 to 74 % of the way to retraining undone on digits; random rows end better known."
    )
    cost: ClassVar[str] = "About a third of a training: a fifth for the passes, and the step size and the looks."

    def steps(self, asked: Request) -> int:
        """Return how many steps the passes over the retained and the removed rows take."""
        recipe = asked.recipe
        return passes(len(asked.retained), recipe) + passes(len(asked.forget), replace(recipe, epochs=self._turns(recipe)))

    def _turns(self, recipe: Recipe) -> int:
        return min(self.away or max(1, round(0.3 * recipe.epochs)), recipe.epochs)

    def laid_out(self, asked: Request) -> tuple[Loop, Look]:
        """Return steps of both kinds in turn, and the choice among the weights on the way."""
        loop = resumed(Scrubbed, asked.trained, asked.train, asked.recipe)
        loop.alpha, loop.gamma, loop.taught = self.alpha, self.gamma, grads.outputs(load(asked.trained), asked.train)
        _in_turn(loop, asked, self._turns(asked.recipe))
        return loop, watched(loop, asked, self.guarding(loop.bound, asked.recipe, asked.retained))


@dataclass
class Scrubbed(Loop):
    """A loop of steps towards a teacher and away from it.

    `taught`: what the teacher says of each example, (N, C). `climbs`: which steps go away. At step `turn` it goes back to the weights
    `kept`, if any; from then on it is `rewound`.
    """

    taught: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    alpha: float = 0.0
    gamma: float = 1.0
    climbs: list[bool] = field(default_factory=list)
    turn: int = 0
    rewound: bool = False
    kept: State | None = None

    def gradient(self, t: int) -> torch.Tensor:
        """Return the gradient of the batch's objective, (P,)."""
        if t == self.turn and self.kept is not None:
            self.bound.load(self.kept)
            self.slots = {name: torch.zeros_like(slot) for name, slot in self.slots.items()}
        self.rewound = t >= self.turn
        for layer in self.norms:  # a few removed rows are no measure of what is usual
            layer.training = not self.climbs[t]
        return super().gradient(t)

    def losses(self, t: int) -> torch.Tensor:
        """Return the objective of each of the batch's examples, (|B_t|,)."""
        out, at = self.outputs(t, self.x), self.batches.places[t]
        away, y = distance(self.taught[at].to(out), out), self.y[at].to(out.device)
        return -away if self.climbs[t] else self.alpha * away + self.gamma * per_example(self.recipe.loss, out, y)


def distance(taught: torch.Tensor, said: torch.Tensor) -> torch.Tensor:
    """Return how far what is said is from what is taught, (B, C) and (B, C) -> (B,).

    The Kullback-Leibler divergence of the probabilities taught from those said; of a numeric target, the squared difference.
    """
    if said.shape[1] == 1:
        return (said - taught).square().squeeze(1)
    wanted = taught.log_softmax(1)
    return (wanted.exp() * (wanted - said.log_softmax(1))).sum(1)


def _in_turn(loop: Scrubbed, asked: Request, away: int) -> None:
    """Lay out the steps: passes over the retained rows, the first `away` of them after a pass over the removed ones."""
    _, train, retained, forget, recipe = asked
    kept, gone = (torch.from_numpy(as_places(rows.ids, train.ids)) for rows in (retained, forget))
    parts: list[torch.Tensor] = []
    for epoch in range(recipe.epochs):
        for at, rows, climbs in ((gone, forget, True), (kept, retained, False)):
            if not climbs or epoch < away:
                cut = joined(loop, at[order(recipe.seed, epoch, rows.ids)].split(recipe.batch_size))
                parts += cut
                loop.climbs += [climbs] * len(cut)
        loop.turn = len(parts) if epoch < away else loop.turn
    loop.batches = Batches(parts, None, step_sizes(recipe, len(parts)))


def watched(loop: Scrubbed, asked: Request, guard: Guard) -> Look:
    """Return what is done at every look: keep the nearest weights to go back to; after that, and at the end, the last that do no harm."""
    unseen, start, nearest = like_unseen(loop.bound, asked), loop.bound.state(), float("inf")

    def look(last: bool) -> None:
        nonlocal nearest
        gap = abs(unseen())
        suffers = not guard.holds(loop.bound)
        if not suffers and (loop.rewound or gap < nearest):
            loop.kept, nearest = loop.bound.state(), gap
        elif last and (suffers or not loop.rewound):  # of few passes none is left to go back in
            loop.bound.load(loop.kept or start)

    return look
