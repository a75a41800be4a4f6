"""Texts as bags of words: the mean of learnt vectors and a small perceptron (Iyyer et al., Deep Averaging Networks, ACL 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import nn

from influence.errors import BadInput
from influence.models._embedding import embedding, mean_of, refuse_measurements, usual
from influence.registry import models, option


class Averaged(nn.Module):
    """Token ids to outputs: the mean of the vectors of the tokens that are there, then fully connected layers."""

    def __init__(self, kind: Bag) -> None:
        super().__init__()
        self.tokens = embedding(kind.vocabulary, kind.width)
        widths, layers = [kind.width, *kind.hidden], []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU(), *([nn.Dropout(kind.dropout)] if kind.dropout else [])]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], kind.outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify texts, (B, T) of ids with 0 for no token -> (B, outputs).

        Raises:
            BadInput: the inputs are no whole numbers.
        """
        refuse_measurements(x, "bag of words")
        return self.layers(mean_of(self.tokens(x), x != 0))


@models
@dataclass(frozen=True)
class Bag:
    """A bag of words: the mean of a learnt vector for each token, and a small perceptron. Quick, and good on a few thousand texts."""

    text: ClassVar[bool] = True
    inputs: tuple[int, ...] = ()
    outputs: int = 0
    vocabulary: int = option(4096, "How many token ids there are, 0 (no token) among them", min=2, max=1_000_001)
    width: int = option(32, "Numbers that stand for a token", min=1, max=2048)
    hidden: tuple[int, ...] = option((32,), "Widths of the hidden layers, comma-separated", min=1)
    dropout: float = option(0.0, "Share of the hidden units left out at each training step", min=0.0, max=0.9, advanced=True)

    @staticmethod
    def usual(rows: int) -> dict[str, Any]:
        """Return the recipe for so many rows where nothing else is chosen."""
        return usual(rows, lr=5e-3, eps_root=1e-7)

    @staticmethod
    def sized(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """Return the settings that weights of these shapes tell."""
        flat = [shape for shape in shapes.values() if len(shape) == 2]
        vocabulary, width = flat[0] if flat else (0, 0)
        return {"vocabulary": vocabulary, "width": width, "hidden": [shape[0] for shape in flat[1:-1]]}

    def __call__(self) -> nn.Module:
        """Build it, (B, length) -> (B, outputs).

        Raises:
            BadInput: the inputs are no lists of token ids.
        """
        if len(self.inputs) != 1:
            raise BadInput(f"The bag of words needs texts as lists of token ids, (length,); these inputs have shape {self.inputs}.")
        return Averaged(self)
