"""Layers whose second derivatives are written by hand: those of PyTorch's own layers, one question at a time and batched."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from influence.replay.layers import FORMS, elementary

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "gelu": (nn.GELU, (3, 6)),
    "gelu by tanh": (lambda: nn.GELU("tanh"), (3, 6)),
    "group norm": (lambda: nn.GroupNorm(2, 4), (3, 4, 3, 2)),
    "group norm, not affine": (lambda: nn.GroupNorm(2, 4, affine=False), (3, 4, 5)),
    "layer norm": (lambda: nn.LayerNorm(5), (3, 2, 5)),
    "layer norm over two": (lambda: nn.LayerNorm((2, 5)), (3, 2, 5)),
    "layer norm, not affine": (lambda: nn.LayerNorm(5, elementwise_affine=False), (3, 2, 5)),
    "layer norm without bias": (lambda: nn.LayerNorm(5, bias=False), (3, 2, 5)),
}


def derivatives(layer: nn.Module, shape: tuple[int, ...], batched: bool) -> list[torch.Tensor]:
    """Values, gradients, and products of the Hessian with three vectors, of a scalar that bends in the layer's outputs."""
    generator = torch.Generator().manual_seed(1)
    x, w = (torch.randn(*shape, dtype=torch.float64, generator=generator) for _ in range(2))
    x[0] *= 3
    wanted = [x.requires_grad_(), *layer.parameters()]
    out = layer(x)
    grads = torch.autograd.grad((out.tanh() * w).sum(), wanted, create_graph=True)
    vectors = [torch.randn(3, *g.shape, dtype=torch.float64, generator=generator) for g in grads]
    if batched:
        found = torch.autograd.grad(grads, wanted, vectors, is_grads_batched=True, materialize_grads=True)
    else:
        alone = [torch.autograd.grad(grads, wanted, [v[q] for v in vectors], retain_graph=True, materialize_grads=True) for q in range(3)]
        found = tuple(torch.stack(pieces) for pieces in zip(*alone, strict=True))
    return [out.detach(), *(g.detach() for g in grads), *found]


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_derivatives_are_those_of_the_layer_of_pytorch(kind, batched):
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    layer = make().double()
    for p in layer.parameters():
        p.data = torch.randn_like(p)
    ours = make().double()
    ours.load_state_dict(layer.state_dict())
    elementary(nn.Sequential(ours))
    assert type(ours) is FORMS[type(layer)]
    expected = derivatives(layer, shape, batched=False)
    for found, exact in zip(derivatives(ours, shape, batched), expected, strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-11)
