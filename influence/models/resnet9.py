"""ResNet-9, the small residual network of the fast CIFAR-10 trainings (Page, How to train your ResNet, 2018; He et al., arXiv:1512.03385).

Two things differ, so that a metagradient can be trusted. Images are halved by averaging, not by their largest value: training is smooth
then (Engstrom et al., arXiv:2503.13751, section 4). And by default each row is normalised on its own (GroupNorm, Wu and He,
arXiv:1803.08494): its output does not depend on its neighbours. `norm=batch` is the line's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from influence.errors import BadInput
from influence.registry import models, option

GROUPS = 8
SMALLEST = 8
"""Rows and columns that an image needs to be halved three times."""


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add what the inner layers say to what they are given."""
        return x + self.inner(x)


@models
@dataclass(frozen=True)
class ResNet9:
    """Eight 3x3 convolutions, four of them in two residual blocks; mean over places; one linear layer. For colour images."""

    inputs: tuple[int, ...] = ()
    outputs: int = 0
    width: int = option(64, "Channels of the first convolution, a multiple of 8; the last has eight times as many", min=8, max=512)
    norm: Literal["group", "batch"] = option("group", "Normalise each row on its own, or by the statistics of the batch", advanced=True)
    activation: Literal["gelu", "relu"] = option(
        "gelu", "GELU is smooth; predictions of what removals do are less true with ReLU", advanced=True
    )

    @staticmethod
    def sized(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """Return the settings that weights of these shapes tell."""
        widths = [shape[0] for shape in shapes.values() if len(shape) == 4]
        norm = "batch" if any(name.endswith("running_mean") for name in shapes) else "group"
        return {"width": (widths or [0])[0], "norm": norm}

    def __call__(self) -> nn.Module:
        """Build it, (B, channels, height, width) -> (B, outputs).

        Raises:
            BadInput: the inputs are no images of at least 8 x 8, or width is no multiple of 8.
        """
        if len(self.inputs) != 3 or min(self.inputs[1:]) < SMALLEST:
            raise BadInput(
                f"ResNet-9 needs images (channels, height, width) of at least {SMALLEST} x {SMALLEST}; these inputs have shape "
                f"{self.inputs}. Choose mlp or logistic."
            )
        if self.width % GROUPS or self.width < GROUPS:
            raise BadInput(f"width must be a multiple of {GROUPS}; got {self.width}.")
        w = self.width
        return nn.Sequential(
            self._convolution(self.inputs[0], w),
            self._halving(w, 2 * w),
            self._residual(2 * w),
            self._halving(2 * w, 4 * w),
            self._halving(4 * w, 8 * w),
            self._residual(8 * w),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8 * w, self.outputs),
        )

    def _convolution(self, before: int, after: int) -> nn.Sequential:
        norm = nn.GroupNorm(GROUPS, after) if self.norm == "group" else nn.BatchNorm2d(after)
        activation = nn.GELU() if self.activation == "gelu" else nn.ReLU()
        return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), norm, activation)

    def _halving(self, before: int, after: int) -> nn.Sequential:
        return nn.Sequential(self._convolution(before, after), nn.AvgPool2d(2))

    def _residual(self, width: int) -> Residual:
        return Residual(nn.Sequential(self._convolution(width, width), self._convolution(width, width)))
