"""Rows as plain numbers, for whatever compares rows with each other: the encoded inputs; of texts how often each token occurs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from influence.types import Examples, leaves

TOKENS = 512
"""Groups of tokens that are counted in texts."""
BLOCK = 4_000_000
"""Numbers that a block of rows holds at most."""


def tokens_of(examples: Examples) -> np.ndarray | None:
    """Return the tokens of texts (N, T), 0 for none; None where the rows are no texts. Those of Hugging Face come by name, with a mask."""
    if isinstance(examples.x, Mapping) and "input_ids" in examples.x:
        tokens = np.asarray(examples.x["input_ids"])
        return np.where(examples.x.get("attention_mask", np.ones_like(tokens)), tokens + 1, 0)
    parts = leaves(examples.x)
    return parts[0] if len(parts) == 1 and parts[0].ndim == 2 and parts[0].dtype.kind in "iu" else None


def blocks(examples: Examples) -> Iterator[np.ndarray]:
    """Yield rows as numbers (B, D), float64, from the first to the last, a block at a time."""
    parts, tokens = leaves(examples.x), tokens_of(examples)
    width = sum(part[:1].size for part in parts) if tokens is None else TOKENS
    for cut in _cuts(len(examples), max(1, BLOCK // max(1, width))):
        yield counted(np.asarray(tokens[cut])) if tokens is not None else _flat([np.asarray(part[cut]) for part in parts])


def _flat(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([part.reshape(len(part), -1).astype(np.float64) for part in parts], axis=1)


def _cuts(n: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, n, size))


def counted(tokens: np.ndarray, groups: int = TOKENS) -> np.ndarray:
    """Return texts of token ids (B, T), 0 for none, as the root of how often each group of tokens occurs, (B, groups), of length 1.

    Roots of shares (Hellinger's distance): long texts are not a place of their own, and frequent words count less.
    """
    rows, at = np.nonzero(tokens)
    found = np.zeros((len(tokens), groups))
    np.add.at(found, (rows, tokens[rows, at] % groups), 1.0)
    return np.sqrt(found / np.maximum(found.sum(1, keepdims=True), 1.0))
