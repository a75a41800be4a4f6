"""ResNet-18, eight residual blocks of two 3x3 convolutions (He, Zhang, Ren and Sun, Deep Residual Learning, arXiv:1512.03385, table 1).

As in `resnet9.py`, three things differ by default so that a metagradient can be trusted: GroupNorm (Wu and He, arXiv:1803.08494), a smooth
activation, and a mean where images are pooled (Engstrom et al., arXiv:2503.13751, section 4). `norm=batch,activation=relu,pooling=max` is
the paper's own, as torchvision has it.
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
SMALLEST = {"small": 8, "large": 32}
"""Rows and columns that an image needs, by stem."""
LARGE = 64
"""From so many rows and columns on, images are shrunk by four before the first block."""
STAGES = (1, 2, 4, 8)
"""Width of each pair of blocks, in units of the first; from the second pair on, each halves the image."""


class Block(nn.Module):
    """activation(f(x) + g(x)); g is x itself, or where the shape changes a 1x1 convolution of it."""

    def __init__(self, inner: nn.Module, beside: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.inner, self.beside, self.activation = inner, beside, activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run both branches and join them."""
        return self.activation(self.inner(x) + self.beside(x))


@models
@dataclass(frozen=True)
class ResNet18:
    """Eight residual blocks of two convolutions, mean over places, one linear layer. For colour images; slow without a GPU."""

    inputs: tuple[int, ...] = ()
    outputs: int = 0
    width: int = option(64, "Channels of the first convolution, a multiple of 8; the last has eight times as many", min=8, max=512)
    norm: Literal["group", "batch"] = option("group", "Normalise each row on its own, or by the statistics of the batch", advanced=True)
    activation: Literal["gelu", "relu"] = option(
        "gelu", "GELU is smooth; predictions of what removals do are less true with ReLU", advanced=True
    )
    stem: Literal["auto", "small", "large"] = option(
        "auto", "First layer: 3x3 (small), or 7x7 and pooling (large); auto: large for images of 64 x 64 and more", advanced=True
    )
    pooling: Literal["mean", "max"] = option("mean", "Large stem: pool by the mean, which is smooth, or the largest value", advanced=True)

    @staticmethod
    def sized(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """Return the settings that weights of these shapes tell."""
        first = next((shape for shape in shapes.values() if len(shape) == 4), (0, 0, 3, 3))
        norm = "batch" if any(name.endswith("running_mean") for name in shapes) else "group"
        return {"width": first[0], "norm": norm, "stem": "large" if first[2] == 7 else "small"}

    def __call__(self) -> nn.Module:
        """Build it, (B, channels, height, width) -> (B, outputs).

        Raises:
            BadInput: the inputs are no images of the size that the stem needs, or width is no multiple of 8.
        """
        stem = self.stem
        if stem == "auto":
            stem = "large" if len(self.inputs) == 3 and min(self.inputs[1:]) >= LARGE else "small"
        if len(self.inputs) != 3 or min(self.inputs[1:]) < SMALLEST[stem]:
            raise BadInput(
                f"ResNet-18 needs images (channels, height, width) of at least {SMALLEST[stem]} x {SMALLEST[stem]}; these inputs have "
                f"shape {self.inputs}. Choose mlp or logistic."
            )
        if self.width % GROUPS or self.width < GROUPS:
            raise BadInput(f"width must be a multiple of {GROUPS}; got {self.width}.")
        widths = [self.width * k for k in STAGES]
        before = [self.width, *widths[:-1]]
        blocks = [
            block
            for k, (narrow, wide) in enumerate(zip(before, widths, strict=True))
            for block in (self._block(narrow, wide, stride=2 if k else 1), self._block(wide, wide))
        ]
        return nn.Sequential(self._stem(stem), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], self.outputs))

    def _stem(self, kind: str) -> nn.Sequential:
        if kind == "small":
            return nn.Sequential(*self._convolution(self.inputs[0], self.width, 3), self._active())
        pool = nn.MaxPool2d if self.pooling == "max" else nn.AvgPool2d
        return nn.Sequential(*self._convolution(self.inputs[0], self.width, 7, 2), self._active(), pool(3, stride=2, padding=1))

    def _block(self, before: int, after: int, stride: int = 1) -> Block:
        inner = nn.Sequential(*self._convolution(before, after, 3, stride), self._active(), *self._convolution(after, after, 3))
        same = stride == 1 and before == after
        return Block(inner, nn.Identity() if same else nn.Sequential(*self._convolution(before, after, 1, stride)), self._active())

    def _convolution(self, before: int, after: int, size: int, stride: int = 1) -> list[nn.Module]:
        norm = nn.GroupNorm(GROUPS, after) if self.norm == "group" else nn.BatchNorm2d(after)
        return [nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False), norm]

    def _active(self) -> nn.Module:
        return nn.GELU() if self.activation == "gelu" else nn.ReLU()
