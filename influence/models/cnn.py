"""Small convolutional network with GroupNorm (Wu and He, arXiv:1803.08494): no statistics shared between the rows of a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import nn

from influence.errors import BadInput
from influence.registry import models, option


@models
@dataclass(frozen=True)
class CNN:
    """Blocks of 3x3 convolution, GroupNorm and GELU, halving the image between them; a linear layer on the mean over places, or on all."""

    inputs: tuple[int, ...] = ()
    outputs: int = 0
    channels: tuple[int, ...] = option((16, 32), "Channels of each block, comma-separated; multiples of 4", min=4)
    head: Literal["mean", "flatten"] = option(
        "mean", "mean over places: few weights; flatten: weights for each place, which learns small images sooner", advanced=True
    )

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
        places = math.prod(-(-side // 2 ** (len(self.channels) - 1)) for side in self.inputs[1:]) if self.head == "flatten" else 1
        pool = [] if self.head == "flatten" else [nn.AdaptiveAvgPool2d(1)]
        return nn.Sequential(*layers, *pool, nn.Flatten(), nn.Linear(self.channels[-1] * places, self.outputs))
