"""Logistic (or linear) regression: one linear layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from influence.registry import models


@models
@dataclass(frozen=True)
class Logistic:
    """Logistic regression on the raw inputs (linear regression for a numeric target)."""

    inputs: tuple[int, ...] = ()
    outputs: int = 0

    @staticmethod
    def sized(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """Return the settings that weights of these shapes tell: there are none."""
        return {}

    def __call__(self) -> nn.Module:
        """Build it, (B, *inputs) -> (B, outputs)."""
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(self.inputs), self.outputs))
