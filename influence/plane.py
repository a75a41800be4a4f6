"""Rows as points on a plane: principal components and UMAP of any number of rows, block by block, and which points an outline holds.

No row is kept beyond its block: what is held is two numbers per row, a matrix of D x D (for D up to 2,048), and for UMAP its sample.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from influence.errors import BadInput
from influence.types import Event, Report, ignore

Blocks = Callable[[], Iterable[np.ndarray]]
"""Rows (N, D) in blocks (B, D), from the first to the last; called again for each pass."""

EXACT = 2_048
"""Wider rows are brought to the plane by subspace iteration (Halko, Martinsson and Tropp, SIAM Review 53, 2011)."""
SPARE, ROUNDS = 6, 4
"""Directions beyond those wanted, and passes over the rows, of that iteration."""
NEIGHBOURS, WIDTH, BLOCK = 15, 50, 5_000
"""UMAP: rows that a row is to stay near, the principal components in which nearness is measured, and rows placed at a time."""
INSTALL = "UMAP needs umap-learn, which is not installed here. Install it with: pip install -r requirements-map.txt"


@dataclass(frozen=True)
class Axes:
    """Principal components of rows: `mean` (D,), `directions` (D, K) of length 1, `shares` (K,) of the rows' variance along each."""

    mean: np.ndarray
    directions: np.ndarray
    shares: np.ndarray

    def places(self, block: np.ndarray) -> np.ndarray:
        """Return where rows lie, (B, D) -> (B, K)."""
        return (block.astype(np.float64) - self.mean) @ self.directions


def axes(blocks: Blocks, kept: int = 2, report: Report = ignore) -> Axes:
    """Return the first principal components; directions that the rows do not have are 0.

    The sign of a component means nothing: its largest entry is made positive, so that the same rows lie the same way every time.
    """
    n, mean, spread = _moments(blocks, report)
    if spread.ndim == 2:
        values, vectors = np.linalg.eigh(spread)
        directions, along, total = vectors[:, ::-1][:, :kept], values[::-1][:kept], float(np.trace(spread))
    else:
        directions, along, total = *_iterated(blocks, mean, kept, report), float(spread.sum())
    directions, along = _padded(directions, kept), _padded(along, kept)
    gone = along <= max(total, 0.0) * 1e-12
    directions, along = np.where(gone, 0.0, directions), np.where(gone, 0.0, along)
    largest = directions[np.abs(directions).argmax(0), np.arange(kept)] if len(mean) else np.ones(kept)
    return Axes(mean, directions * np.where(largest < 0, -1.0, 1.0), along / total if total > 0 and n > 1 else along * 0)


def places(blocks: Blocks, found: Axes, report: Report = ignore) -> np.ndarray:
    """Return where all rows lie, (N, K)."""
    parts, done = [np.zeros((0, found.directions.shape[1]))], 0
    for block in blocks():
        parts.append(found.places(block))
        report(Event("place", done := done + len(block), 0))
    return np.concatenate(parts)


