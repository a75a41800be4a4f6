"""Models that place rows by what is in them, rows that are not independent, and operations that can be differentiated once only."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from influence.errors import BadInput
from influence.grads import Rows, chosen, products, row_gradients, self_influence, sweep
from influence.grads.rows import planned
from influence.loop import Bound
from tests.test_grads_operations import TOL, Arch, Net, directions, one_by_one

LENGTHS = torch.tensor([2, 1, 3, 2, 2, 3, 1, 2, 2])
"""Of texts: those that are tried, the first, the middle and the last, are equally long; so are all of three rows or nine on average."""
N = len(LENGTHS)


def texts() -> torch.Tensor:
    x = torch.randint(1, 7, (N, 4))
    x[torch.arange(4)[None] >= LENGTHS[:, None]] = 0
    return x


def numbers() -> torch.Tensor:
    """Rows in order of their first number, and of one sign there, where they are tried only."""
    x = torch.randn(N, 4, dtype=torch.float64)
    x[:, 0] = torch.tensor([0.1, -0.3, 0.9, -0.2, 0.2, -0.1, -0.5, -0.7, 0.5])
    return x


def means(h: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    rows = torch.arange(len(n)).repeat_interleave(n)
    return h.new_zeros(len(n), h.shape[1]).index_add(0, rows, h) / n[:, None]


def unpadded(net: Net, x: torch.Tensor) -> torch.Tensor:
    return net.out(means(torch.tanh(net.a(net.words(x[x != 0]))), (x != 0).sum(1)))


def split(net: Net, x: torch.Tensor) -> torch.Tensor:
    """Lengths become numbers of Python's, which no operation of PyTorch tells."""
    n = (x != 0).sum(1).tolist()
    h = torch.tanh(net.a(net.words(torch.cat([row[:k] for row, k in zip(x, n, strict=True)]))))
    return net.out(torch.stack([one.mean(0) for one in h.split(n)]))


def packed(net: Net, x: torch.Tensor) -> torch.Tensor:
    given = pack_padded_sequence(net.words(x), (x != 0).sum(1), batch_first=True, enforce_sorted=False)
    h, n = pad_packed_sequence(PackedSequence(torch.tanh(net.a(given.data)), *given[1:]), batch_first=True)
    return net.out(h.sum(1) / n[:, None])


def ordered(net: Net, x: torch.Tensor) -> torch.Tensor:
    order = x[:, 0].argsort()
    return net.out(torch.tanh(net.a(x[order]))[order.argsort()])


def experts(net: Net, x: torch.Tensor) -> torch.Tensor:
    first, h = x[:, 0] > 0, x.new_zeros(len(x), 6)
    for chosen_rows, expert in ((first, net.a), (~first, net.b)):
        h = h.index_put((chosen_rows.nonzero()[:, 0],), expert(x[chosen_rows]))
    return net.out(torch.tanh(h))


def branch(net: Net, x: torch.Tensor) -> torch.Tensor:
    """Each row by itself takes one of two layers."""
    h = [(net.a if one[0, 0] > 0 else net.b)(one) for one in x.split(1)]
    return net.out(torch.tanh(torch.cat(h)))


def either(net: Net, x: torch.Tensor) -> torch.Tensor:
    """Both layers are called for all rows; what one of them says goes on for some only."""
    h = torch.stack([a if one[0] > 0 else b for one, a, b in zip(x, net.a(x), net.b(x), strict=True)])
    return net.out(torch.tanh(h))


def texted() -> dict[str, nn.Module]:
    return {"words": nn.Embedding(7, 5), "a": nn.Linear(5, 6), "out": nn.Linear(6, 3)}


def numbered() -> dict[str, nn.Module]:
    return {"a": nn.Linear(4, 6), "b": nn.Linear(4, 6), "out": nn.Linear(6, 3)}


MOVING: dict[str, tuple[Callable[[Net, torch.Tensor], torch.Tensor], Callable[[], dict[str, nn.Module]], Callable[[], torch.Tensor]]] = {
    "unpadded": (unpadded, texted, texts),
    "split": (split, texted, texts),
    "packed": (packed, texted, texts),
    "ordered": (ordered, numbered, numbers),
    "experts": (experts, numbered, numbers),
    "branch": (branch, numbered, numbers),
    "either": (either, numbered, numbers),
}


def made(name: str) -> tuple[Bound, Rows, torch.Tensor]:
    does, parts, draw = MOVING[name]
    bound = Bound(Arch(lambda: Net(does, **parts())), 3, "float64")
    torch.manual_seed(1)
    rows = Rows(draw(), torch.arange(N) % 3, "cross_entropy")
    return bound, rows, one_by_one(bound, rows)


@pytest.mark.parametrize("name", MOVING)
def test_rows_that_lie_elsewhere_in_other_batches_are_scored_right(name):
    bound, rows, exact = made(name)
    assert planned(bound, rows, chosen(bound)).moves
    for q, batch in ((1, N), (1, 3), (6, N), (2, 1)):
        v = directions(bound, q)
        np.testing.assert_allclose(sweep(bound, rows.x, rows.target, rows.loss, v, batch), exact @ v.T, **TOL, err_msg=f"{q} {batch}")
    np.testing.assert_allclose(products(bound, rows.cut(slice(1, 4)), rows), exact[1:4] @ exact.T, **TOL)
    np.testing.assert_allclose(self_influence(bound, rows.x, rows.target, rows.loss), exact.square().sum(1), **TOL)
    np.testing.assert_allclose(row_gradients(bound, rows.x, rows.target, rows.loss), exact, **TOL)
    with pytest.raises(BadInput, match=r"another path|is used otherwise"):
        sweep(bound, rows.x, rows.target, rows.loss, directions(bound, 1), N, "ghost")


