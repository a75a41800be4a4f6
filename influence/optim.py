"""Optimisers on one flat parameter vector, each with the adjoint of its step.

The updates are those of `torch.optim.SGD` (momentum, no dampening) and `torch.optim.AdamW` (Loshchilov and Hutter, arXiv:1711.05101), with
`eps_root` optionally inside the root, which makes the step smooth where gradients vanish. Adjoints: reverse-mode differentiation of these
lines by hand (metagradient; Engstrom et al., arXiv:2503.13751; Ilyas and Engstrom, arXiv:2504.16430). A step maps (theta, slots) to
(theta', slots') given the batch gradient g; its adjoint maps lambda' to mu = dF/dg, and then, with H mu from the caller, to lambda.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch

from influence.types import Recipe

Slots = dict[str, torch.Tensor]


class Optimizer(Protocol):
    """One update rule. `slots` names its memory; `recorded` the slots that its adjoint needs at each step."""

    slots: tuple[str, ...]
    recorded: tuple[str, ...]

    def step(self, theta: torch.Tensor, slots: Slots, g: torch.Tensor, lr: float, t: int) -> None:
        """Take step t (from 0) in place, (P,)."""

    def to_gradient(self, at: Slots, slots: Slots, g: torch.Tensor, lr: float, t: int) -> torch.Tensor:
        """Return mu = dF/dg (Q, P) from the adjoints `at` after the step ("theta" and each slot), updating the slots' adjoints in place."""

    def to_theta(self, at: torch.Tensor, mu: torch.Tensor, h: torch.Tensor, lr: float) -> torch.Tensor:
        """Return the adjoint of theta before the step from that after it, mu, and h = the Hessian's product with mu."""


class SGD:
    """v <- m v + g + d theta; theta <- theta - lr v."""

    slots: tuple[str, ...] = ("velocity",)
    recorded: tuple[str, ...] = ()

    def __init__(self, recipe: Recipe) -> None:
        self.momentum, self.decay = recipe.momentum, recipe.weight_decay

    def step(self, theta: torch.Tensor, slots: Slots, g: torch.Tensor, lr: float, t: int) -> None:
        """Take one step in place."""
        velocity = slots["velocity"].mul_(self.momentum).add_(g).add_(theta, alpha=self.decay)
        theta.add_(velocity, alpha=-lr)

    def to_gradient(self, at: Slots, slots: Slots, g: torch.Tensor, lr: float, t: int) -> torch.Tensor:
        """Return mu = lambda_v - lr lambda_theta; then lambda_v <- m mu."""
        mu = at["velocity"].add(at["theta"], alpha=-lr)
        at["velocity"] = mu * self.momentum
        return mu

    def to_theta(self, at: torch.Tensor, mu: torch.Tensor, h: torch.Tensor, lr: float) -> torch.Tensor:
        """lambda_theta + d mu + H mu."""
        return at.add(mu, alpha=self.decay).add_(h)


class AdamW:
    """Adam with decoupled weight decay; the root is sqrt(v_hat + eps_root) + eps."""

    slots: tuple[str, ...] = ("mean", "square")
    recorded: tuple[str, ...] = ("mean", "square")

    def __init__(self, recipe: Recipe) -> None:
        self.b1, self.b2, self.decay = recipe.beta1, recipe.beta2, recipe.weight_decay
        self.eps, self.eps_root = recipe.eps, recipe.eps_root

    def step(self, theta: torch.Tensor, slots: Slots, g: torch.Tensor, lr: float, t: int) -> None:
        """Take one step in place."""
        mean = slots["mean"].mul_(self.b1).add_(g, alpha=1 - self.b1)
        square = slots["square"].mul_(self.b2).addcmul_(g, g, value=1 - self.b2)
        c1, c2 = 1 - self.b1 ** (t + 1), 1 - self.b2 ** (t + 1)
        theta.mul_(1 - lr * self.decay).addcdiv_(mean, self._root(square / c2), value=-lr / c1)

    def _root(self, square: torch.Tensor) -> torch.Tensor:
        return (square + self.eps_root).sqrt_().add_(self.eps)

    def to_gradient(self, at: Slots, slots: Slots, g: torch.Tensor, lr: float, t: int) -> torch.Tensor:
        """Return mu = (1 - b1) lambda_m + 2 (1 - b2) g lambda_v, with the step's own pull on m' and v' added first."""
        c1, c2 = 1 - self.b1 ** (t + 1), 1 - self.b2 ** (t + 1)
        mean = slots["mean"] * self.b1 + g * (1 - self.b1)
        square = (slots["square"] * self.b2 + g * g * (1 - self.b2)) / c2
        root = self._root(square)
        inner = root - self.eps
        slope = torch.where(inner > 0, 0.5 / inner, torch.zeros_like(inner))
        at_mean = at["mean"] - at["theta"] * (lr / c1) / root
        at_square = at["square"] + at["theta"] * (lr / (c1 * c2)) * mean * slope / root**2
        at["mean"], at["square"] = at_mean * self.b1, at_square * self.b2
        return at_mean * (1 - self.b1) + 2 * (1 - self.b2) * g * at_square

    def to_theta(self, at: torch.Tensor, mu: torch.Tensor, h: torch.Tensor, lr: float) -> torch.Tensor:
        """(1 - lr d) lambda_theta + H mu."""
        return at * (1 - lr * self.decay) + h


OPTIMIZERS: dict[str, type[SGD] | type[AdamW]] = {"sgd": SGD, "adamw": AdamW}


def optimizer(recipe: Recipe) -> Optimizer:
    """Return the recipe's update rule."""
    return OPTIMIZERS[recipe.optimizer](recipe)


def step_sizes(recipe: Recipe, steps: int) -> list[float]:
    """Return the step size of each of T steps: a rise over the warm-up share, times the schedule's fall."""
    rise = int(recipe.warmup * steps)
    fall = {
        "constant": lambda share: 1.0,
        "linear": lambda share: 1.0 - share,
        "cosine": lambda share: 0.5 * (1.0 + math.cos(math.pi * share)),
    }[recipe.schedule]
    return [recipe.lr * min(1.0, (t + 1) / rise if rise else 1.0) * fall(t / steps) for t in range(steps)]
