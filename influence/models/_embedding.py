"""What models of texts share: vectors that stand for tokens, and the recipe by which they are learnt."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from influence.errors import BadInput

SPREAD = 0.02
"""Standard deviation of new vectors (Devlin et al., arXiv:1810.04805). PyTorch's is 1: so large that what the rows of a word say of it is
lost in what it was drawn as, until it has been seen many hundred times."""


def embedding(count: int, width: int) -> nn.Embedding:
    """Return a table of `count` new vectors."""
    table = nn.Embedding(count, width)
    nn.init.normal_(table.weight, std=SPREAD)
    return table


def usual(rows: int, lr: float, eps_root: float = 1e-8, least: tuple[int, int] = (5, 300), **own: Any) -> dict[str, Any]:
    """Return the recipe for so many texts where nothing else is chosen: AdamW, at least so many epochs and steps (docs/decisions).

    Plain SGD hardly moves the vectors of words that few texts have. `eps_root` makes the steps of those smooth, so that a metagradient can
    be trusted.
    """
    size = 32 if rows < 1_000 else 64 if rows < 50_000 else 256
    steps = -(-rows // size)
    fitted = {"batch_size": size, "epochs": max(least[0], -(-least[1] // max(1, steps)))}
    return {"optimizer": "adamw", "lr": lr, "weight_decay": 0.01, "eps_root": eps_root, **fitted, **own}


def refuse_measurements(x: torch.Tensor, name: str) -> None:
    """See that inputs are token ids.

    Raises:
        BadInput: they are no whole numbers.
    """
    if x.is_floating_point():
        raise BadInput(f"The {name} needs texts as token ids, whole numbers; these inputs are measurements. Choose mlp or logistic.")


def mean_of(h: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Return the mean over the tokens that are there, (B, T, W) and (B, T) -> (B, W); 0 for a text of no token."""
    return (h * there[..., None]).sum(-2) / there.sum(-1, keepdim=True).clamp(min=1)
