"""Rows that are copies of other rows: equal in every input, or nearly so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from influence.data.copies import copies
from influence.errors import BadInput
from influence.registry import finders, option
from influence.types import Examples, Scores, Selection

WORDS = {
    "copies": "rows that are copies of a row before them",
    "all": "rows that have copies",
    "conflicting": "rows that have copies with another label",
    "across": "rows that copy an evaluation or holdout row",
}
LABELS = ("Cluster of copies", "Copies an evaluation or holdout row")
"""Of scores that hold what the action `duplicates` found: nothing is searched again then, and the other roles are known."""


@finders
@dataclass(frozen=True)
class Duplicates:
    """Rows that are copies of each other in their inputs, exactly or nearly; equal rows may still be two people.

    A distance is a root mean square over encoded inputs (pixels from 0 to 1), or of texts the share of runs of three tokens that differ.
    """

    distance: float = option(0.0, "Largest distance between copies; 0: exact ones alone", min=0.0, max=1.0)
    which: Literal["copies", "all", "conflicting", "across"] = option(
        "copies",
        "copies: all but the first of each cluster; all; conflicting: all of clusters with differing labels; across: those that copy an "
        "evaluation or holdout row (on Suspects alone)",
    )

    def __call__(self, scores: Scores | None, examples: Examples) -> Selection:
        """Return the selection, cluster by cluster.

        Raises:
            BadInput: there are no such rows, or those across the split are asked for without what the action `duplicates` found.
        """
        known = scores if scores is not None and scores.labels == LABELS else None
        if self.which == "across" and known is None:
            raise BadInput("A finder sees the training rows alone. Look for copies across the split on the page Suspects.")
        cluster = known.column(LABELS[0]).astype(np.int64) if known else copies([examples], self.distance).cluster
        across = known.column(LABELS[1]) > 0 if known else np.zeros(len(cluster), dtype=bool)
        at = np.flatnonzero(across if self.which == "across" else chosen(cluster, examples.y, self.which))
        near = f", within a distance of {self.distance:g}" if self.distance else ""
        words = f"{WORDS[self.which]}{near}"
        if not len(at):
            raise BadInput(f"There are no {words}. Allow a larger distance.")
        ids = examples.ids[at[np.argsort(cluster[at], kind="stable")]]
        reason = {"rule": "duplicates", "distance": self.distance, "which": self.which, "words": words}
        return Selection(tuple(ids.tolist()), reason=reason)


def chosen(cluster: np.ndarray, y: np.ndarray, which: str) -> np.ndarray:
    """Return which rows are meant, (N,) bool, of the clusters (N,) of `influence.data.copies` and targets (N,)."""
    inside = cluster >= 0
    if which == "all" or not inside.any():
        return inside
    if which == "conflicting":
        return inside & conflicting(cluster, y)[np.maximum(cluster, 0)]
    first = np.unique(cluster, return_index=True)[1]
    inside[first] = False
    return inside


def conflicting(cluster: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return which clusters hold rows of differing targets, (K,) bool."""
    inside, count = cluster >= 0, int(cluster.max()) + 1
    pairs = np.unique(np.stack([cluster[inside], np.unique(y[inside], return_inverse=True)[1]], 1), axis=0)
    return np.bincount(pairs[:, 0], minlength=count) > 1
