"""Optimisers on one flat parameter vector, each with the adjoint of its step; gradient clipping; step sizes.

The updates are those of `torch.optim.SGD` (momentum, Nesterov, no dampening), `torch.optim.Adam` (Kingma and Ba, arXiv:1412.6980; weight
decay in the gradient) and `torch.optim.AdamW` (Loshchilov and Hutter, arXiv:1711.05101), with `eps_root` optionally inside the root, which
makes the step smooth where gradients vanish. Adjoints: reverse-mode differentiation of these lines by hand (metagradient; Engstrom et al.,
arXiv:2503.13751; Ilyas and Engstrom, arXiv:2504.16430). A step maps (theta, slots) to (theta', slots') given the batch gradient g; its
adjoint maps lambda' to mu = dF/dg and to lambda without the part that comes back through g, which is H mu and the caller's to add.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch

from influence.errors import BadInput
from influence.types import Recipe

Slots = dict[str, torch.Tensor]

TINY = 1e-6
"""Added to the gradient's norm before dividing by it, as `torch.nn.utils.clip_grad_norm_` does."""


def clip(g: torch.Tensor, most: float) -> torch.Tensor:
    """Return gradients (..., P), each scaled down to the global norm `most` if it is longer (0: left alone)."""
    if not most:
        return g
    return g * (most / (torch.linalg.vector_norm(g, dim=-1, keepdim=True) + TINY)).clamp(max=1.0)


def clip_adjoint(mu: torch.Tensor, g: torch.Tensor, most: float) -> torch.Tensor:
    """Return dF/dg (Q, P) from dF/d clip(g): the Jacobian of s(|g|) g is s I + s' g g^T / |g|, and symmetric."""
    norm = torch.linalg.vector_norm(g)
    if not most or most >= norm + TINY:
        return mu
    scale = most / (norm + TINY)
    return scale * (mu - torch.outer(mu @ g, g / (norm * (norm + TINY))))


class Optimizer(ABC):
    """One update rule. `slots` names its memory; `recorded` the slots that its adjoint needs at each step."""

    slots: ClassVar[tuple[str, ...]]
    recorded: ClassVar[tuple[str, ...]] = ()

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.decay = recipe, recipe.weight_decay

    def step(self, theta: torch.Tensor, slots: Slots, g: torch.Tensor, lr: float, t: int) -> None:
        """Take step t (from 0) in place; theta, slots and g are (P,), or (R, P) for R trainings side by side."""
        self._step(theta, slots, clip(g, self.recipe.max_norm), lr, t)

    def back(self, at: Slots, state: Slots, g: torch.Tensor, lr: float, t: int) -> torch.Tensor:
        """Return mu = dF/dg (Q, P), and carry the adjoints `at` ("theta" and each slot, (Q, P)) over the step in place, but for H mu.

        `state`: "theta" and the recorded slots before the step. `g`: the batch gradient there.
        """
        return clip_adjoint(self._back(at, state, clip(g, self.recipe.max_norm), lr, t), g, self.recipe.max_norm)

    @abstractmethod
    def _step(self, theta: torch.Tensor, slots: Slots, g: torch.Tensor, lr: float, t: int) -> None: ...

    @abstractmethod
    def _back(self, at: Slots, state: Slots, g: torch.Tensor, lr: float, t: int) -> torch.Tensor: ...


class SGD(Optimizer):
    """v <- m v + g + d theta; theta <- theta - lr v, or with Nesterov's momentum theta - lr (g + d theta + m v)."""

    slots = ("velocity",)

    def _step(self, theta: torch.Tensor, slots: Slots, g: torch.Tensor, lr: float, t: int) -> None:
        ahead = g.add(theta, alpha=self.decay) if self.recipe.nesterov else None
        velocity = slots["velocity"].mul_(self.recipe.momentum).add_(g).add_(theta, alpha=self.decay)
        theta.add_(velocity if ahead is None else ahead.add_(velocity, alpha=self.recipe.momentum), alpha=-lr)

    def _back(self, at: Slots, state: Slots, g: torch.Tensor, lr: float, t: int) -> torch.Tensor:
        """lambda_v' gets -lr lambda_theta (Nesterov: times m), mu the rest; then lambda_v = m lambda_v', lambda_theta += d mu."""
        momentum = self.recipe.momentum
        mu = at["velocity"].add(at["theta"], alpha=-lr * (1 + momentum) if self.recipe.nesterov else -lr)
        if self.recipe.nesterov:
            at["velocity"].add_(at["theta"], alpha=-lr * momentum).mul_(momentum)
        else:
            torch.mul(mu, momentum, out=at["velocity"])
        at["theta"].add_(mu, alpha=self.decay)  # in place: passes over (Q, P) numbers are a large part of a step
        return mu


