"""Texts that are nearly the same, by the runs of three tokens (shingles) that they share.

MinHash (Broder, SEQUENCES 1997): the chance that the smallest hash of two sets is the same is their Jaccard similarity s. Of 64 such
hashes, cut into bands of r, a whole band agrees in 1 - (1 - s^r)^(64 / r) of the pairs (Leskovec, Rajaraman and Ullman, Mining of Massive
Datasets, ch. 3): r is chosen so that of the pairs wanted few are missed. Those that agree are compared exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

HASHES = 64
BANDS = {0.25: 4, 0.6: 2, 1.0: 1}
"""Hashes of a band, by the largest distance for which it serves."""
SIZE = 3
BLOCK = 2_000_000
"""Tokens, or pairs, that are looked at together."""
NONE = np.uint64(2**64 - 1)


def near_texts(parts: Sequence[np.ndarray], distance: float) -> np.ndarray:
    """Return pairs of texts (L, 2) that differ in at most the share `distance` of their shingles; parts: tokens (N, T), 0 for none."""
    width = max(part.shape[1] for part in parts)
    tokens = np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])
    hashed = [_shingles(tokens[cut]) for cut in _cuts(len(tokens), max(1, BLOCK // max(1, width)))]
    pairs = _candidates(np.concatenate([_signatures(block) for block in hashed]), next(r for most, r in BANDS.items() if distance <= most))
    sets = sparse.vstack([_sets(block) for block in _numbered(hashed)], format="csr") if len(pairs) else None
    found = [np.zeros((0, 2), dtype=np.int64)]
    for cut in _cuts(len(pairs), max(1, BLOCK // max(1, width))):
        some = pairs[cut]
        sizes = np.diff(sets.indptr)  # type: ignore[union-attr]
        shared = np.asarray(sets[some[:, 0]].multiply(sets[some[:, 1]]).sum(1)).ravel()  # type: ignore[index]
        either = sizes[some].sum(1) - shared
        found.append(some[shared >= (1 - distance) * either - 1e-9])
    return np.concatenate(found)


def _cuts(n: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, n, size)]


def _mixed(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _shingles(tokens: np.ndarray) -> np.ndarray:
    """Return hashes of the shingles of texts (B, T), `NONE` where there is none; a text of fewer tokens is one shingle."""
    given = np.pad(tokens, ((0, 0), (0, SIZE - 1))).astype(np.uint64)
    t, total = tokens.shape[1], np.zeros(tokens.shape, dtype=np.uint64)
    for k in range(SIZE):
        total = _mixed(total + given[:, k : k + t] + np.uint64(0x9E3779B97F4A7C15))
    whole = given[:, SIZE - 1 : SIZE - 1 + t] > 0
    whole[:, 0] = tokens[:, 0] > 0
    return np.where(whole, total, NONE)


def _signatures(shingles: np.ndarray) -> np.ndarray:
    """Return the smallest hash of each text's shingles under 64 hash functions, (B, 64)."""
    there, salts = shingles != NONE, _mixed(np.arange(1, HASHES + 1, dtype=np.uint64))
    return np.stack([np.where(there, _mixed(shingles ^ salt), NONE).min(1) for salt in salts], 1)


def _candidates(signatures: np.ndarray, each: int) -> np.ndarray:
    """Return pairs that agree in a band of `each` hashes: of the texts that do, each with the first of them and with the one before it."""
    pairs, known = [np.zeros((0, 2), dtype=np.int64)], np.flatnonzero(signatures[:, 0] != NONE)
    for band in range(0, HASHES, each):
        key = np.zeros(len(known), dtype=np.uint64)
        for k in range(band, band + each):
            key = _mixed(key ^ signatures[known, k])
        order = np.argsort(key, kind="stable")
        begins = np.concatenate([[True], key[order][1:] != key[order][:-1]])[: len(order)]
        first = order[np.flatnonzero(begins)[np.cumsum(begins) - 1]] if len(order) else order
        later = np.flatnonzero(~begins)
        pairs += [np.stack([known[first[later]], known[order[later]]], 1), np.stack([known[order[later - 1]], known[order[later]]], 1)]
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def _numbered(hashed: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return shingles by their numbers among all, -1 where there is none."""
    known = np.unique(np.concatenate([np.unique(block) for block in hashed]))
    return [np.where(block != NONE, np.searchsorted(known, block), -1) for block in hashed]


def _sets(numbers: np.ndarray) -> sparse.csr_array:
    rows, at = np.nonzero(numbers >= 0)
    pairs = np.unique(np.stack([rows, numbers[rows, at]], 1), axis=0)
    width = 2**31 - 1
    return sparse.csr_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(numbers), width))
