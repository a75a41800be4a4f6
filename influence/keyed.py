"""Everything random is keyed by (seed, purpose, id), never drawn in sequence.

So removing rows changes nothing for the others: the split, the place in an epoch and every draw of a row depend on that row alone.
The mixing function is the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd


def _mix(z: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _words(ids: np.ndarray) -> np.ndarray:
    """One 64-bit word per id: the integer itself, or a stable hash of the text."""
    if np.issubdtype(ids.dtype, np.integer):
        return ids.astype(np.int64).view(np.uint64)
    return pd.util.hash_array(np.asarray(ids, dtype=object), categorize=False)


def keys(seed: int, purpose: str, ids: np.ndarray) -> np.ndarray:
    """Return one pseudo-random 64-bit word per id, (N,) uint64."""
    salt = int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "little")
    with np.errstate(over="ignore"):
        return _mix(_mix(_words(ids) + np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(salt))


def uniform(seed: int, purpose: str, ids: np.ndarray) -> np.ndarray:
    """Return one draw from [0, 1) per id, (N,) float64."""
    return (keys(seed, purpose, ids) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def order(seed: int, epoch: int, ids: np.ndarray) -> np.ndarray:
    """Return the positions of `ids` in the order in which epoch `epoch` visits them, (N,) int64."""
    return np.argsort(keys(seed, f"epoch {epoch}", ids), kind="stable")
