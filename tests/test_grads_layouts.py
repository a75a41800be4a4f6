"""Where rows lie in a layer's outputs: found from three rows, for any order of rows and positions and any positions that count."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from influence.grads import self_influence, sweep
from influence.grads.parts import Layout, layout
from influence.loop import Bound, cat, tensors
from tests.tiny import examples

KINDS = ("first", "second", "outer", "inner")


def delta(kind: str, positions: tuple[int, ...], many: int, row: int) -> torch.Tensor:
    """What the loss of one row of three leaves in (T, B, D), brought into a layout."""
    d = torch.zeros(many, 3, 2)
    d[list(positions), row] = 1.0
    return {"second": d, "inner": d.reshape(-1, 2), "first": d.movedim(1, 0), "outer": d.movedim(1, 0).reshape(-1, 2)}[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_three_rows_tell_every_layout(kind):
    for many in range(1, 10):
        for size in range(1, many + 1):
            for positions in itertools.combinations(range(many), size):
                found = layout({row: delta(kind, positions, many, row) for row in range(3)}, 3)
                assert found is not None
                assert found.kind == kind or many == 1, (many, positions)


def test_no_layout_fits_what_is_empty():
    assert not any(Layout(kind, 3).fits(torch.zeros(0, 2)) for kind in KINDS)


def test_a_row_without_a_part_decides_nothing():
    found = layout({0: delta("second", (2,), 5, 0), 1: torch.zeros(5, 3, 2), 2: delta("second", (2,), 5, 2)}, 3)
    assert found is not None
    assert found.kind == "second"
    assert layout({0: torch.ones(3, 2), 1: delta("outer", (0,), 1, 1)}, 3) is None


class Middle(nn.Module):
    """Positions before rows, joined; only one position goes on."""

    def __init__(self, position: int) -> None:
        super().__init__()
        self.inner, self.outer, self.position = nn.Linear(2, 5), nn.Linear(5, 3), position

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = x.transpose(0, 1)
        joined = torch.tanh(self.inner(seen.reshape(-1, 2)))
        return self.outer(joined.view(*seen.shape[:2], 5)[self.position])  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Built:
    position: int
    inputs: tuple[int, ...] = (5, 2)
    outputs: int = 3

    def __call__(self) -> nn.Module:
        return Middle(self.position)


@pytest.mark.parametrize("position", range(5))
def test_one_of_the_joined_positions_is_read_right(position):
    rows = examples(11, (5, 2))
    bound = Bound(Built(position), 0, "float64")
    x, y = tensors(rows, "float64")
    losses = nn.functional.cross_entropy(bound.module(x), y, reduction="none")
    exact = torch.stack([cat(torch.autograd.grad(loss, bound.params, retain_graph=True)) for loss in losses])
    v = torch.randn(2, len(bound.flat), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(sweep(bound, x, y, "cross_entropy", v), (exact @ v.T).numpy(), atol=1e-12)
    np.testing.assert_allclose(self_influence(bound, x, y, "cross_entropy"), exact.square().sum(1).numpy(), atol=1e-12)
