"""Small convolutional network with GroupNorm (Wu and He, arXiv:1803.08494): no statistics shared between the rows of a batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from influence.errors import BadInput
from influence.registry import models, option

GRID = 4
"""Rows and columns of the means that a linear layer sees; of smaller maps it sees every place."""


@models
@dataclass(frozen=True)
class CNN:
    """Blocks of 3x3 convolution, GroupNorm and GELU, halving the image between them; a linear layer on means over a grid."""

    inputs: tuple[int, ...] = ()
    outputs: int = 0
    channels: tuple[int, ...] = option((16, 32), "Channels of each block, comma-separated; multiples of 4", min=4)
    head: Literal["grid", "flatten", "mean"] = option(
        "grid",
        "What the linear layer sees: means over 4 x 4 parts of the image, which learns soon at any size; every place; or one mean over all",
        advanced=True,
    )

    @staticmethod
    def sized(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """Return the settings that weights of these shapes tell."""
        channels = [shape[0] for shape in shapes.values() if len(shape) == 4]
        last = [shape[1] for shape in shapes.values() if len(shape) == 2][-1:]
        heads = {places * width: head for head, places in (("mean", 1), ("grid", GRID**2)) for width in channels[-1:]}
        return {"channels": channels, "head": next((heads.get(width, "flatten") for width in last), "flatten")}

    def __call__(self) -> nn.Module:
        """Build it, (B, channels, height, width) -> (B, outputs).

        Raises:
            BadInput: the inputs are no images, or channels is no multiple of 4.
        """
        if len(self.inputs) != 3:
            raise BadInput(f"The CNN needs images (channels, height, width); these have shape {self.inputs}. Choose mlp or logistic.")
        if any(width % 4 or width < 4 for width in self.channels):
            raise BadInput(f"channels must be multiples of 4; got {self.channels}.")
        layers: list[nn.Module] = []
        for place, (before, after) in enumerate(zip((self.inputs[0], *self.channels), self.channels, strict=False)):
            layers += [nn.Conv2d(before, after, 3, stride=2 if place else 1, padding=1), nn.GroupNorm(4, after), nn.GELU()]
        sides = [-(-side // 2 ** (len(self.channels) - 1)) for side in self.inputs[1:]]
        seen = [min(side, {"grid": GRID, "mean": 1}.get(self.head, side)) for side in sides]
        pool = [] if seen == sides else [nn.AdaptiveAvgPool2d(tuple(seen))]
        return nn.Sequential(*layers, *pool, nn.Flatten(), nn.Linear(self.channels[-1] * math.prod(seen), self.outputs))