class Adam(Optimizer):
    """Adam with weight decay in the gradient, g + d theta; the root is sqrt(v_hat + eps_root) + eps."""

    slots = ("mean", "square")
    recorded = ("mean", "square")
    decoupled: ClassVar[bool] = False
    shrink: float | torch.Tensor = 0.0

    def _step(self, theta: torch.Tensor, slots: Slots, g: torch.Tensor, lr: float, t: int) -> None:
        b1, b2 = self.recipe.beta1, self.recipe.beta2
        g = self._decayed(g, theta)
        mean = slots["mean"].mul_(b1).add_(g, alpha=1 - b1)
        square = slots["square"].mul_(b2).addcmul_(g, g, value=1 - b2)
        c1, c2 = 1 - b1 ** (t + 1), 1 - b2 ** (t + 1)
        if self.decoupled:
            theta.mul_(1 - lr * self.shrink)
        theta.addcdiv_(mean, self._root(square / c2), value=-lr / c1)

    def _decayed(self, g: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        return g.add(theta, alpha=self.decay) if not self.decoupled and self.decay else g

    def _root(self, square: torch.Tensor) -> torch.Tensor:
        return (square + self.recipe.eps_root).sqrt_().add_(self.recipe.eps)

    def _back(self, at: Slots, state: Slots, g: torch.Tensor, lr: float, t: int) -> torch.Tensor:
        """Return mu = (1 - b1) lambda_m + 2 (1 - b2) g lambda_v, with the step's own pull on m' and v' added first."""
        b1, b2 = self.recipe.beta1, self.recipe.beta2
        c1, c2 = 1 - b1 ** (t + 1), 1 - b2 ** (t + 1)
        g = self._decayed(g, state["theta"])
        mean = state["mean"] * b1 + g * (1 - b1)
        root = self._root((state["square"] * b2 + g * g * (1 - b2)) / c2)
        inner = root - self.recipe.eps
        slope = torch.where(inner > 0, 0.5 / inner, torch.zeros_like(inner))
        at["mean"].addcdiv_(at["theta"], root, value=-lr / c1)
        at["square"].addcmul_(at["theta"], mean * slope / root**2, value=lr / (c1 * c2))
        mu = (at["mean"] * (1 - b1)).addcmul_(at["square"], g, value=2 * (1 - b2))
        at["mean"].mul_(b1)
        at["square"].mul_(b2)
        if self.decoupled:
            at["theta"].mul_(1 - lr * self.shrink)
        else:
            at["theta"].add_(mu, alpha=self.decay)
        return mu


class AdamW(Adam):
    """Adam with decoupled weight decay: theta <- (1 - lr d) theta before the step; `decayed` (P,): which numbers decay (None: all)."""

    decoupled = True

    def __init__(self, recipe: Recipe, decayed: torch.Tensor | None = None) -> None:
        super().__init__(recipe)
        self.shrink = self.decay if decayed is None else self.decay * decayed


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def optimizer(recipe: Recipe, params: Sequence[torch.Tensor] = ()) -> Optimizer:
    """Return the recipe's update rule for these parameters, laid end to end.

    Raises:
        BadInput: only some parameters are to decay, and the rule is none of those that can.
    """
    if recipe.decayed == "all":
        return OPTIMIZERS[recipe.optimizer](recipe)
    if recipe.optimizer != "adamw":
        raise BadInput(f"decayed={recipe.decayed} is for adamw; {recipe.optimizer} decays all parameters. Choose adamw, or decayed=all.")
    return AdamW(recipe, torch.cat([torch.full((p.numel(),), float(p.dim() > 1), dtype=p.dtype, device=p.device) for p in params]))


DIV, FINAL_DIV = 25.0, 1e4
"""One cycle: how much smaller the first step is than the largest, and the last than the first (PyTorch's defaults)."""


def step_sizes(recipe: Recipe, steps: int) -> list[float]:
    """Return the step size of each of T steps: a rise over the warm-up share, times the schedule.

    The schedules are those of `torch.optim.lr_scheduler`: per step LinearLR and PolynomialLR (to zero), CosineAnnealingLR and OneCycleLR
    (momentum not cycled); per epoch StepLR and ExponentialLR.
    """
    rise = int(recipe.warmup * steps)
    return [recipe.lr * min(1.0, (t + 1) / rise if rise else 1.0) * _factor(recipe, t, steps) for t in range(steps)]


def _factor(recipe: Recipe, t: int, steps: int) -> float:
    share, epoch = t / steps, t * recipe.epochs // steps
    return {
        "constant": lambda: 1.0,
        "linear": lambda: 1.0 - share,
        "cosine": lambda: 0.5 * (1.0 + math.cos(math.pi * share)),
        "polynomial": lambda: (1.0 - share) ** recipe.power,
        "step": lambda: recipe.gamma ** (epoch // recipe.step_size),
        "exponential": lambda: recipe.gamma**epoch,
        "one_cycle": lambda: _one_cycle(t, recipe.pct_start * steps - 1, steps - 1),
    }[recipe.schedule]()


def _one_cycle(t: int, top: float, end: float) -> float:
    """Rise by a cosine to 1 at step `top`, then fall by a cosine to step `end` (Smith and Topin, arXiv:1708.07120)."""
    low, high, start, stop = (1 / DIV, 1.0, 0.0, top) if t <= top else (1.0, 1 / (DIV * FINAL_DIV), top, end)
    done = (t - start) / (stop - start) if stop > start else 1.0
    return high + (low - high) * 0.5 * (1.0 + math.cos(math.pi * done))
