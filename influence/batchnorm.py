"""Batch statistics in which each row counts by its weight, so that a removed row has no part in them.

BatchNorm (Ioffe and Szegedy, arXiv:1502.03167) lets the rows of a batch see each other. With mean = sum w_i x_i / sum w_i, and the variance
alike, a row of weight 0 is as if it were not there, and the statistics are smooth functions of the weights. The factor n / (n - 1) of the
running variance counts places, not weights: like the denominator of the batch's loss, it stays as it is when rows go.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from influence.errors import BadInput


class Weighted(_BatchNorm):
    """A batch normalisation that knows what the rows weigh.

    `weights`: (B,), or None for PyTorch's own arithmetic with all weights 1. `remembered`: where these are None, which rows the running
    statistics are of, (B,) bool; None: all. `rows`: how many places the batch has (None: B). `followed`: autograd follows the running
    statistics too, in training (from the old to the new ones) and in evaluation mode.
    """

    weights: torch.Tensor | None = None
    remembered: torch.Tensor | None = None
    rows: int | None = None
    followed: bool = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise, (B, C, ...) -> (B, C, ...).

        Raises:
            BadInput: a batch of one value per channel has no statistics.
        """
        if not self.training:
            if self.followed and self.running_mean is not None and self.running_var is not None:
                return self._normalised(x, self.running_mean, self.running_var)
            return super().forward(x)
        if x.numel() == x.shape[1]:
            raise BadInput(
                "A batch of one row has no batch statistics (BatchNorm). Choose a batch size that leaves no single row over, or GroupNorm."
            )
        if self.weights is None:
            return self._unweighted(x)
        if not bool(self.weights.sum() > 0):  # every row is gone: nothing is learnt, and the statistics stay
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.running_mean is None, 0.0, self.eps)
        mean, variance = self._statistics(x)
        if self.running_mean is not None:
            n = (self.rows or len(x)) * x[0].numel() // x.shape[1]
            self._remember(mean, variance * n / (n - 1))
        return self._normalised(x, mean, variance)

    def _statistics(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the weighted mean and (biased) variance of each channel, (C,) each."""
        assert self.weights is not None
        over = (0, *range(2, x.dim()))
        share = (self.weights / self.weights.sum() * (x.shape[0] * x.shape[1] / x.numel())).view(-1, *[1] * (x.dim() - 1))
        mean = (x * share).sum(over)
        return mean, ((x - _wide(mean, x)).square() * share).sum(over)

    def _unweighted(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise by all rows; those that are remembered go into the running statistics, unless it is a single value."""
        if self.remembered is None:
            return super().forward(x)
        known, over = x.detach()[self.remembered], (0, *range(2, x.dim()))
        if self.running_mean is not None and known.numel() > x.shape[1]:
            self._remember(known.mean(over), known.var(over))
        return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)

    def _remember(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        by = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        with torch.set_grad_enabled(self.followed):
            self.running_mean = self.running_mean * (1 - by) + mean * by
            self.running_var = self.running_var * (1 - by) + variance * by

    def _normalised(self, x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
        scale = torch.rsqrt(variance + self.eps) if self.weight is None else self.weight * torch.rsqrt(variance + self.eps)
        out = (x - _wide(mean, x)) * _wide(scale, x)
        return out if self.bias is None else out + _wide(self.bias, x)


def _wide(channels: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return channels.view(1, -1, *[1] * (x.dim() - 2))


class BatchNorm1d(Weighted, nn.BatchNorm1d):
    """`nn.BatchNorm1d` with weights."""


class BatchNorm2d(Weighted, nn.BatchNorm2d):
    """`nn.BatchNorm2d` with weights."""


class BatchNorm3d(Weighted, nn.BatchNorm3d):
    """`nn.BatchNorm3d` with weights."""


KINDS: dict[type[nn.Module], type[Weighted]] = {nn.BatchNorm1d: BatchNorm1d, nn.BatchNorm2d: BatchNorm2d, nn.BatchNorm3d: BatchNorm3d}


def weighted(module: nn.Module) -> list[Weighted]:
    """Teach all batch normalisations of a module to weigh rows, in place, and return them.

    Raises:
        BadInput: one is of a kind that is not known here.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    for layer in layers:
        if type(layer) in KINDS:
            layer.__class__ = KINDS[type(layer)]
        elif not isinstance(layer, Weighted):
            raise BadInput(f"{type(layer).__name__} is not known here. Use nn.BatchNorm1d, 2d or 3d, or GroupNorm.")
    return [layer for layer in layers if isinstance(layer, Weighted)]
