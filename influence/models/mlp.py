"""Multi-layer perceptron with GELU (Hendrycks and Gimpel, arXiv:1606.08415): smooth, so that its metagradient can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import nn

from influence.registry import models, option


@models
@dataclass(frozen=True)
class MLP:
    """Fully connected layers with GELU between them."""

    inputs: tuple[int, ...] = ()
    outputs: int = 0
    hidden: tuple[int, ...] = option((64,), "Widths of the hidden layers, comma-separated", min=1)
    activation: Literal["gelu", "relu"] = option(
        "gelu", "GELU is smooth; predictions of what removals do are less true with ReLU", advanced=True
    )
    dropout: float = option(0.0, "Share of the hidden units left out at each training step", min=0.0, max=0.9, advanced=True)

    def __call__(self) -> nn.Module:
        """Build it, (B, *inputs) -> (B, outputs)."""
        widths = [math.prod(self.inputs), *self.hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU() if self.activation == "gelu" else nn.ReLU()]
            layers += [nn.Dropout(self.dropout)] if self.dropout else []
        return nn.Sequential(*layers, nn.Linear(widths[-1], self.outputs))
