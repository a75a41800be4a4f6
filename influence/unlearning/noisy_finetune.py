"""Noisy fine-tuning: weights clipped and drowned in so much noise that nobody can tell whether they had seen the rows; then training.

Koloskova, Allouah, Jha, Guerraoui and Koyejo, Certified Unlearning for Neural Networks, ICML 2025, arXiv:2506.06985, algorithm 1 with
gradient clipping: nothing is assumed of the loss. With c the initial weights, Pi_C the projection on the ball of radius C, g_t the mean
gradient of a batch of retained rows, gamma the recipe's step size, lambda its weight decay and xi_t noise of deviation sigma,

    x_0 = c + Pi_C(w - c),    x_t+1 = x_t - gamma (Pi_G(g_t) + lambda (x_t - c)) + xi_t+1,    t < T,

and then training by the recipe without noise, on retained rows, from x_T alone: it can take nothing out that is not in x_T.

What is claimed: for all models w and w', such as this one and one that never saw the rows, the results are (epsilon, delta)-
indistinguishable. The starts are at most 2 C apart, each step leaves 1 - gamma lambda of what lies between the two and adds at most
2 gamma G, as it clips two gradients that may be any: batches, their order and what modules draw are the same for both. So
sigma = `sensitivity`(2 C, 1 - gamma lambda, 2 gamma G, T) / `allowed`(epsilon, delta); for T = 1 and G = 0 that is the Gaussian mechanism.
The paper bounds the same process through Renyi divergences; here it is the exact trade-off between Gaussians, which needs less noise.

Nothing else may carry anything over from w. So the step size is the recipe's and not searched for, no state is gone back to, and the
running statistics of normalisation begin anew after the noise, since those seen before it are of weights without noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch

from influence.errors import BadInput
from influence.loop import Bound, Loop, threads
from influence.optim import Optimizer, Slots
from influence.registry import option, unlearning
from influence.types import Claim, Examples, Recipe, Report, Selection, State, Trained, ignore
from influence.unlearning._accountant import allowed, sensitivity
from influence.unlearning._descent import approximate, descend, resumed
from influence.unlearning._response import by_id
from influence.unlearning._rows import parted, sides
from influence.workspace import Workspace


@unlearning
@dataclass(frozen=True)
class NoisyFinetune:
    """Clips how far training has moved the weights, hides the rest in noise, and trains on the retained rows.

    The one method besides retraining whose claim does not rest on tests: L3, certified, for the ε and δ that are asked for, with the
    assumptions that the record names. The price is that hardly anything is left of the model before it is trained anew.
    """

    epsilon: float = option(
        1.0, "ε: how much likelier the rows may make any outcome, as a factor of e^ε; smaller is stricter", min=0.01, max=100.0
    )
    delta: float = option(1e-5, "δ: probability with which ε may not hold", min=1e-12, max=0.1)
    clip: float = option(0.01, "How far from the initial weights the model may be before noise; the noise grows with it", min=1e-6, max=1e6)
    noisy_steps: int = option(1, "Training steps with noise", min=1, max=100_000, advanced=True)
    clip_gradient: float = option(0.01, "Longest gradient of a noisy step; the noise grows with it", min=0.0, max=1e6, advanced=True)
    epochs: int = option(0, "Passes over the retained rows; 0: as many as the training had", min=0, max=1000)
    seed: int = option(
        0, "Noise; 0: drawn so that nobody can draw it again; else it can be, and the claim is L1", min=0, max=2**31 - 1, advanced=True
    )

    id: ClassVar[str]
    cost: ClassVar[str] = "One full training, or as many passes as are asked for."
    needs: ClassVar[str] = "The recipe by which the model was trained, and the retained rows."
    reservation: ClassVar[str] = (
        "So much noise leaves hardly anything of the model: it ends no better than a training of as many passes from the beginning, which "
        "retrain does exactly."
    )

    def unavailable(self, trained: Trained) -> str:
        """Return why the model has no weights to begin from, or nothing."""
        return (
            ""
            if trained.recipe
            else "This method begins near the weights that the recipe begins with; this model has none. Choose finetune."
        )

    @property
    def claims(self) -> Claim:
        """What holds of the weights: L1 if the noise can be drawn again."""
        return "L1" if self.seed else "L3"

    def assumptions(self) -> str:
        """Return what a claim of level L3 says and rests on."""
        return (
            f"ε = {self.epsilon:g}, δ = {self.delta:g}: whoever sees the new weights, once, can hardly tell this model from one made the "
            "same way from weights that never saw the rows. It assumes that initial weights, settings and order of batches owe nothing to "
            "the rows, that the noise is not known, and exact arithmetic."
        )

    def __call__(
        self,
        trained: Trained,
        train: Examples,
        selection: Selection,
        monitor: Callable[[Bound], dict[str, float]] | None = None,
        report: Report = ignore,
        workspace: Workspace | None = None,
    ) -> Trained:
        """Return the unlearned model, claim L3; L1 if the noise can be drawn again.

        Raises:
            BadInput: there is no recipe, the selection cannot be removed, or the weights do not stay finite.
        """
        retained, recipe = self._asked(trained, train, selection)
        with threads(recipe.threads):
            loop = self.laid_out(trained, retained, recipe)
            descend(loop, self.id, monitor, report)
        made = approximate(trained, selection, loop.bound, len(loop.batches), sum(loop.batches.lr) / len(loop.batches))
        return replace(made, claim=self.claims)

    def refuse(self, trained: Trained, train: Examples, selection: Selection) -> None:
        """Refuse settings that do not fit these rows, before anything is trained or copied.

        Raises:
            BadInput: no step can follow the noisy ones, there is no recipe, or the selection cannot be removed.
        """
        retained, _ = sides(trained, train, selection)
        recipe = self._recipe(trained)
        self._follows(recipe.epochs * math.ceil(retained.sum() / recipe.batch_size))

    def _asked(self, trained: Trained, train: Examples, selection: Selection) -> tuple[Examples, Recipe]:
        """Return the retained rows, and the recipe of the passes over them.

        Raises:
            BadInput: there is no recipe, or the selection cannot be removed.
        """
        retained, _ = parted(trained, by_id(train), selection)
        return retained, self._recipe(trained)

    def _recipe(self, trained: Trained) -> Recipe:
        if trained.recipe is None:
            raise BadInput(self.unavailable(trained))
        return replace(trained.recipe, epochs=self.epochs or trained.recipe.epochs, course=None)

    def _follows(self, steps: int) -> None:
        """Refuse if none of so many steps follows the noisy ones.

        Raises:
            BadInput: none does.
        """
        if self.noisy_steps >= steps:
            raise BadInput(
                f"There are {steps:,} steps, so that {self.noisy_steps:,} cannot be noisy: one has to follow. "
                "Lower noisy_steps, or raise epochs."
            )

    def laid_out(self, trained: Trained, retained: Examples, recipe: Recipe) -> Noised:
        """Return the loop whose first steps are noisy.

        Raises:
            BadInput: no step follows the noisy ones: what layers keep of the last one's rows would stay, without noise.
        """
        loop = resumed(Noised, trained, retained, recipe)
        self._follows(len(loop.batches))  # which can be fewer than epochs have batches: a row left over joins the one before it
        fresh = Bound(trained.model, recipe.seed, recipe.dtype)
        loop.noisy, loop.fresh = self.noisy_steps, fresh.state()
        loop.start = fresh.flat + ball(loop.bound.flat - fresh.flat, self.clip)
        loop.rule = Noisy(loop.rule, fresh.flat.clone(), self)
        return loop


@dataclass
class Noised(Loop):
    """A loop that puts its weights in place at the first step, after what is seen before it: `start` (P,) and buffers as if new.

    Buffers are put in place again after the noisy steps.
    """

    noisy: int = 0
    fresh: State = field(default_factory=dict)
    start: torch.Tensor | None = None

    def gradient(self, t: int) -> torch.Tensor:
        """Return the gradient of batch t's loss, (P,)."""
        if t in (0, self.noisy):
            flat = self.start if t == 0 else self.bound.flat.clone()
            assert flat is not None
            self.bound.load(self.fresh)
            self.bound.flat.copy_(flat)
        return super().gradient(t)


