"""The k orthonormal directions in which rows' gradients have most of their energy, from a sample of rows.

For a layer whose gradients are sums of outer products of deltas d and inputs a, the directions are outer products of eigenvectors of the
second moments of d and of a (the Kronecker-factored eigenbasis: George, Laurent, Bouthillier, Ballas and Vincent, arXiv:1806.03884; as
initialisation of a projection: Choe et al., LoGra, arXiv:2405.13954, section 3.2); of all layers' directions those with the largest mean
square of coordinates are kept. The coordinates of a row cost little more than its deltas and inputs turned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from influence.grads.matrix import Feature
from influence.loop import Bound

LARGEST = 2048
"""Coordinates of a parameter without factors of which directions are made at most: those with most energy."""


@dataclass(frozen=True)
class Directions:
    """Kept directions of one parameter.

    In factors: row i of `left` (r, O) and of `right` (r, I), one direction is the outer product of both; otherwise combinations `right`
    (r, c) of the coordinates `at` (c,).
    """

    right: torch.Tensor
    left: torch.Tensor | None = None
    at: torch.Tensor | None = None

    def of_vectors(self, g: torch.Tensor) -> torch.Tensor:
        """Return the coordinates of vectors, (Q, size) -> (Q, r)."""
        if self.left is None:
            return (g if self.at is None else g[:, self.at]) @ self.right.T
        g = g.view(len(g), self.left.shape[1], self.right.shape[1])
        return torch.einsum("qoi,ro,ri->qr", g, self.left, self.right)

    def of_feature(self, feature: Feature) -> torch.Tensor:
        """Return the coordinates of a block of rows, (B, r)."""
        if self.left is None or feature.factors is None:
            return self.of_vectors(feature.dense)
        a, d = feature.factors
        if a.shape[1] * (self.left.shape[1] + self.right.shape[1]) > feature.size:
            return self.of_vectors(feature.dense)
        return ((d @ self.left.T) * (a @ self.right.T)).sum(1)


@dataclass(frozen=True)
class Basis:
    """Directions by the parameter's place, `size` in all; `captured`: the share of the sample's energy that they hold."""

    parts: Mapping[int, Directions]
    captured: float

    @property
    def size(self) -> int:
        """Number of directions."""
        return sum(len(part.right) for part in self.parts.values())

    def of_block(self, found: Mapping[int, Feature], like: torch.Tensor) -> torch.Tensor:
        """Return the coordinates of a block of rows, (B, k)."""
        n = next(iter(found.values())).rows
        return torch.cat(
            [part.of_feature(found[k]) if k in found else like.new_zeros(n, len(part.right)) for k, part in self.parts.items()], 1
        )

    def of_vectors(self, bound: Bound, v: torch.Tensor) -> torch.Tensor:
        """Return the coordinates of whole gradients, (Q, P) -> (Q, k)."""
        views = bound.views(v)
        return torch.cat([part.of_vectors(views[k].flatten(1)) for k, part in self.parts.items()], 1)

    def save(self, path: Path) -> None:
        """Write it to a file."""
        named = {f"{k}.{name}": t.contiguous() for k, part in self.parts.items() for name, t in vars(part).items() if t is not None}
        save_file(named, path, {"basis": json.dumps({"captured": self.captured, "order": list(self.parts)})})  # one key: equal bytes

    @classmethod
    def load(cls, path: Path, device: torch.device) -> Basis:
        """Read what `save` wrote."""
        with safe_open(path, "pt") as file:
            told = json.loads(file.metadata()["basis"])
        named = {name: t.to(device) for name, t in load_file(path).items()}
        parts = {k: Directions(named[f"{k}.right"], named.get(f"{k}.left"), named.get(f"{k}.at")) for k in told["order"]}
        return cls(parts, told["captured"])


class Sample:
    """Adds up what a sample of rows tells of each parameter, in two passes: first second moments, then the energy of each direction."""

    def __init__(self) -> None:
        self.moments: dict[int, list[torch.Tensor]] = {}
        self.vectors: dict[int, list[torch.Tensor]] = {}
        self.energy: dict[int, torch.Tensor] = {}
        self.total = 0.0

    def first(self, found: Mapping[int, Feature]) -> None:
        """Add a block's second moments."""
        for k, feature in found.items():
            self.total += float(feature.squares().double().sum())
            sides = [f.flatten(0, 1) for f in (feature.factors or ())] if factored(feature) else [feature.dense]
            if not factored(feature) and feature.size > LARGEST:
                sides = [sides[0].square()]
                moments = [sides[0].double().sum(0)]
            else:
                moments = [side.double().T @ side.double() for side in sides]
            before = self.moments.get(k)
            self.moments[k] = moments if before is None else [a + b for a, b in zip(before, moments, strict=True)]

    def turn(self) -> None:
        """Between the passes: take the eigenvectors, or the coordinates with most energy."""
        for k, moments in self.moments.items():
            if moments[0].dim() == 1:
                self.vectors[k] = [moments[0].topk(LARGEST).indices.sort().values]
            else:
                self.vectors[k] = [torch.linalg.eigh(moment).eigenvectors.T for moment in moments]

    def second(self, found: Mapping[int, Feature]) -> None:
        """Add the energy of a block in each direction."""
        for k, feature in found.items():
            energy = self._energy(feature, self.vectors[k])
            self.energy[k] = self.energy.get(k, torch.zeros_like(energy)) + energy

    def _energy(self, feature: Feature, vectors: list[torch.Tensor]) -> torch.Tensor:
        if not factored(feature):
            g = feature.dense.double()
            if vectors[0].dim() == 1:
                g = g[:, vectors[0]]
                return g.T @ g
            return (g @ vectors[0].T).square().sum(0)
        assert feature.factors is not None
        inputs, deltas = (f.double() @ basis.T for f, basis in zip(feature.factors, vectors, strict=True))
        if inputs.shape[1] == 1:
            return deltas[:, 0].square().T @ inputs[:, 0].square()
        return (deltas.mT @ inputs).square().sum(0)

    def basis(self, size: int, dtype: torch.dtype) -> Basis:
        """Return the `size` directions with most energy."""
        for k, energy in self.energy.items():
            if self.vectors[k][0].dim() == 1:  # second moments among the chosen coordinates
                values, turned = torch.linalg.eigh(energy)
                self.vectors[k].append(turned.T)
                self.energy[k] = values.clamp(min=0)
        every = torch.cat([energy.flatten() for energy in self.energy.values()])
        size = min(size, len(every))
        best = every.topk(size).indices.sort().values
        parts, start = {}, 0
        for k, energy in self.energy.items():
            own = best[(best >= start) & (best < start + energy.numel())] - start
            start += energy.numel()
            if len(own):
                parts[k] = self._directions(self.vectors[k], energy, own, dtype)
        return Basis(parts, float(every[best].sum()) / max(self.total, 1e-300))

    @staticmethod
    def _directions(vectors: list[torch.Tensor], energy: torch.Tensor, own: torch.Tensor, dtype: torch.dtype) -> Directions:
        if energy.dim() == 2:
            right, left = (basis[i].to(dtype) for basis, i in zip(vectors, (own % energy.shape[1], own // energy.shape[1]), strict=True))
            return Directions(right, left)
        if len(vectors) == 2:
            return Directions(vectors[1][own].to(dtype), at=vectors[0])
        return Directions(vectors[0][own].to(dtype))


def factored(feature: Feature) -> bool:
    """Whether directions are outer products: the gradients come in factors that are vectors."""
    return feature.factors is not None and feature.factors[0].dim() == 3
