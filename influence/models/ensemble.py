"""Several models of one architecture that answer together: what training in shards (SISA) gives.

Bourtoule, Chandrasekaran, Choquette-Choo, Jia, Travers, Zhang, Lie and Papernot, Machine Unlearning, IEEE S&P 2021, arXiv:1912.03817.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import nn

from influence.errors import BadInput
from influence.registry import described, models, option
from influence.types import Architecture


@models
@dataclass(frozen=True)
class Ensemble:
    """The mean of several models of one architecture; training in shards makes it (`train --set shards=5`).

    Of classes it is the mean of the members' probabilities, given as logits: the logarithm of that mean. Of a number it is the mean.
    """

    inputs: tuple[int, ...] = ()
    outputs: int = 0
    member: str = option("", "Architecture and settings of each member, as JSON", advanced=True)
    members: int = option(5, "How many members there are", min=1, max=1000, advanced=True)

    @classmethod
    def of(cls, one: Architecture, members: int) -> Ensemble:
        """Return the ensemble of so many models of an architecture."""
        return cls(one.inputs, one.outputs, json.dumps(described(one), sort_keys=True), members)

    @property
    def one(self) -> Architecture:
        """The architecture of each member.

        Raises:
            BadInput: there is none.
        """
        if not self.member:
            raise BadInput("An ensemble comes of training in shards. Choose another model, and in its training more than one shard.")
        return cast(Architecture, replace(models.make(**json.loads(self.member)), inputs=self.inputs, outputs=self.outputs))

    def __call__(self) -> nn.Module:
        """Build it, (B, *inputs) -> (B, outputs).

        Raises:
            BadInput: the members' architecture is not said.
        """
        one = self.one
        return Mean(nn.ModuleList([one() for _ in range(self.members)]), self.outputs > 1)


class Mean(nn.Module):
    """The mean of what the members say: of their probabilities, as logits, or of their outputs."""

    def __init__(self, members: nn.ModuleList, classes: bool) -> None:
        super().__init__()
        self.members, self.classes = members, classes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answer rows (B, *inputs): (B, C)."""
        said = torch.stack([member(x) for member in self.members])
        return said.log_softmax(-1).logsumexp(0) - math.log(len(self.members)) if self.classes else said.mean(0)
