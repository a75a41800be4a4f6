"""Small models, data and questions for tests of the core: float64, seconds at most, nothing that the package registers for users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from influence.registry import models
from influence.types import Architecture, Examples, Question, Recipe


def examples(n: int, shape: tuple[int, ...] = (4,), classes: int = 3, seed: int = 0, ids: Any = None) -> Examples:
    """Rows whose target depends on x, with noise; `classes=0` gives a numeric target."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, *shape))
    direction = np.random.default_rng(99).normal(size=(int(np.prod(shape)), max(classes, 1)))
    z = x.reshape(n, -1) @ direction / np.sqrt(len(direction)) + rng.normal(size=(n, max(classes, 1))) * 0.7
    y = z.argmax(1) if classes else z[:, 0]
    roll = np.arange(100, 100 + n) if ids is None else np.asarray(ids)
    names = tuple(f"class {c}" for c in range(classes))
    return Examples(x, y, roll, pd.DataFrame({"group": rng.choice(["a", "b"], n)}), names)


def bind(kind: str, rows: Examples, **given: Any) -> Architecture:
    """A registered model that fits the rows."""
    return replace(models.make(kind, given), inputs=rows.shape, outputs=rows.outputs)


def target(rows: Examples) -> torch.Tensor:
    """y as a tensor of its own."""
    return torch.from_numpy(np.array(rows.y))


@dataclass(frozen=True)
class Mean:
    """Mean cross-entropy (mean squared error for numeric targets)."""

    better: str = "lower"
    labels: tuple[str, ...] = ("mean loss",)

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Mean:
        return self

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        y = target(examples)
        loss = F.cross_entropy(logits, y) if examples.classes else F.mse_loss(logits[:, 0], y.to(logits.dtype))
        return loss[None]

    measured = value


@dataclass(frozen=True)
class Tangle:
    """Two values that are no sums over rows: a gap between the groups' softened outputs, and a spread."""

    better: str = "neither"
    labels: tuple[str, ...] = ("gap", "spread")

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Tangle:
        return self

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        soft = torch.tanh(logits[:, 0])
        a = torch.from_numpy(np.array(examples.columns["group"] == "a"))
        return torch.stack([soft[a].mean() - soft[~a].mean(), logits.std()])

    measured = value


def question(rows: Examples, *queries: Any) -> Question:
    """A question of the rows; by default three values."""
    return Question(queries or (Mean(), Tangle()), rows)


def recipe(**given: Any) -> Recipe:
    """A short training in float64."""
    return Recipe(**{"dtype": "float64", "batch_size": 5, "epochs": 3, "checkpoints": 2, "lr": 0.1, **given})


class Tied(nn.Module):
    """One weight owned by two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight
        self.out = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.b(torch.tanh(self.a(x)))))


class Scaled(nn.Module):
    """A parameter that belongs to no layer of PyTorch's."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(4) + 0.5)
        self.out = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x * self.scale.exp())


class Twice(nn.Module):
    """One layer, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.inner(torch.tanh(self.inner(x)))))


def embedded() -> nn.Module:
    return nn.Sequential(nn.Embedding(7, 5), nn.LayerNorm(5), nn.Flatten(), nn.Linear(20, 3))


class _Softplus(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.softplus(x)


def reparametrised() -> nn.Module:
    layer = nn.Linear(4, 5)
    parametrize.register_parametrization(layer, "weight", _Softplus())
    return nn.Sequential(layer, nn.Tanh(), nn.Linear(5, 3))


MODULES: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module]]] = {
    "layer norm": ((4,), lambda: nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 3))),
    "in place": ((4,), lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 3))),
    "no bias": ((4,), lambda: nn.Sequential(nn.Linear(4, 6, bias=False), nn.Tanh(), nn.Linear(6, 3, bias=False))),
    "bare layer": ((4,), lambda: nn.Linear(4, 3)),
    "grouped conv": (
        (4, 5, 5),
        lambda: nn.Sequential(nn.Conv2d(4, 8, 3, groups=2, padding="same"), nn.GroupNorm(2, 8), nn.GELU(), nn.Flatten(), nn.Linear(200, 3)),
    ),
    "conv1d": (
        (2, 6),
        lambda: nn.Sequential(nn.Conv1d(2, 4, 3, stride=2), nn.BatchNorm1d(4), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)),
    ),
    "used twice": ((4,), Twice),
    "embedding": ((4,), embedded),
}
"""Modules to which the ghost sweep applies, and the shape of one input."""

OTHERS: dict[str, Callable[[], nn.Module]] = {"tied": Tied, "own parameter": Scaled, "reparametrised": reparametrised}
"""Modules with inputs (4,) to which it does not."""


@dataclass(frozen=True)
class Built:
    """An architecture from the lists above."""

    what: str
    inputs: tuple[int, ...] = ()
    outputs: int = 3

    def __call__(self) -> nn.Module:
        return OTHERS[self.what]() if self.what in OTHERS else MODULES[self.what][1]()


@dataclass(frozen=True)
class Normalised:
    """A model that takes batch statistics of one number per row and channel."""

    inputs: tuple[int, ...] = (4,)
    outputs: int = 3

    def __call__(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


@dataclass(frozen=True)
class Frozen:
    """An architecture of which parameters whose names begin so are frozen; by default all."""

    of: Architecture
    names: str = ""

    @property
    def inputs(self) -> tuple[int, ...]:
        return self.of.inputs

    @property
    def outputs(self) -> int:
        return self.of.outputs

    def __call__(self) -> nn.Module:
        module = self.of()
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(not name.startswith(self.names))
        return module