class Noisy(Optimizer):
    """An update rule before which noisy steps come, towards the `centre` (P,) from which weights are clipped."""

    def __init__(self, rule: Optimizer, centre: torch.Tensor, chosen: NoisyFinetune) -> None:
        super().__init__(rule.recipe)
        self.rule, self.centre, self.chosen = rule, centre, chosen
        self.sigma = deviation(rule.recipe, chosen)
        self.drawn = np.random.default_rng(chosen.seed or None)

    def step(self, theta: torch.Tensor, slots: Slots, g: torch.Tensor, lr: float, t: int) -> None:
        """Take step t in place."""
        if t >= self.chosen.noisy_steps:
            self.rule.step(theta, slots, g, lr, t - self.chosen.noisy_steps)
            return
        back = self.recipe.weight_decay * (theta - self.centre)
        noise = torch.from_numpy(self.drawn.standard_normal(len(theta)))
        theta += self.sigma * noise.to(theta) - self.recipe.lr * (ball(g, self.chosen.clip_gradient) + back)

    def _step(self, theta: torch.Tensor, slots: Slots, g: torch.Tensor, lr: float, t: int) -> None:
        raise NotImplementedError

    def _back(self, at: Slots, state: Slots, g: torch.Tensor, lr: float, t: int) -> torch.Tensor:
        raise NotImplementedError


def deviation(recipe: Recipe, chosen: NoisyFinetune) -> float:
    """Return sigma, the deviation of the noise of each number in each noisy step."""
    kept, moved = abs(1 - recipe.lr * recipe.weight_decay), 2 * recipe.lr * chosen.clip_gradient
    return sensitivity(2 * chosen.clip, kept, moved, chosen.noisy_steps) / allowed(chosen.epsilon, chosen.delta)


def ball(vector: torch.Tensor, radius: float) -> torch.Tensor:
    """Return the nearest vector of at most this length; zeros for one that is not finite, so that the bound holds whatever comes."""
    if not vector.isfinite().all():
        return torch.zeros_like(vector)
    return vector * min(1.0, radius / max(float(vector.norm()), 1e-30))
