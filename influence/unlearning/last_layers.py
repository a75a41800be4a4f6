"""Only the last layers are trained again: CF-k and EU-k.

Goel, Prabhu, Sanyal, Lim, Torr and Kumaraguru, Towards Adversarial Evaluations for Inexact Machine Unlearning, arXiv:2201.06640, the two
baseline methods: catastrophic forgetting (CF-k) goes on from the last k layers as they are, exact unlearning (EU-k) from new ones; the
layers before stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from influence.loop import Bound, Loop, begun
from influence.registry import option, unlearning
from influence.training import load
from influence.unlearning._descent import Descent, Request
from influence.unlearning._guard import Guarded, Look, guarded
from influence.unlearning._masked import Masked, masked


@unlearning
@dataclass(frozen=True)
class LastLayers(Guarded, Descent):
    """Trains the last layers on the retained rows; the layers before them stay as they are.

    What the earlier layers have learnt of the removed rows stays in them. Weights at which the retained rows suffer are not kept.
    Approximate.
    """

    layers: int = option(1, "How many layers are trained, from the end; layers that hold no weights do not count", min=0, max=10_000)
    begin: Literal["kept", "drawn anew"] = option("kept", "Where they begin: as they are (CF-k), or drawn anew (EU-k)")

    reservation: ClassVar[str] = (
        "Of rows that mattered it leaves 80 to 85 % of the way to retraining undone on digits; random rows end better known."
    )
    cost: ClassVar[str] = "About a quarter of a training: a fifth for the passes and the rest for the step size."
    needs: ClassVar[str] = "The retained rows; without a recipe the usual loss and step size are taken."

    def laid_out(self, asked: Request) -> tuple[Loop, Look]:
        """Return training of the last layers on the retained rows."""
        moving = last(load(asked.trained), self.layers)
        loop = masked(Tail, asked, asked.retained, moving)
        if self.begin == "drawn anew":
            loop.begin = torch.where(moving, begun(asked.trained.model, asked.recipe).flat, loop.bound.flat)
        loop.still = before(loop.bound, self.layers)
        return loop, guarded(loop, self.guarding(loop.bound, asked.recipe, asked.retained))


@dataclass
class Tail(Masked):
    """A loop in which modules that come before the last layers keep their buffers (running statistics), and use them."""

    still: tuple[torch.nn.Module, ...] = ()

    def gradient(self, t: int) -> torch.Tensor:
        """Return the gradient of batch t's loss, (P,)."""
        for module in self.still:
            module.training = False
        return super().gradient(t)


def owners(bound: Bound, layers: int) -> set[str]:
    """Return the names of the last layers, by the order of parameters."""
    every = list(dict.fromkeys(name.rpartition(".")[0] for name in bound.names))
    return set(every[max(0, len(every) - layers) :])


def last(bound: Bound, layers: int) -> torch.Tensor:
    """Return which weights the last layers own, (P,) bool."""
    names = owners(bound, layers)
    return torch.cat([torch.full_like(p, name.rpartition(".")[0] in names, dtype=torch.bool).flatten() for name, p in _named(bound)])


def _named(bound: Bound) -> list[tuple[str, torch.nn.Parameter]]:
    return list(zip(bound.names, bound.params, strict=True))


def before(bound: Bound, layers: int) -> tuple[torch.nn.Module, ...]:
    """Return the modules with buffers that come before the last layers."""
    modules, names = list(bound.module.named_modules()), owners(bound, layers)
    end = next((k for k, (name, _) in enumerate(modules) if name in names), len(modules))
    return tuple(module for _, module in modules[:end] if any(True for _ in module.buffers(recurse=False)))
