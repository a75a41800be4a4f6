"""How much damping: what training left undone, from the recipe or read off the final weights.

Near its end training is gradient descent on a quadratic. After a time tau (the sum of step sizes, times 1 / (1 - momentum)) a direction of
curvature h, decay included, has answered to the data by (1 - e^(-h tau)) / h, not by 1/h: a direction is learnt if h tau is large (Bae et
al., arXiv:2405.12186, section 3.2). The damping d that makes the ridge 1 / (decay + d) equal that at no curvature,

    d = decay / (e^(decay tau) - 1),   1 / tau without decay,

makes Tikhonov's filter 1 / (h + d) follow it everywhere, and vanishes where decay had its time. It is not a setting of taste: it is the
time of training. Where no recipe tells tau, the weights do (`from_weights`). Gradients that were clipped had less time than the step sizes
say, so that the d of those is the least.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from influence.curvature.blocks import matrices
from influence.curvature.ekfac import EKFAC
from influence.curvature.ggn import gradient
from influence.optim import step_sizes
from influence.types import Recipe

LEAST = 16
"""Directions in a band."""
BAND = 10**0.5
"""Ratio of the largest and the smallest curvature in a band."""
FEW = 5
"""From so many bands on, each is taken with its neighbours: one alone may be the noise of the last steps."""
FAINT = 0.01
"""Ratios below this share of the largest are noise."""
FLOOR = 1e-8
"""Smallest damping, as a share of the largest eigenvalue."""


def decay(recipe: Recipe | None) -> float:
    """Return the weight decay that is part of the objective; decoupled decay (AdamW) is none."""
    return recipe.weight_decay if recipe is not None and recipe.optimizer != "adamw" else 0.0


def from_recipe(recipe: Recipe, n: int) -> float | None:
    """Return the damping that stands for the time of a training by SGD on n rows; None where gradients are rescaled or clipped."""
    if recipe.optimizer != "sgd" or recipe.max_norm:
        return None
    tau = time(recipe, n)
    return recipe.weight_decay / math.expm1(min(recipe.weight_decay * tau, 700.0)) if recipe.weight_decay else 1 / tau


def time(recipe: Recipe, n: int) -> float:
    """Return how long a training on n rows was, as gradient flow: the sum of its step sizes, which momentum of SGD makes so much longer."""
    steps = recipe.epochs * math.ceil(n / recipe.batch_size)
    return sum(step_sizes(recipe, steps)) / (1 - recipe.momentum if recipe.optimizer == "sgd" else 1.0)


def time_of(ridge: float, decay: float) -> float:
    """Return the time for which a damping stands beside this decay."""
    return math.log1p(decay / ridge) / decay if decay > 0 else 1 / ridge


def chosen(factors: EKFAC, recipe: Recipe | None) -> float:
    """Return the damping that the recipe shows, or else the weights.

    At least what the recipe would show without clipping, and what a solve in the model's number format needs.
    """
    known = from_recipe(recipe, factors.of.n) if recipe is not None else None
    least = from_recipe(replace(recipe, max_norm=0.0), factors.of.n) if recipe is not None else None
    found = from_weights(factors) - factors.of.decay if known is None else known
    return max(found, least or 0.0, FLOOR * float(factors.spectrum()[0].max()))


def from_weights(factors: EKFAC) -> float:
    """Return the ridge (decay and damping together) that the final weights show.

    At weights theta that minimise loss + ridge / 2 |theta|² the loss has the gradient -ridge theta, so -<gradient, theta> / |theta|² is the
    ridge along any band of directions. Where training stopped at tau instead, gradient descent on a quadratic leaves

        ratio(h) = decay + (h + decay) / (e^((h + decay) tau) - 1)

    along directions of curvature h that it moved; where it hardly moved, initial weights lessen the ratio. Decay and tau are fitted to the
    bands from the most curved to the one with the largest ratio.
    """
    h, g, theta = (part.double().numpy(force=True) for part in _along(factors))
    curvature, ratios = _bands(h, g, theta)
    smooth = ratios if len(ratios) < FEW else np.array([_median(ratios[max(k - 1, 0) : k + 2]) for k in range(len(ratios))])
    top = int(smooth.argmax())
    shown = smooth[: top + 1] > 0
    return _fitted(curvature[: top + 1][shown], smooth[: top + 1][shown]) if smooth[top] > 0 else 0.0


def _median(ratios: np.ndarray) -> float:
    """Return the middle one; of two, the smaller."""
    return float(np.sort(ratios)[(len(ratios) - 1) // 2])


def _fitted(h: np.ndarray, ratios: np.ndarray) -> float:
    """Fit decay and tau to the ratios of bands by least squares of logarithms, on a grid; return the ridge at no curvature."""
    largest = float(ratios.max())
    decays = largest * np.append(0.0, np.logspace(-3, 0.2, 49))[:, None, None]
    taus = np.logspace(-2, 3, 151)[None, :, None] / largest
    curved = h + decays
    found = decays + curved / np.expm1(np.minimum(curved * taus, 600.0))
    faint = FAINT * largest
    error = np.square(np.log(ratios.clip(min=faint)) - np.log(found.clip(min=faint))).sum(-1)
    k, j = np.unravel_index(error.argmin(), error.shape)
    decay, tau = float(decays[k, 0, 0]), float(taus[0, j, 0])
    return decay / -math.expm1(-decay * tau) if decay else 1 / tau


def _along(factors: EKFAC) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return curvature, gradient of the mean loss, and weights, along the factors' directions, (P,) each."""
    of = factors.of
    pair = torch.stack([gradient(of), of.bound.flat])
    turned = [block.into(matrices(block.shape, of.bound.views(pair))).flatten(1) for block in factors.blocks]
    g, theta = torch.cat(turned, 1)
    return factors.spectrum()[0], g, theta


def _bands(h: np.ndarray, g: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean curvature and -<g, theta> / |theta|² of each band of directions, from the most to the least curved."""
    order = np.argsort(-h, kind="stable")
    h, g, theta = h[order].clip(min=0), g[order], theta[order]
    means, ratios, start = [], [], 0
    while start < len(h):
        stop = max(int(np.searchsorted(-h, -h[start] / BAND, side="right")), start + LEAST)
        stop = len(h) if len(h) - stop < LEAST else stop
        weight = theta[start:stop] ** 2
        means.append(float(np.average(h[start:stop], weights=weight)) if weight.any() else 0.0)
        ratios.append(-float(g[start:stop] @ theta[start:stop]) / float(weight.sum()) if weight.any() else 0.0)
        start = stop
    return np.array(means), np.array(ratios)
