"""Training that goes on from a model's weights: what the approximate methods share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, TypeVar

import torch

from influence import training
from influence.errors import BadInput
from influence.loop import Batches, Bound, Loop, threads
from influence.optim import step_sizes
from influence.registry import option
from influence.types import Event, Examples, Recipe, Report, Selection, Trained, ignore
from influence.unlearning._emptied import still_said
from influence.unlearning._guard import Guard, Look
from influence.unlearning._rows import gone, parted
from influence.workspace import Workspace

L = TypeVar("L", bound=Loop)

OFTEN = 256  # steps after which live curves move in any case: a fraction of a second on small models
LOOKS = 20  # times that the monitor is asked on the way
SHRINK, TRIES = 0.3, 6  # of the search for a step size
UNCHANGED = "The model is as it was: no step was kept. Choose finetune."
SLACK = 0.01  # rise of the retained loss that the search lets pass as noise


class Request(NamedTuple):
    """What is asked: model, rows, those that stay and those that go (to be relabelled: with new and old labels), the steps' recipe."""

    trained: Trained
    train: Examples
    retained: Examples
    forget: Examples
    recipe: Recipe


@dataclass(frozen=True)
class Descent(ABC):
    """What the methods that go on training share: their settings, and the way from a request to an unlearned model, claim L1.

    A method says what its steps are (`laid_out`); the step size is searched for here.
    """

    epochs: int = option(0, "Passes over the retained rows; 0: a fifth of the training's", min=0, max=1000)
    lr: float = option(0.0, "Step size at the start; 0: searched for on the retained rows", min=0.0, max=10.0)
    batch_size: int = option(0, "Retained rows per step; 0: the training's", min=0, max=65536, advanced=True)
    seed: int = option(0, "Order of the rows, and whatever else is drawn", min=0, max=2**31 - 1, advanced=True)

    id: ClassVar[str]
    cost: ClassVar[str]
    reservation: ClassVar[str] = ""
    needs: ClassVar[str] = "The retained and the removed rows; without a recipe the usual loss and step size are taken."

    def unavailable(self, trained: Trained) -> str:
        """Return nothing: every model can be trained further."""
        return ""

    def steps(self, asked: Request) -> int:
        """Return how many steps the method takes: by default its passes over the retained rows."""
        return passes(len(asked.retained), asked.recipe)

    @abstractmethod
    def laid_out(self, asked: Request) -> tuple[Loop, Look]:
        """Return the loop that takes the method's steps, and what is done at every look."""

    def told(self, loop: Loop) -> str:
        """Return what is to be said of the steps once they are taken, in a sentence, or nothing."""
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
        """Return the unlearned model, claim L1.

        Raises:
            BadInput: the selection cannot be removed, or the weights do not stay finite.
        """
        retained, forget = parted(trained, train, selection)
        recipe = shortened(trained, train, self.epochs, self.batch_size, self.seed)
        with threads(recipe.threads):
            asked = Request(trained, train, retained, forget, recipe)
            lr = self.lr or step_size(trained, retained, recipe, self.id, lambda event: report(replace(event, total=self.steps(asked))))
            loop, look = self.laid_out(asked._replace(recipe=replace(recipe, lr=lr)))
            descend(loop, self.id, monitor, report, look)
        still, steps = loop.bound.vector().equal(training.load(trained).vector()), len(loop.batches)
        if said := UNCHANGED if still else " ".join(filter(None, (self.told(loop), still_said(loop.bound, retained, forget)))):
            report(Event(self.id, steps, steps, said))
        return approximate(trained, selection, loop.bound, steps, sum(loop.batches.lr) / steps)


