"""Every kind of layer and of use against plain autograd, one example at a time, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from influence.errors import BadInput
from influence.grads import Rows, chosen, gram, mask, products, row_gradients, self_influence, sweep
from influence.grads.rows import planned
from influence.loop import Bound, cat
from influence.losses import per_example

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
N, TOL = 7, {"rtol": 1e-8, "atol": 1e-11}


class Net(nn.Module):
    """Named parts and what they do with x."""

    def __init__(self, does: Callable[[Net, Any], torch.Tensor], **parts: Any) -> None:
        super().__init__()
        self.does = does
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Any) -> torch.Tensor:
        return self.does(self, x)


@dataclass(frozen=True)
class Arch:
    make: Callable[[], nn.Module]
    inputs: tuple[int, ...] = ()
    outputs: int = 3

    def __call__(self) -> nn.Module:
        return self.make()


class Wide(nn.Linear):
    """A subclass with the forward of Linear."""


def images(c: int, *size: int) -> Callable[[int], torch.Tensor]:
    return lambda n: torch.randn(n, c, *size, dtype=torch.float64)


def numbers(*shape: int) -> Callable[[int], torch.Tensor]:
    return lambda n: torch.randn(n, *shape, dtype=torch.float64)


def tokens(n: int) -> torch.Tensor:
    return torch.randint(0, 7, (n, 5))


def headed(*layers: nn.Module, width: int) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, 3))


def encoder(first: bool) -> nn.Module:
    def does(net: Net, x: torch.Tensor) -> torch.Tensor:
        h = torch.cat([net.start.expand(len(x), -1, -1), net.words(x) + net.places], 1)
        return net.out((net.layer(h) if first else net.layer(h.transpose(0, 1)).transpose(0, 1))[:, 0])

    return Net(
        does,
        words=nn.Embedding(7, 8, padding_idx=0),
        places=nn.Parameter(torch.randn(5, 8)),
        start=nn.Parameter(torch.randn(1, 1, 8)),
        layer=nn.TransformerEncoderLayer(8, 2, 16, batch_first=first, activation="gelu"),
        out=nn.Linear(8, 3),
    )


def attention(**how: Any) -> nn.Module:
    def does(net: Net, x: torch.Tensor) -> torch.Tensor:
        return net.out(net.mix(x, x[:, :2], x[:, :2], need_weights=False)[0].mean(1))

    return Net(does, mix=nn.MultiheadAttention(6, 2, batch_first=True, **how), out=nn.Linear(6, 3))


def language(kind: type[nn.Module]) -> nn.Module:
    return Net(
        lambda net, x: F.linear(net.layer(net.words(x))[0][:, -1], net.words.weight)[:, :3],
        words=nn.Embedding(7, 6, padding_idx=2),
        layer=kind(6, 6, batch_first=True),
    )


def fused(net: Net, x: torch.Tensor) -> torch.Tensor:
    q, k, v = net.given(x).unflatten(-1, (3, 2, 2)).permute(2, 0, 3, 1, 4)
    return net.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2) * net.temper.exp()).mean(1)


def joined(net: Net, x: torch.Tensor) -> torch.Tensor:
    h = torch.tanh(net.a(x.reshape(-1, 4))) * net.scale + net.shift
    return net.b(h).view(len(x), -1, 3).mean(1)


def gone(net: Net, x: torch.Tensor) -> torch.Tensor:
    return net.out(torch.tanh(net.a(x))) + net.c @ net.d


def shared(net: Net, x: torch.Tensor) -> torch.Tensor:
    return net.out(torch.tanh(net.conv(torch.tanh(net.conv(x)))).flatten(1))


def tenfold(net: Net, x: torch.Tensor) -> torch.Tensor:
    return net.out(net.conv(x.flatten(0, 1)).unflatten(0, (len(x), -1)).mean((1, 3, 4)))


def normed(layer: nn.Module) -> nn.Module:
    """A normalisation that is no identity."""
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(torch.randn_like(p) * 0.3)
        if getattr(layer, "running_mean", None) is not None:
            layer.running_mean.add_(0.3)
            layer.running_var.mul_(1.7)
    return layer


ZOO: dict[str, tuple[Callable[[], nn.Module], Callable[[int], torch.Tensor]]] = {
    "subclass": (lambda: nn.Sequential(Wide(4, 6), nn.Tanh(), nn.Linear(6, 3)), numbers(4)),
    "tokens": (lambda: nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 5), nn.Flatten(), nn.Linear(15, 3)), numbers(3, 4)),
    "rows and positions joined": (
        lambda: Net(joined, a=nn.Linear(4, 6), b=nn.Linear(6, 3), scale=nn.Parameter(torch.randn(6)), shift=nn.Parameter(torch.randn(6))),
        numbers(3, 4),
    ),
    "images joined": (lambda: Net(tenfold, conv=nn.Conv2d(2, 4, 3), out=nn.Linear(4, 3)), numbers(3, 2, 5, 5)),
    "conv1d": (lambda: headed(nn.Conv1d(2, 4, 3, stride=2, padding=1, padding_mode="circular"), nn.GELU(), width=16), images(2, 8)),
    "conv1d reflect": (lambda: headed(nn.Conv1d(2, 4, 3, padding=2, padding_mode="reflect"), nn.GELU(), width=40), images(2, 8)),
    "conv2d": (lambda: headed(nn.Conv2d(3, 4, (3, 2), (2, 1), (1, 0), bias=False), nn.GELU(), width=48), images(3, 5, 5)),
    "conv2d dilated": (
        lambda: headed(nn.Conv2d(2, 4, 3, dilation=2, padding=1, padding_mode="zeros"), nn.GELU(), width=36),
        images(2, 5, 5),
    ),
    "conv2d same": (lambda: headed(nn.Conv2d(4, 6, 3, groups=2, padding="same"), nn.GELU(), width=96), images(4, 4, 4)),
    "conv2d same, uneven": (lambda: headed(nn.Conv2d(2, 3, (4, 3), padding="same", dilation=(1, 2)), nn.GELU(), width=60), images(2, 4, 5)),
    "conv2d valid": (lambda: headed(nn.Conv2d(2, 4, 3, padding="valid"), nn.GELU(), width=16), images(2, 4, 4)),
    "depthwise": (lambda: headed(nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(inplace=True), nn.Conv2d(4, 3, 1), width=12), images(4, 4, 4)),
    "conv3d": (lambda: headed(nn.Conv3d(2, 4, (3, 2, 1), (1, 2, 1), 1, (2, 1, 1)), nn.GELU(), width=216), images(2, 5, 4, 4)),
    "transposed": (
        lambda: headed(nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2, dilation=1), nn.GELU(), width=216),
        images(4, 3, 3),
    ),
    "transposed 1d": (lambda: headed(nn.ConvTranspose1d(2, 3, 3, 2), nn.GELU(), width=27), images(2, 4)),
    "group norm": (lambda: headed(nn.Conv2d(2, 4, 3), normed(nn.GroupNorm(2, 4)), nn.GELU(), width=16), images(2, 4, 4)),
    "layer norm": (
        lambda: headed(nn.Linear(4, 6), normed(nn.LayerNorm((3, 6))), nn.GELU(), normed(nn.LayerNorm(6)), width=18),
        numbers(3, 4),
    ),
    "batch norm": (lambda: headed(nn.Conv2d(2, 4, 3), normed(nn.BatchNorm2d(4)), nn.GELU(), width=16), images(2, 4, 4)),
    "batch norm of features": (lambda: nn.Sequential(nn.Linear(4, 6), normed(nn.BatchNorm1d(6)), nn.GELU(), nn.Linear(6, 3)), numbers(4)),
    "instance norm": (lambda: headed(nn.Conv1d(2, 4, 3), normed(nn.InstanceNorm1d(4, affine=True)), nn.GELU(), width=16), images(2, 6)),
    "rms norm": (lambda: nn.Sequential(nn.Linear(4, 6), normed(nn.RMSNorm(6)), nn.GELU(), nn.Linear(6, 3)), numbers(4)),
    "embedding": (lambda: nn.Sequential(nn.Embedding(7, 4, padding_idx=-2), nn.GELU(), nn.Flatten(), nn.Linear(20, 3)), tokens),
    "embedding of small norm": (lambda: nn.Sequential(nn.Embedding(7, 4, max_norm=1.0), nn.GELU(), nn.Flatten(), nn.Linear(20, 3)), tokens),
    "encoder": (lambda: encoder(first=True), tokens),
    "encoder, tokens first": (lambda: encoder(first=False), tokens),
    "cross attention": (lambda: attention(), numbers(4, 6)),
    "attention with more": (lambda: attention(add_bias_kv=True, add_zero_attn=True), numbers(4, 6)),
    "attention without bias": (lambda: attention(bias=False, kdim=6, vdim=6), numbers(4, 6)),
    "fused attention": (
        lambda: Net(fused, given=nn.Linear(4, 12), temper=nn.Parameter(torch.randn(4)), out=nn.Linear(4, 3)),
        numbers(5, 4),
    ),
    "lstm, tied table": (lambda: language(nn.LSTM), tokens),
    "gru, tied table": (lambda: language(nn.GRU), tokens),
    "weight norm": (lambda: nn.Sequential(weight_norm(nn.Linear(4, 6)), nn.Tanh(), nn.Linear(6, 3)), numbers(4)),
    "spectral norm": (lambda: nn.Sequential(spectral_norm(nn.Linear(4, 6)), nn.PReLU(), nn.Linear(6, 3)), numbers(4)),
    "conv used twice": (lambda: Net(shared, conv=nn.Conv2d(2, 2, 3), out=nn.Linear(18, 3)), images(2, 7, 7)),
    "constant and unused": (
        lambda: Net(
            gone,
            a=nn.Linear(4, 5),
            out=nn.Linear(5, 3),
            unused=nn.Linear(2, 2),
            c=nn.Parameter(torch.randn(4)),
            d=nn.Parameter(torch.randn(4, 3)),
        ),
        numbers(4),
    ),
}
WHOLE = {
    "lstm, tied table",
    "gru, tied table",
    "weight norm",
    "spectral norm",
    "constant and unused",
    "fused attention",
    "embedding of small norm",
    "attention with more",
    "cross attention",
    "attention without bias",
}
"""Where some parameters are used in ways that are not linear, or not of each row: those go through the whole model."""


def made(name: str) -> tuple[Bound, Rows, Rows]:
    """A module of the zoo, training rows, and other rows with coefficients of their outputs."""
    build, draw = ZOO[name]
    bound = Bound(Arch(build), 3, "float64")
    bound.module.eval()
    torch.manual_seed(1)
    x, other = draw(N), draw(4)
    return bound, Rows(x, torch.randint(0, 3, (N,)), "cross_entropy"), Rows(other, torch.randn(4, 3, dtype=torch.float64), "linear")


def one_by_one(bound: Bound, rows: Rows) -> torch.Tensor:
    """A whole gradient per row, (B, P)."""
    found = []
    for i in range(len(rows)):
        out = bound.module(rows.x[i : i + 1])
        loss = (out * rows.target[i]).sum() if rows.loss == "linear" else per_example(rows.loss, out, rows.target[i : i + 1]).sum()
        grads = torch.autograd.grad(loss, [p for p in bound.params if p.requires_grad], allow_unused=True)
        each = iter(grads)
        every = [next(each) if p.requires_grad else None for p in bound.params]
        found.append(cat([torch.zeros_like(p) if g is None else g for g, p in zip(every, bound.params, strict=True)]))
    return torch.stack(found)


@cache
def truth(name: str) -> tuple[np.ndarray, np.ndarray]:
    bound, rows, others = made(name)
    return one_by_one(bound, rows).numpy(), one_by_one(bound, others).numpy()


def directions(bound: Bound, q: int) -> torch.Tensor:
    return torch.randn(q, len(bound.flat), dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", ZOO)
def test_sweep(name):
    bound, rows, _ = made(name)
    for kind in ("auto", "backward"):
        for q in (1, 6):
            v = directions(bound, q)
            found = sweep(bound, rows.x, rows.target, rows.loss, v, 4, kind)
            np.testing.assert_allclose(found, truth(name)[0] @ v.numpy().T, **TOL, err_msg=f"{kind} {q}")


@pytest.mark.parametrize(
    "name", ["embedding", "encoder", "cross attention", "fused attention", "lstm, tied table", "transposed", "batch norm"]
)
def test_sweep_forward_alone(name):
    bound, rows, _ = made(name)
    v = directions(bound, 2)
    found = sweep(bound, rows.x, rows.target, rows.loss, v, 4, "forward")
    np.testing.assert_allclose(found, truth(name)[0] @ v.numpy().T, **TOL)


@pytest.mark.parametrize("name", ZOO)
def test_what_is_covered_layer_by_layer(name):
    bound, rows, _ = made(name)
    how = planned(bound, rows, chosen(bound))
    assert bool(how.rest) == (name in WHOLE), [bound.names[k] for k in how.rest]


@pytest.mark.parametrize("name", ZOO)
def test_products_and_self_influence(name):
    bound, rows, others = made(name)
    mine, theirs = truth(name)
    np.testing.assert_allclose(products(bound, others, rows), theirs @ mine.T, **TOL)
    np.testing.assert_allclose(self_influence(bound, rows.x, rows.target, rows.loss), (mine**2).sum(1), **TOL)
    np.testing.assert_allclose(row_gradients(bound, rows.x, rows.target, rows.loss), mine, **TOL)


@pytest.mark.parametrize("name", ["tokens", "conv2d same", "encoder", "conv used twice", "embedding", "layer norm"])
def test_products_by_pairs_of_positions_and_by_formed_gradients_agree(name, monkeypatch):
    bound, rows, others = made(name)
    mine, theirs = truth(name)
    for formed in (0.0, 1e9):
        monkeypatch.setattr("influence.grads.matrix.FORMED", formed)
        np.testing.assert_allclose(products(bound, others, rows), theirs @ mine.T, **TOL)


@pytest.mark.parametrize("memory", [1e-6, 0.01, 512.0])
def test_little_memory_means_small_blocks_and_equal_numbers(memory):
    bound, rows, others = made("encoder")
    mine, theirs = truth("encoder")
    np.testing.assert_allclose(products(bound, others, rows, memory=memory), theirs @ mine.T, **TOL)
    np.testing.assert_allclose(gram(bound, rows, memory=memory), mine @ mine.T, **TOL)
    np.testing.assert_allclose(self_influence(bound, rows.x, rows.target, rows.loss, memory=memory), (mine**2).sum(1), **TOL)


@pytest.mark.parametrize("layers", ["last", ["layer.self_attn"], ["start", "words"], "out.bias"])
def test_chosen_layers_alone(layers):
    bound, rows, others = made("encoder")
    mine, theirs = truth("encoder")
    on, v = mask(bound, layers).numpy(), directions(bound, 3)
    assert 0 < on.sum() < len(on)
    for kind in ("auto", "backward"):
        found = sweep(bound, rows.x, rows.target, rows.loss, v, kind=kind, layers=layers)
        np.testing.assert_allclose(found, mine @ (v.numpy() * on).T, **TOL)
    np.testing.assert_allclose(products(bound, others, rows, layers), (theirs * on) @ mine.T, **TOL)
    np.testing.assert_allclose(self_influence(bound, rows.x, rows.target, rows.loss, layers), (mine**2 * on).sum(1), **TOL)
    np.testing.assert_allclose(row_gradients(bound, rows.x, rows.target, rows.loss, slice(2, 5), layers), (mine * on)[2:5], **TOL)


def test_the_last_layer_costs_no_backward_pass_through_the_others():
    bound, rows, _ = made("conv2d")
    seen = []
    bound.module[0].register_forward_hook(lambda _m, _x, out: seen.append(out.requires_grad))
    sweep(bound, rows.x, rows.target, rows.loss, directions(bound, 1), layers="last")
    assert seen
    assert not any(seen)


def test_unknown_layers_are_refused():
    bound, rows, _ = made("conv2d")
    with pytest.raises(BadInput, match="no layer nowhere; it has: 0, 3"):
        sweep(bound, rows.x, rows.target, rows.loss, directions(bound, 1), layers=["nowhere"])


def test_frozen_parameters_have_no_gradient_and_stay_frozen():
    bound, rows, others = made("encoder")
    frozen = [p for name, p in zip(bound.names, bound.params, strict=True) if "layer" in name]
    for p in frozen:
        p.requires_grad_(False)
    mine, theirs, v = one_by_one(bound, rows).numpy(), one_by_one(bound, others).numpy(), directions(bound, 2)
    for kind in ("auto", "backward"):
        np.testing.assert_allclose(sweep(bound, rows.x, rows.target, rows.loss, v, kind=kind), mine @ v.numpy().T, **TOL)
    np.testing.assert_allclose(products(bound, others, rows), theirs @ mine.T, **TOL)
    assert not any(p.requires_grad for p in frozen)
    assert sum(p.requires_grad for p in bound.params) == len(bound.params) - len(frozen)


def test_rows_that_depend_on_each_other_are_refused():
    for layer, x in (
        (nn.BatchNorm1d(4, track_running_stats=False), numbers(4)(5)),
        (nn.Embedding(7, 4, scale_grad_by_freq=True), tokens(5)),
    ):
        width = 4 if x.is_floating_point() else 20
        bound = Bound(Arch(lambda layer=layer, width=width: headed(layer, width=width)), 0, "float64")
        with pytest.raises(BadInput, match="so no row has a gradient"):
            sweep(bound, x, torch.zeros(5, dtype=torch.int64), "cross_entropy", directions(bound, 1))


def test_named_inputs():
    bound = Bound(Arch(lambda: Net(lambda net, x: net.a(x["a"]) * net.b(x["b"]), a=nn.Linear(4, 3), b=nn.Linear(2, 3))), 0, "float64")
    x = {"a": numbers(4)(N), "b": numbers(2)(N)}
    y, v = torch.arange(N) % 3, directions(bound, 2)
    whole = torch.stack(
        [
            cat(torch.autograd.grad(F.cross_entropy(bound.module({k: t[i : i + 1] for k, t in x.items()}), y[i : i + 1]), bound.params))
            for i in range(N)
        ]
    )
    np.testing.assert_allclose(sweep(bound, x, y, "cross_entropy", v, 3), whole @ v.T, **TOL)
    np.testing.assert_allclose(gram(bound, Rows(x, y, "cross_entropy")), whole @ whole.T, **TOL)


@pytest.mark.parametrize("given", [torch.float64, torch.bfloat16, torch.float32])
def test_inputs_of_another_precision(given):
    bound = Bound(Arch(lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))), 0, "float32")
    exact = Bound(Arch(lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))), 0, "float64")
    exact.flat.copy_(bound.flat)
    x, y, v = torch.randn(9, 4).to(given), torch.randn(9).to(given), directions(bound, 2)
    expected = sweep(exact, x.double(), y.double(), "squared", v)
    for kind in ("auto", "forward", "backward"):
        np.testing.assert_allclose(sweep(bound, x, y, "squared", v.float(), kind=kind), expected, rtol=1e-4, atol=1e-5)


def test_half_precision_is_summed_in_single():
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(40, 8), nn.Tanh(), nn.Linear(8, 3))

    bound, exact = Bound(Arch(build), 0, "bfloat16"), Bound(Arch(build), 0, "float64")
    exact.flat.copy_(bound.flat)
    x, y, v = torch.randn(50, 40).bfloat16(), torch.arange(50) % 3, torch.randn(2, len(bound.flat))
    expected = sweep(exact, x.double(), y, "cross_entropy", v.double())
    found = sweep(bound, x, y, "cross_entropy", v)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    own = self_influence(bound, x, y, "cross_entropy")
    assert own.dtype == np.float32
    np.testing.assert_allclose(own, self_influence(exact, x.double(), y, "cross_entropy"), rtol=0.06)


def test_one_row_and_no_row():
    bound, rows, others = made("encoder")
    mine, v = truth("encoder")[0], directions(bound, 2)
    np.testing.assert_allclose(sweep(bound, rows.x[:1], rows.target[:1], rows.loss, v), mine[:1] @ v.numpy().T, **TOL)
    assert sweep(bound, rows.x[:0], rows.target[:0], rows.loss, v).shape == (0, 2)
    assert products(bound, others, rows.cut(slice(0, 0))).shape == (4, 0)
    assert self_influence(bound, rows.x[:0], rows.target[:0], rows.loss).shape == (0,)


def test_another_path_for_some_rows_is_refused():
    bound = Bound(
        Arch(lambda: Net(lambda net, x: net.b(net.a(x)) if len(x) > 3 else net.a(x), a=nn.Linear(3, 3), b=nn.Linear(3, 3))), 0, "float64"
    )
    for kind, said in (("ghost", "another path"), ("auto", "other outputs for a row alone")):
        with pytest.raises(BadInput, match=said):
            sweep(bound, numbers(3)(6), torch.zeros(6, dtype=torch.int64), "cross_entropy", directions(bound, 1), 6, kind)


@settings(max_examples=30, deadline=None)
@given(
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    groups=st.integers(1, 2),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    size=st.tuples(st.integers(5, 7), st.integers(5, 7)),
    turned=st.booleans(),
    q=st.integers(1, 5),
)
def test_any_convolution(channels, groups, kernel, stride, padding, dilation, size, turned, q):
    before, after = (c * groups for c in channels)
    layer = nn.ConvTranspose2d if turned else nn.Conv2d

    def build() -> nn.Module:
        conv = layer(before, after, kernel, stride, padding, dilation=dilation, groups=groups)
        return nn.Sequential(conv, nn.GELU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * after, 3))

    bound = Bound(Arch(build), 0, "float64")
    rows = Rows(images(before, *size)(3), torch.tensor([0, 1, 2]), "cross_entropy")
    mine, v = one_by_one(bound, rows).numpy(), directions(bound, q)
    np.testing.assert_allclose(sweep(bound, rows.x, rows.target, rows.loss, v), mine @ v.numpy().T, **TOL)
    np.testing.assert_allclose(gram(bound, rows), mine @ mine.T, **TOL)
