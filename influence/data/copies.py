"""Rows that are copies of each other, within one role or across several: exact ones, and near ones.

Exact copies have equal inputs: rows of equal 64-bit hashes, which are then compared number by number; any number of rows. Near copies of
tables and images differ, as a root mean square over their inputs, by at most a distance; those of texts in at most that share of the runs
of three tokens that either has (1 less Jaccard's similarity; Broder, SEQUENCES 1997). Each different row is linked with its nearest
others within the distance, and rows that are linked, however far round, are one cluster.

No search is quadratic. Of numbers a k-d tree is asked, whose branches beyond the distance are cut; candidates among texts are those that
agree in a band of MinHash signatures, and are then compared exactly. Of more different rows than hold `MOST` numbers only some, drawn by
id, are searched for near copies; exact ones are found among all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from influence.data.represented import blocks, tokens_of
from influence.data.shingles import near_texts
from influence.keyed import uniform
from influence.types import Examples, leaves

CELLS = 4_000_000
"""Cells that are hashed at a time."""
MOST = 5_000_000
"""Numbers of different rows among which near copies are looked for."""
NEAREST, ASKED = 8, 8_192
"""Nearest rows with which one is linked, and rows that are asked for them at a time."""
ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Copies:
    """`cluster`: (N,) a number for rows that have copies, the same for each other's, and -1 for all else; `searched`: see below.

    `searched`: among how many different rows near copies were looked for; `different`: how many different rows there are.
    """

    cluster: np.ndarray
    searched: int
    different: int


def copies(parts: Sequence[Examples], distance: float = 0.0) -> Copies:
    """Return the clusters of copies among the rows of all parts, one after the other. `distance`: 0 for exact copies alone."""
    same, first = _exact(parts)
    links, searched = _near(parts, first, distance) if distance > 0 else (np.zeros((0, 2), dtype=np.int64), 0)
    u = len(first)
    graph = sparse.coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(u, u))
    joined = connected_components(graph, directed=False)[1][same] if len(links) else same
    counts = np.bincount(joined)
    number = np.where(counts > 1, np.cumsum(counts > 1) - 1, -1)
    return Copies(number[joined], searched, u)


def hashes(rows: Examples) -> np.ndarray:
    """Return a 64-bit hash of each row's inputs, (N,): equal for equal numbers."""
    total = np.zeros(len(rows), dtype=np.uint64)
    for x in leaves(rows.x):
        flat = np.asarray(x).reshape(len(rows), -1)
        for rows_of in np.array_split(np.arange(len(rows)), max(1, flat.size // CELLS)) if flat.size else []:
            cut = slice(rows_of[0], rows_of[-1] + 1)
            for start in range(0, flat.shape[1], 1024):
                block = pd.DataFrame(flat[cut, start : start + 1024] + 0)  # + 0: minus zero is zero
                with np.errstate(over="ignore"):
                    total[cut] = total[cut] * ODD + pd.util.hash_pandas_object(block, index=False).to_numpy()
    return total


def labelled(found: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return hashes of rows with their targets, of hashes of rows (N,) and targets (N,)."""
    with np.errstate(over="ignore"):
        return found * ODD + pd.util.hash_array(np.asarray(y))


def _exact(parts: Sequence[Examples]) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row the number of its different row (N,), and for each of these the place of its first row (U,)."""
    found = np.concatenate([hashes(part) for part in parts])
    _, first, same = np.unique(found, return_index=True, return_inverse=True)
    twins = np.flatnonzero(first[same] != np.arange(len(same)))
    strange = twins[~_equal(parts, twins, first[same[twins]])]  # another row of the same hash
    same[strange] = len(first) + np.arange(len(strange))
    return same, np.concatenate([first, strange])


def _equal(parts: Sequence[Examples], one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return whether rows at these places have equal inputs, (K,) bool."""
    equal = np.ones(len(one), dtype=bool)
    ends = np.cumsum([0, *map(len, parts)])
    of = [np.searchsorted(ends, at, side="right") - 1 for at in (one, other)]
    for a, first in enumerate(parts):
        for b, second in enumerate(parts):
            at = np.flatnonzero((of[0] == a) & (of[1] == b))
            for some in np.array_split(at, max(1, len(at) // 4096)) if len(at) else []:
                for x, y in zip(leaves(first.x), leaves(second.x), strict=True):
                    mine, others = x[one[some] - ends[a]], y[other[some] - ends[b]]
                    equal[some] &= (mine == others).reshape(len(some), -1).all(1)
    return equal


def _near(parts: Sequence[Examples], first: np.ndarray, distance: float) -> tuple[np.ndarray, int]:
    """Return pairs of places in `first` that are near copies (L, 2), and among how many rows they were looked for."""
    chosen = _bounded(parts, first)
    at = np.sort(first[chosen])
    chosen = chosen[np.argsort(first[chosen], kind="stable")]
    ends = np.cumsum([0, *map(len, parts)])
    some = [part.take(at[(at >= ends[k]) & (at < ends[k + 1])] - ends[k]) for k, part in enumerate(parts)]
    tokens = [tokens_of(part) for part in some]
    if all(of is not None for of in tokens):
        links = near_texts([np.asarray(of) for of in tokens], distance)
    else:
        rows = np.concatenate([block.astype(np.float32) for part in some if len(part) for block in blocks(part)])
        links = _near_numbers(rows, distance * rows.shape[1] ** 0.5)
    return chosen[links], len(chosen)


def _bounded(parts: Sequence[Examples], first: np.ndarray) -> np.ndarray:
    """Return the places in `first` of the rows among which near copies are looked for: all, or as many as are affordable, by id."""
    width = sum(part[:1].size for part in leaves(parts[0].x))
    most = max(2, MOST // max(1, width))
    if len(first) <= most:
        return np.arange(len(first))
    drawn = np.concatenate([uniform(0, "copies", part.ids) for part in parts])
    return np.sort(np.argsort(drawn[first], kind="stable")[:most])


def _near_numbers(rows: np.ndarray, distance: float) -> np.ndarray:
    """Return pairs of rows (L, 2) that lie within a Euclidean distance: of each row its nearest ones."""
    tree, found, bound = cKDTree(rows), [np.zeros((0, 2), dtype=np.int64)], float(np.nextafter(np.float64(distance), np.inf))
    for start in range(0, len(rows), ASKED):
        apart, near = tree.query(rows[start : start + ASKED], min(NEAREST + 1, len(rows)), distance_upper_bound=bound)
        one, place = np.nonzero(np.isfinite(apart).reshape(len(apart), -1))
        other = near.reshape(len(apart), -1)[one, place]
        found.append(np.stack([one + start, other], 1)[one + start != other])
    return np.concatenate(found)