def passes(rows: int, recipe: Recipe) -> int:
    """Return in how many steps the recipe passes over so many rows."""
    return recipe.epochs * -(-rows // recipe.batch_size)


def no_look(last: bool) -> None:
    """Do nothing."""


def usual(trained: Trained, train: Examples) -> Recipe:
    """Return the model's recipe; of a model without one the default, with the loss that fits the target."""
    return trained.recipe or Recipe(loss="cross_entropy" if train.classes else "squared")


def shortened(trained: Trained, train: Examples, epochs: int, batch_size: int, seed: int) -> Recipe:
    """Return the model's usual recipe with another length and steps that fall to zero; 0: a fifth of its epochs, its own batch size."""
    base = usual(trained, train)
    length = epochs or max(1, round(base.epochs / 5))
    return replace(base, epochs=length, batch_size=batch_size or base.batch_size, seed=seed, schedule="linear", warmup=0.0)


def step_size(trained: Trained, retained: Examples, recipe: Recipe, stage: str, report: Report) -> float:
    """Return the largest of the recipe's step size times 1, 0.3, 0.09, … that does not raise the retained loss in a tenth of the steps."""
    lr = recipe.lr
    for _ in range(TRIES):
        loop = resumed(Loop, trained, retained, replace(recipe, lr=lr))
        total, guard = len(loop.batches), Guard(loop.bound, recipe, retained, SLACK)
        steps = min(total, max(5, total // 10))
        loop.batches = Batches(loop.batches.places[:steps], None, step_sizes(loop.recipe, steps))
        loop.bound.module.train()
        loop.run(0, steps, lambda t, total=total: report(Event(stage, 0, total, note="Looking for a step size")))  # type: ignore[misc]
        if guard.holds(loop.bound):
            break
        lr *= SHRINK
    return lr


def resumed(kind: type[L], trained: Trained, examples: Examples, recipe: Recipe) -> L:
    """Return a loop over `examples` that starts at the model's weights, with empty optimiser memory."""
    loop = kind.of(trained.model, examples, recipe, None, ())
    assert isinstance(loop, kind)
    loop.bound.load(trained.final.load())
    places = joined(loop, loop.batches.places)
    if len(places) < len(loop.batches):
        loop.batches = Batches(places, None, step_sizes(recipe, len(places)))
    return loop


def joined(loop: Loop, parts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the batches of passes over rows; a row left over, which has no batch statistics, joins the batch before it.

    A module that takes none keeps the batches as they are, and so do batches that are all of one row.
    """
    out: list[torch.Tensor] = []
    for part in parts:
        if loop.norms and len(part) == 1 and out and len(out[-1]) > 1:
            out[-1] = torch.cat([out[-1], part])
        else:
            out.append(part)
    return out


def descend(
    loop: Loop,
    stage: str,
    monitor: Callable[[Bound], dict[str, float]] | None,
    report: Report,
    look: Look = no_look,
) -> None:
    """Take all steps of the loop in place; `look(last)` comes before each evaluation step and, with True, at the end.

    Raises:
        BadInput: the weights do not stay finite.
    """
    steps, module = len(loop.batches), loop.bound.module
    shown = max(1, steps // LOOKS)
    often = min(shown, OFTEN)

    def before(t: int) -> None:
        if t % shown == 0:
            look(False)
        if t % shown == 0 or t % often == 0:
            report(Event(stage, t, steps, metrics=monitor(loop.bound) if monitor else {}))
            module.train()
        elif t % 8 == 0:
            report(Event(stage, t, steps))

    module.train()
    loop.run(0, steps, before)
    look(True)
    if not torch.isfinite(loop.bound.flat).all():
        raise BadInput(
            f"The weights are not finite after {steps} steps at step size {loop.recipe.lr:g}. Lower lr, or set it to 0 to search for it."
        )
    report(Event(stage, steps, steps, metrics=monitor(loop.bound) if monitor else {}))


def approximate(trained: Trained, selection: Selection, bound: Bound, steps: int, mean_step: float) -> Trained:
    """Return weights as an unlearned model, claim L1.

    Only the last state is kept: earlier ones and the trajectory saw the rows. The recipe stays: its loss, and training again without them.
    """
    final = training.checkpoint(bound.state(), steps, mean_step)
    return Trained(trained.model, (final,), trained.recipe, "L1", None, gone(trained, selection))
