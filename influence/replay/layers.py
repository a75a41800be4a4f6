"""Layers in a form that autograd differentiates twice at less cost, their derivatives written by hand.

PyTorch's own second derivatives of GELU and of normalisations are long chains of elementary operations, and some cannot be batched over
questions. The backward functions below are functions of autograd themselves while a graph is wanted; without one, as in the second pass,
they are plain operations, which can be batched.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.autograd import Function


class _Gelu(Function):
    """Return x Phi(x). Both derivatives are kept: Phi + x phi and (2 - x²) phi, with phi the normal density."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        density = (x * x).mul_(-0.5).exp_().mul_(1 / math.sqrt(2 * math.pi))
        below = torch.erf(x * math.sqrt(0.5)).add_(1).mul_(0.5)
        out = x * below
        ctx.save_for_backward(x, below.addcmul_(x, density), density.mul_(2 - x * x))
        return out

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        x, slope, curve = ctx.saved_tensors
        return _GeluSlope.apply(g, x, slope, curve) if torch.is_grad_enabled() else g * slope


class _GeluSlope(Function):
    """Return g times the slope at x, whose derivative by g is the slope, and by x it is g times the curve."""

    @staticmethod
    def forward(ctx: Any, g: torch.Tensor, x: torch.Tensor, slope: torch.Tensor, curve: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(slope, g * curve)
        return g * slope

    @staticmethod
    def backward(ctx: Any, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        slope, curve = ctx.saved_tensors
        return u * slope, u * curve, None, None


class _Normal(Function):
    """Return x^ = (x - mean) r over the last dimension, and r = 1 / sqrt(variance + eps)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
        centred = x - x.mean(-1, keepdim=True)
        r = torch.rsqrt(centred.square().mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(out := centred.mul_(r), r)
        ctx.set_materialize_grads(False)
        return out, r

    @staticmethod
    def backward(ctx: Any, h: torch.Tensor, at_r: torch.Tensor | None) -> tuple[torch.Tensor, None]:
        out, r = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _NormalSlope.apply(h, out, r), None
        found = r * _across(h, out)
        return found if at_r is None else found - out * (at_r * r.square() / out.shape[-1]), None


class _NormalSlope(Function):
    """Return r (h - mean h - x^ mean(h x^)): linear and self-adjoint in h."""

    @staticmethod
    def forward(ctx: Any, h: torch.Tensor, out: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(h, out, r)
        return r * _across(h, out)

    @staticmethod
    def backward(ctx: Any, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        h, out, r = ctx.saved_tensors
        across = _across(u, out)
        by_out = -r * (u * _mean(h, out) + _mean(u, out) * h)
        return r * across, by_out, (across * h).sum(-1, keepdim=True)


def _across(h: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Return h without its mean and without its part along x^."""
    return h - h.mean(-1, keepdim=True) - out * _mean(h, out)


def _mean(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).mean(-1, keepdim=True)


class GELU(nn.GELU):
    """`nn.GELU`; its approximation by tanh is left to autograd."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x Phi(x)."""
        return _Gelu.apply(x) if self.approximate == "none" else super().forward(x)


class GroupNorm(nn.GroupNorm):
    """`nn.GroupNorm`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise, (B, C, ...) -> (B, C, ...)."""
        out: torch.Tensor = _Normal.apply(x.reshape(len(x), self.num_groups, -1), self.eps)[0].view_as(x)
        if not self.affine:
            return out
        wide = (1, -1, *[1] * (x.dim() - 2))
        return torch.addcmul(self.bias.view(wide), out, self.weight.view(wide))


class LayerNorm(nn.LayerNorm):
    """`nn.LayerNorm`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise over the last dimensions."""
        out: torch.Tensor = _Normal.apply(x.flatten(x.dim() - len(self.normalized_shape)), self.eps)[0].view_as(x)
        return (
            out if not self.elementwise_affine else out * self.weight if self.bias is None else torch.addcmul(self.bias, out, self.weight)
        )


FORMS: dict[type[nn.Module], type[nn.Module]] = {nn.GELU: GELU, nn.GroupNorm: GroupNorm, nn.LayerNorm: LayerNorm}


def elementary(module: nn.Module) -> None:
    """Put layers into a form that is cheap to differentiate twice, in place; values change by rounding only."""
    for layer in module.modules():
        if type(layer) in FORMS:
            layer.__class__ = FORMS[type(layer)]
