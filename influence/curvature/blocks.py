"""One layer's part of the factored curvature: an eigenbasis, and the eigenvalues in it.

A block's gradient is a stack of matrices (G, O, I): G groups, O output units, I inputs. Its bias, if it has one, is the weight of a
further input that is always 1, so a layer's weight and bias are one matrix (Martens and Grosse, arXiv:1503.05671, section 2). The bases
turn the two sides; where one is missing that side stays as it is. Linear and convolutional layers have both; a table of embeddings has
none for its entries; scales and shifts of normalisation are one row with a basis of its own; any other parameter is diagonal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from influence.grads.ops import Conv, Linear
from influence.grads.parts import Dense, Factors, Lookup, Part
from influence.grads.uses import Use

DENSE = 512
"""Parameters of up to this size that are no matrices get a full basis; larger ones are diagonal."""


@dataclass(frozen=True)
class Shape:
    """A block's places among the parameters (weight, then bias) and its matrices (G, O, I), the bias's input included.

    `sides`: which bases it has, of "left" (O) and "right" (I).
    """

    places: tuple[int, ...]
    size: tuple[int, int, int]
    sides: frozenset[str]
    table: bool = False

    @property
    def bias(self) -> bool:
        """Whether the last input is the bias's."""
        return len(self.places) > 1


@dataclass(frozen=True)
class Block:
    """Bases (G, O, O) and (G, I, I), each with eigenvectors for columns, and tensors (G, O, I) in them.

    `values`: E[(U^T g V)²] over the model's own predictions, the curvature; `spread`: the same over the rows' real gradients.
    """

    shape: Shape
    left: torch.Tensor | None
    right: torch.Tensor | None
    values: torch.Tensor
    spread: torch.Tensor

    def into(self, m: torch.Tensor) -> torch.Tensor:
        """Turn matrices (..., G, O, I) into the eigenbasis."""
        m = m if self.left is None else self.left.mT @ m
        return m if self.right is None else m @ self.right

    def out(self, m: torch.Tensor) -> torch.Tensor:
        """Turn matrices (..., G, O, I) back."""
        m = m if self.left is None else self.left @ m
        return m if self.right is None else m @ self.right.mT


def matrices(shape: Shape, views: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the block's matrices (Q, G, O, I) of directions, given by place with shapes (Q, *parameter)."""
    g, o, i = shape.size
    weight = views[shape.places[0]]
    m = weight.reshape(len(weight), g, o, i - shape.bias)
    return torch.cat([m, views[shape.places[1]].reshape(len(m), g, o, 1)], -1) if shape.bias else m


def put(shape: Shape, m: torch.Tensor, views: Sequence[torch.Tensor]) -> None:
    """Write matrices (Q, G, O, I) to their places in `views`, (Q, *parameter) each."""
    weight = m[..., :-1] if shape.bias else m
    views[shape.places[0]].copy_(weight.reshape(views[shape.places[0]].shape))
    if shape.bias:
        views[shape.places[1]].copy_(m[..., -1].reshape(views[shape.places[1]].shape))


def shapes(params: Sequence[torch.Tensor], places: Sequence[int], found: Sequence[Use]) -> list[Shape]:
    """Return the blocks: a weight with its bias where the two are always used together, everything else by itself."""
    kinds = [(use, use.parts()) for use in found]
    taken: set[int] = set()
    blocks = []
    for place in places:
        if place in taken:
            continue
        mine = [(use, parts[place]) for use, parts in kinds if place in parts]
        bias = _bias(place, mine, kinds)
        made = _shape(params[place], (place,) if bias is None else (place, bias), [one for _, one in mine])
        taken.update(made.places)
        blocks.append(made)
    return blocks


def _bias(place: int, mine: Sequence[tuple[Use, Part]], all_uses: Sequence[tuple[Use, Mapping[int, Part]]]) -> int | None:
    """Return the place of the bias that every use of this weight has, and no other use has."""
    matrix = all(isinstance(one, Factors) and use.owned.get("weight") == place and _forward(use) for use, one in mine)
    biases = {use.owned.get("bias") for use, _ in mine}
    if not (mine and matrix and len(biases) == 1):
        return None
    bias = biases.pop()
    elsewhere = sum(bias in parts for _, parts in all_uses)
    return bias if bias is not None and elsewhere == len(mine) else None


def _forward(use: Use) -> bool:
    return isinstance(use.op, Linear) or (isinstance(use.op, Conv) and not use.op.transposed)


def _shape(parameter: torch.Tensor, places: tuple[int, ...], parts: Sequence[Part]) -> Shape:
    kinds = {type(one) for one in parts}
    size = parameter.numel()
    if kinds == {Factors}:
        g, i = parts[0].a.shape[2:]  # type: ignore[union-attr]
        return Shape(places, (g, size // (g * i), i + len(places) - 1), frozenset({"left", "right"}))
    if kinds == {Lookup}:
        return Shape(places, (1, *parameter.shape), frozenset({"right"}), table=True)
    if kinds == {Dense} and size <= DENSE:
        return Shape(places, (1, 1, size), frozenset({"right"}))
    return Shape(places, (1, 1, size), frozenset())