def _moments(blocks: Blocks, report: Report) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the number of rows, their mean, and their scatter about it: a matrix (D, D), or its diagonal where D is large."""
    n, total, spread, shift = 0, np.zeros(0), np.zeros((0, 0)), np.zeros(0)
    for block in blocks():
        if not n:  # sums about a point among the rows lose no digits to a mean that is far from 0
            width = block.shape[1]
            shift, total = block.mean(0, dtype=np.float64), np.zeros(width)
            spread = np.zeros((width, width) if width <= EXACT else width)
        centred = block.astype(np.float64) - shift
        n, total = n + len(block), total + centred.sum(0)
        spread += centred.T @ centred if spread.ndim == 2 else np.square(centred).sum(0)
        report(Event("measure", n, 0))
    off = total / max(n, 1)
    return n, shift + off, spread - n * (np.outer(off, off) if spread.ndim == 2 else np.square(off))


def _iterated(blocks: Blocks, mean: np.ndarray, kept: int, report: Report) -> tuple[np.ndarray, np.ndarray]:
    """Return the first directions of wide rows and the scatter along each, by subspace iteration."""
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((len(mean), kept + SPARE)))[0]
    for step in range(ROUNDS + 1):
        turned, seen = np.zeros_like(basis), np.zeros((basis.shape[1],) * 2)
        for block in blocks():
            centred = block.astype(np.float64) - mean
            along = centred @ basis
            turned, seen = turned + centred.T @ along, seen + along.T @ along
        report(Event("measure", step + 1, ROUNDS + 1))
        if step < ROUNDS:
            basis = np.linalg.qr(turned)[0]
    values, vectors = np.linalg.eigh(seen)
    return basis @ vectors[:, ::-1][:, :kept], values[::-1][:kept]


def _padded(found: np.ndarray, kept: int) -> np.ndarray:
    """Return an array with zeros behind its last axis up to `kept`."""
    return np.pad(found, [(0, 0)] * (found.ndim - 1) + [(0, kept - found.shape[-1])])


def umap_library() -> ModuleType | None:
    """Return the library of UMAP, or None where it is not installed."""
    try:
        return importlib.import_module("umap")
    except ImportError:
        return None


def umap(rows: np.ndarray, fitted: np.ndarray, report: Report = ignore) -> np.ndarray:
    """Lay out rows (N, K) so that near ones stay near, (N, 2): UMAP is fitted on the rows `fitted` (N,) bool and places the others.

    McInnes, Healy and Melville, arXiv:1802.03426. Seeded, in one thread; on another processor the places can differ.

    Raises:
        BadInput: the library is not installed, or there are too few rows.
    """
    library: Any = umap_library()
    if library is None:
        raise BadInput(INSTALL)
    if fitted.sum() <= NEIGHBOURS:
        raise BadInput(f"UMAP needs more than {NEIGHBOURS} rows; there are {int(fitted.sum())}. Look at the principal components instead.")
    report(Event("lay out", 0, len(rows), note=f"{int(fitted.sum()):,} rows to learn from"))
    laid = library.UMAP(n_neighbors=NEIGHBOURS, random_state=0, n_jobs=1).fit(rows[fitted])
    found = np.zeros((len(rows), 2))
    found[fitted], others = laid.embedding_, np.flatnonzero(~fitted)
    for start in range(0, len(others), BLOCK):
        at = others[start : start + BLOCK]
        found[at] = laid.transform(rows[at])
        report(Event("lay out", int(fitted.sum()) + start + len(at), len(rows)))
    return found


def inside(points: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Return which points (M, 2) lie inside an outline (K, 2), closed from its last corner to its first: by the even-odd rule.

    A point is inside if a ray to the right crosses an odd number of edges. Between two heights of corners the edges that can be crossed
    are the same, and few, so points are dealt with by such strips.
    """
    found = np.zeros(len(points), dtype=bool)
    if len(outline) < 3:
        return found
    (left, low), (right, high) = outline.min(0), outline.max(0)
    near = np.flatnonzero((points[:, 0] >= left) & (points[:, 0] <= right) & (points[:, 1] >= low) & (points[:, 1] < high))
    x, y = np.asarray(points[near], dtype=np.float64).T
    heights = np.unique(outline[:, 1])
    strip = np.searchsorted(heights, y, side="right") - 1
    order = np.argsort(strip, kind="stable")
    ends = np.searchsorted(strip[order], np.arange(len(heights)))
    edges = np.concatenate([outline, np.roll(outline, -1, axis=0)], axis=1)
    bottom, top = np.minimum(edges[:, 1], edges[:, 3]), np.maximum(edges[:, 1], edges[:, 3])
    for k in range(len(heights) - 1):
        at = order[ends[k] : ends[k + 1]]
        for x0, y0, x1, y1 in edges[(bottom <= heights[k]) & (top > heights[k])] if len(at) else ():
            found[near[at]] ^= x[at] < (x1 - x0) * (y[at] - y0) / (y1 - y0) + x0
    return found
