"""Logistic (or linear) regression: one linear layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from influence.registry import models


@models
@dataclass(frozen=True)
class Logistic:
    """Logistic regression on the raw inputs (linear regression for a numeric target)."""

    inputs: tuple[int, ...] = ()
    outputs: int = 0

    def __call__(self) -> nn.Module:
        """Build it, (B, *inputs) -> (B, outputs)."""
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(self.inputs), self.outputs))
