"""What an attack finds while it hardly ever raises a false alarm (Carlini et al., arXiv:2112.03570, section 3)."""

from __future__ import annotations

import numpy as np

RATES = (0.01, 0.001)
ALARMS = 10
"""False alarms that a rate must rest on: with fewer, one row more or less decides."""


def enough(others: int, rate: float) -> bool:
    """Whether so many rows that are no members say something of what happens at a false-positive rate."""
    return others * rate >= ALARMS - 1e-9


def found_at(members: np.ndarray, others: np.ndarray, rate: float) -> float:
    """Return the share of members that score above all but `rate` of the others; NaN where these are too few to say.

    The rate is kept, not met: of equal scores at the threshold none counts as found.
    """
    if not enough(len(others), rate):
        return float("nan")
    allowed = int(rate * len(others) + 1e-9)
    threshold = np.sort(others)[len(others) - 1 - allowed]
    return float((members > threshold).mean())
