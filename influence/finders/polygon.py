"""Rows inside an outline on the map: what a lasso or a box encloses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from influence.errors import BadInput
from influence.plane import inside
from influence.registry import finders, option
from influence.types import Examples, Scores, Selection


@finders
@dataclass(frozen=True)
class Polygon:
    """Rows whose place on the map lies inside an outline, by the even-odd rule; drawn on Influence with a lasso or a box."""

    outline: str = option("", "Corners in order, each as x and y with a blank between, with commas between corners: 0 0, 1 0, 1 1")
    coordinates: str = option("", "Digest of the coordinates that the outline was drawn on, kept for whoever replays it", advanced=True)

    def __call__(self, scores: Scores | None, examples: Examples) -> Selection:
        """Return the selection; `scores` holds the two coordinates of each row.

        Raises:
            BadInput: there are no coordinates, the outline is none, or no row lies inside it.
        """
        if scores is None or len(scores.labels) != 2:
            got = "none were given" if scores is None else f"{len(scores.labels)} were given"
            raise BadInput(f"An outline needs two coordinates of each row; {got}. Draw it on the map of the Influence page.")
        found = scores.ids[inside(scores.values, corners(self.outline))]
        if not len(found):
            raise BadInput("No row lies inside this outline. Draw it round some points.")
        ids = tuple(found.tolist())
        examples.mask(ids)  # refuses coordinates of other rows
        rows = "1 row" if len(ids) == 1 else f"{len(ids):,} rows"
        words = f"{rows} inside an outline on the map by {scores.method}"
        return Selection(ids, reason={"rule": "polygon", "outline": self.outline, "coordinates": self.coordinates, "words": words})


def corners(outline: str) -> np.ndarray:
    """Return the corners of an outline written as text, (K, 2).

    Raises:
        BadInput: it is not at least three pairs of finite numbers.
    """
    try:
        found = np.array([[float(part) for part in corner.split()] for corner in outline.split(",")])
    except ValueError:
        found = np.zeros(0)
    if found.ndim != 2 or found.shape[1] != 2 or len(found) < 3 or not np.isfinite(found).all():
        shown = repr(outline[:40]) if outline else "nothing"
        raise BadInput(f"An outline has three corners or more, each an x and a y; got {shown}. Give for example 0 0, 1 0, 1 1.")
    return found


def written(outline: np.ndarray) -> str:
    """Return corners (K, 2) as text that `corners` reads to the same numbers."""
    return ", ".join(f"{x!r} {y!r}" for x, y in np.asarray(outline, dtype=float).tolist())
