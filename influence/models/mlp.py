"""Multi-layer perceptron with GELU (Hendrycks and Gimpel, arXiv:1606.08415): smooth, so that its metagradient can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from torch import nn

from influence.registry import models, option

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


@models
@dataclass(frozen=True)
class MLP:
    """Fully connected layers with GELU, or another activation, between them."""

    inputs: tuple[int, ...] = ()
    outputs: int = 0
    hidden: tuple[int, ...] = option((64,), "Widths of the hidden layers, comma-separated", min=1)
    activation: Literal["gelu", "relu", "tanh", "sigmoid", "identity"] = option(
        "gelu", "GELU, tanh and sigmoid are smooth; predictions of what removals do are less true with ReLU", advanced=True
    )
    dropout: float = option(0.0, "Share of the hidden units left out at each training step", min=0.0, max=0.9, advanced=True)

    @staticmethod
    def sized(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """Return the settings that weights of these shapes tell."""
        return {"hidden": [shape[0] for shape in shapes.values() if len(shape) == 2][:-1]}

    def __call__(self) -> nn.Module:
        """Build it, (B, *inputs) -> (B, outputs)."""
        widths = [math.prod(self.inputs), *self.hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), ACTIVATIONS[self.activation]()]
            layers += [nn.Dropout(self.dropout)] if self.dropout else []
        return nn.Sequential(*layers, nn.Linear(widths[-1], self.outputs))
