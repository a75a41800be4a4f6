"""How much noise hides where a process of noisy steps began.

Two Gaussians of one variance whose means lie mu standard deviations apart are told apart by the privacy loss (epsilon, delta) with

    delta = Phi(mu / 2 - epsilon / mu) - e^epsilon Phi(-mu / 2 - epsilon / mu)

exactly (Balle and Wang, arXiv:1805.06530, theorem 8), and so is whatever is no better told apart than these (Dong, Roth and Su,
arXiv:1905.02383, corollary 2.13).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

WIDE = 1e6
"""Distance in standard deviations up to which is searched."""


def delta_of(epsilon: float, mu: float) -> float:
    """Return the smallest delta at which two Gaussians mu standard deviations apart are (epsilon, delta)-indistinguishable."""
    return float(norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon + norm.logcdf(-mu / 2 - epsilon / mu)))


def allowed(epsilon: float, delta: float) -> float:
    """Return how many standard deviations apart two Gaussians may be to be (epsilon, delta)-indistinguishable, and not more."""
    return float(brentq(lambda mu: delta_of(epsilon, mu) - delta, 1e-9, WIDE, xtol=1e-12, rtol=1e-12))


def sensitivity(apart: float, kept: float, moved: float, steps: int) -> float:
    """Return how far apart two processes of noisy steps are, in standard deviations of a step's noise times that deviation.

    They begin `apart` from each other; each step leaves `kept` of what lies between them, adds at most `moved`, and then noise. Let one be
    led towards the other by a_t before step t's noise, so that they meet after the last (the shifted process of Feldman, Mironov, Talwar
    and Thakurta, arXiv:1808.06651, here as Bok, Su and Altschuler, arXiv:2403.00278, have it for Gaussians). Then, whatever the steps
    were, the two are told apart no better than Gaussians (sum a_t²)^½ / sigma apart. What has to be made up is
    kept^T apart + moved (1 + kept + ... + kept^(T - 1)) = sum kept^(T - t) a_t; the smallest sum of squares has a_t ~ kept^(T - t).
    """
    powers = kept ** np.arange(steps)
    return float((kept**steps * apart + moved * powers.sum()) / np.sqrt(np.square(powers).sum()))