@pytest.mark.parametrize(("name", "layer"), [("branch", "b"), ("either", "b"), ("either", "a")])
def test_a_layer_that_some_rows_do_not_reach_is_scored(name, layer):
    bound, rows, exact = made(name)
    on = torch.cat([torch.full((p.numel(),), own.startswith(f"{layer}.")) for own, p in zip(bound.names, bound.params, strict=True)])
    v = directions(bound, 2)
    for batch in (1, 4):
        found = sweep(bound, rows.x, rows.target, rows.loss, v, batch, layers=layer)
        np.testing.assert_allclose(found, exact @ (v * on).T, **TOL)
    found = self_influence(bound, rows.x, rows.target, rows.loss, layer, memory=1e-6)
    np.testing.assert_allclose(found, (exact * on).square().sum(1), **TOL)


def test_what_is_looked_up_or_picked_within_a_row_stays_layer_by_layer():
    """One more backward pass checks each batch; no batch goes through the whole model."""

    def last(net: Net, x: torch.Tensor) -> torch.Tensor:
        return net.out(torch.tanh(net.a(net.words(x)))[torch.arange(len(x)), (x != 0).sum(1) - 1])

    bound = Bound(Arch(lambda: Net(last, **texted())), 3, "float64")
    rows = Rows(texts(), torch.arange(N) % 3, "cross_entropy")
    v = directions(bound, 2)
    assert planned(bound, rows, chosen(bound)).moves
    np.testing.assert_allclose(sweep(bound, rows.x, rows.target, rows.loss, v, N, "ghost"), one_by_one(bound, rows) @ v.T, **TOL)
    plain = Bound(Arch(lambda: nn.Sequential(nn.Embedding(7, 5), nn.Flatten(), nn.Linear(20, 3))), 3, "float64")
    assert not planned(plain, rows, chosen(plain)).moves


def centred(net: Net, x: torch.Tensor) -> torch.Tensor:
    h = net.a(x)
    return net.out(torch.tanh(h - h.mean(0)))


MIXING: dict[str, Callable[[], nn.Module]] = {
    "centred": lambda: Net(centred, a=nn.Linear(4, 6), out=nn.Linear(6, 3)),
    "attention across rows": lambda: Net(
        lambda net, x: net.out(net.a(*[x[:, None].expand(-1, 2, -1)] * 3, need_weights=False)[0].mean(1)),
        a=nn.MultiheadAttention(4, 2),
        out=nn.Linear(4, 3),
    ),
    "rolled": lambda: Net(lambda net, x: net.out(torch.tanh(net.a(x)).roll(1, 0)), a=nn.Linear(4, 6), out=nn.Linear(6, 3)),
    "statistics of the batch": lambda: Net(lambda net, x: net.out(F.batch_norm(net.a(x), None, None, training=True)), **numbered()),
    "divided by the number of rows": lambda: Net(lambda net, x: net.out(net.a(x) / len(x)), **numbered()),
    "drawn": lambda: Net(lambda net, x: net.out(F.dropout(net.a(x), 0.5, training=True)), **numbered()),
}


@pytest.mark.parametrize("name", MIXING)
def test_rows_that_depend_on_each_other_are_refused(name):
    bound = Bound(Arch(MIXING[name]), 0, "float64")
    rows = Rows(torch.randn(8, 4, dtype=torch.float64), torch.arange(8) % 3, "cross_entropy")
    works = [lambda: products(bound, rows, rows), lambda: self_influence(bound, rows.x, rows.target, rows.loss)]
    for kind in ("auto", "ghost", "forward", "backward"):
        works.append(lambda kind=kind: sweep(bound, rows.x, rows.target, rows.loss, directions(bound, 1), kind=kind))
    for work in works:
        with pytest.raises(BadInput, match="so no row has a gradient of its own"):
            work()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_rounding_is_no_dependence(dtype):
    bound = Bound(Arch(lambda: nn.Sequential(nn.Linear(300, 300), nn.GELU(), nn.Linear(300, 300), nn.GELU(), nn.Linear(300, 3))), 0, dtype)
    for seed in range(20):
        torch.manual_seed(seed)
        planned(bound, Rows(torch.randn(9, 300), torch.arange(9) % 3, "cross_entropy"), chosen(bound))


@pytest.mark.parametrize("wide", [1, 2**23])
def test_operations_that_can_be_differentiated_once_only(wide, monkeypatch):
    monkeypatch.setattr(sys.modules["influence.grads.sweep"], "WIDE", wide)
    bound = Bound(Arch(lambda: nn.Sequential(nn.EmbeddingBag(7, 6, mode="mean", padding_idx=0), nn.Tanh(), nn.Linear(6, 3))), 0, "float64")
    rows = Rows(texts(), torch.arange(N) % 3, "cross_entropy")
    v, exact = directions(bound, 2), one_by_one(bound, rows)
    np.testing.assert_allclose(sweep(bound, rows.x, rows.target, rows.loss, v, 4), exact @ v.T, **TOL)
    np.testing.assert_allclose(products(bound, rows, rows), exact @ exact.T, **TOL)
    with pytest.raises(BadInput, match=r"The backward sweep failed: .* Choose the auto sweep"):
        sweep(bound, rows.x, rows.target, rows.loss, v, 4, "backward")
