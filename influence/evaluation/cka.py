"""How alike two models see the same rows: linear centred kernel alignment (CKA; Kornblith, Norouzi, Lee and Hinton, ICML 2019, eq. 4).

With the unbiased estimate of HSIC (Song, Smola, Gretton, Bedo and Borgwardt, JMLR 2012): the plain one is too high where there are more
features than rows. Of kernels without their diagonals, centred so that all sums are 0, it is the cosine (Székely and Rizzo, The Annals of
Statistics 2014): 1 for features that are the same but for a rotation, a scale and a shift, about 0 for unrelated ones.
"""

from __future__ import annotations

import numpy as np

from influence.evaluation._tables import Interval, Z

LEAST = 10
"""Fewer rows than this say nothing of how alike two models see them."""


def kernel(features: np.ndarray) -> np.ndarray:
    """Return the products of all pairs of rows of features (n, ...), (n, n), with 0 for a row with itself."""
    flat = features.reshape(len(features), -1)
    flat = flat - flat.mean(0, dtype=np.float64).astype(flat.dtype)  # a shift changes nothing, and costs digits
    found = (flat @ flat.T).astype(np.float64)
    np.fill_diagonal(found, 0.0)
    return found


def cka(first: np.ndarray, second: np.ndarray) -> tuple[float, Interval]:
    """Return the CKA of two kernels (n, n) of the same rows and its 95 % interval: the jackknife's, on the scale of artanh.

    NaN for fewer than ten rows, or where one model sees all rows alike.
    """
    n = len(first)
    if n < LEAST:
        return np.nan, (np.nan, np.nan)
    pairs = ((first, second), (first, first), (second, second))
    (across, own, other), without = zip(*(_hsic(*pair) for pair in pairs), strict=True)
    if any(mine <= 1e-12 * max(float(np.square(k).mean()), 1e-300) for mine, k in ((own, first), (other, second))):
        return np.nan, (np.nan, np.nan)
    found = float(np.clip(across / np.sqrt(own * other), -1.0, 1.0))
    spread = np.sqrt(np.maximum(without[1] * without[2], 1e-300))
    left_out = np.clip(without[0] / spread, -1.0, 1.0)
    if 1 - abs(found) < 1e-9:
        return found, (found, found)
    turned = np.arctanh(np.clip(left_out, -1 + 1e-12, 1 - 1e-12))
    half = Z * float(np.sqrt((n - 1) / n * np.square(turned - turned.mean()).sum()))
    middle = np.arctanh(found)
    return found, (float(np.tanh(middle - half)), float(np.tanh(middle + half)))


def _hsic(first: np.ndarray, second: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the unbiased HSIC of two kernels without their diagonals, and that without each row in turn, (n,)."""
    n, k, m = len(first), first.sum(1), second.sum(1)
    both = np.einsum("ij,ij->i", first, second)
    whole = _unbiased(n, both.sum(), k.sum(), m.sum(), k @ m)
    products = k @ m - k * m - first @ m - second @ k + both
    return float(whole), _unbiased(n - 1, both.sum() - 2 * both, k.sum() - 2 * k, m.sum() - 2 * m, products)


def _unbiased(n: int, together: np.ndarray, first: np.ndarray, second: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Return HSIC from the sums of the kernels' products, of each kernel, and of the products of their row sums."""
    return (together + first * second / ((n - 1) * (n - 2)) - 2 * products / (n - 2)) / (n * (n - 3))
