"""Transformer encoder for short texts (Vaswani et al., arXiv:1706.03762; normalised before each part, Xiong et al., arXiv:2002.04745).

Attention is written out of Linear layers, matrix products and softmax: the fused kernels lack the derivatives that walks and sweeps take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from influence.errors import BadInput
from influence.models._embedding import embedding, mean_of, refuse_measurements, usual
from influence.registry import models, option


class Attention(nn.Module):
    """Multi-head self-attention over the tokens that are there."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.given, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, h: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Mix tokens, (B, T, W) and (B, T) -> (B, T, W)."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for part in self.given(h).chunk(3, -1))
        alike = (q @ k.transpose(-2, -1)) * self.scale
        mixed = alike.masked_fill(~there[..., None, None, :], -1e9).softmax(-1) @ v  # not -inf: a text of no tokens would make 0/0
        return self.out(mixed.transpose(-3, -2).flatten(-2))


class Block(nn.Module):
    """Attention and a two-layer perceptron, each added to what it is given."""

    def __init__(self, width: int, heads: int, ratio: int, share: float) -> None:
        super().__init__()
        self.before, self.attention, self.dropout = nn.LayerNorm(width), Attention(width, heads), nn.Dropout(share)
        wide, back = nn.Linear(width, ratio * width), nn.Linear(ratio * width, width)
        self.mlp = nn.Sequential(nn.LayerNorm(width), wide, nn.GELU(), back, nn.Dropout(share))

    def forward(self, h: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Carry the tokens on, (B, T, W) -> (B, T, W)."""
        h = h + self.dropout(self.attention(self.before(h), there))
        return h + self.mlp(h)


class Encoder(nn.Module):
    """Token ids to outputs: the mean over the tokens that are there, and one linear layer."""

    def __init__(self, kind: Transformer) -> None:
        super().__init__()
        width = kind.width
        self.tokens, self.places = embedding(kind.vocabulary, width), embedding(kind.inputs[0], width)
        self.blocks = nn.ModuleList(Block(width, kind.heads, kind.ratio, kind.dropout) for _ in range(kind.layers))
        self.dropout, self.norm, self.out = nn.Dropout(kind.dropout), nn.LayerNorm(width), nn.Linear(width, kind.outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify texts, (B, T) of ids with 0 for no token -> (B, outputs).

        Raises:
            BadInput: the inputs are no whole numbers.
        """
        refuse_measurements(x, "transformer")
        there = x != 0
        places = torch.arange(x.shape[-1], device=x.device).expand(x.shape)
        h = self.dropout(self.tokens(x) + self.places(places))
        for block in self.blocks:
            h = block(h, there)
        return self.out(mean_of(self.norm(h), there))


@models
@dataclass(frozen=True)
class Transformer:
    """A small transformer encoder for short texts given as token ids; 0 stands for no token."""

    text: ClassVar[bool] = True
    inputs: tuple[int, ...] = ()
    outputs: int = 0
    vocabulary: int = option(4096, "How many token ids there are, 0 (no token) among them", min=2, max=1_000_001)
    width: int = option(64, "Numbers that stand for a token; a multiple of heads", min=4, max=2048)
    heads: int = option(4, "Attention heads", min=1, max=64)
    layers: int = option(2, "Blocks of attention and perceptron", min=1, max=48)
    ratio: int = option(4, "Width of a block's perceptron, as a multiple of width", min=1, max=16, advanced=True)
    dropout: float = option(0.0, "Share of the units left out at each training step", min=0.0, max=0.9, advanced=True)

    @staticmethod
    def usual(rows: int) -> dict[str, Any]:
        """Return the recipe for so many rows where nothing else is chosen."""
        return usual(rows, lr=5e-4, eps_root=1e-6, least=(3, 100), warmup=0.1)

    @staticmethod
    def sized(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """Return the settings that weights of these shapes tell; heads leave no trace in them."""
        flat = [shape for shape in shapes.values() if len(shape) == 2]
        vocabulary, width = flat[0] if flat else (0, 0)
        back = [shape[1] // width for shape in flat[2:] if shape[0] == width < shape[1]]  # a perceptron's way back
        layers = sum(shape == (3 * width, width) for shape in flat)
        return {"vocabulary": vocabulary, "width": width, "layers": layers, "ratio": next(iter(back), 1)}

    def __call__(self) -> nn.Module:
        """Build it, (B, length) -> (B, outputs).

        Raises:
            BadInput: the inputs are no lists of token ids, or width is no multiple of heads.
        """
        if len(self.inputs) != 1:
            raise BadInput(f"The transformer needs texts as lists of token ids, (length,); these inputs have shape {self.inputs}.")
        if self.width % self.heads:
            raise BadInput(f"width must be a multiple of heads; got {self.width} and {self.heads}.")
        return Encoder(self)
