"""Between which values the live metrics of models lie that were trained anew without the rows, where some are kept (`_oracles`).

Only of the rows that the curves are of. After several requests oracles are kept of all rows that were ever forgotten: of these the ones of
this request are taken. Where oracles are not kept of a part's every row, or of the labels that it has now, nothing is told of the part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from influence.actions import _oracles
from influence.actions._monitor import figures, unit
from influence.actions._opened import opened
from influence.errors import BadInput
from influence.types import Examples, as_places

if TYPE_CHECKING:
    from influence.store import Project

FEWEST = 8
"""Of fewer oracles nothing is said: the range of few is narrow by chance."""
NAMES = {"forget": "forget", "retained": "retain", "unseen": "test"}
"""The rows on which oracles are kept, as the names of live metrics call them."""


def bands(project: Project, retrained: str, rows: Mapping[str, Examples], truth: np.ndarray) -> dict[str, dict[str, float]]:
    """Return the least and the largest value of each metric among the oracles of a retrained run, and their number; {} without any.

    Keys `oracles_low`, `oracles_high` and `oracles` with the one metric `n`. `rows`: what the curves are of, by part (`watched`).
    `truth`: the retrained model's margins of the forget rows, (M,).
    """
    it = opened(project, retrained)
    try:
        known, pool = _oracles.parts(it), _oracles.kept(it)
    except BadInput:
        return {}  # no recipe by which there could be any
    if len(pool) < FEWEST:
        return {}
    at = {part: _places(rows[NAMES[part]], of) for part, of in known.items()}
    told = [
        figures({NAMES[part]: each[part][places] for part, places in at.items() if places is not None}, rows, unit(it.dataset), truth)
        for each in pool
    ]
    if not told[0]:
        return {}
    for one in told:
        one |= {"accuracy": one["test_accuracy"]} if "test_accuracy" in one else {}
    low, high = ({name: float(end(one[name] for one in told)) for name in told[0]} for end in (min, max))
    return {"oracles_low": low, "oracles_high": high, "oracles": {"n": float(len(pool))}}


def _places(rows: Examples, known: Examples) -> np.ndarray | None:
    """Return where these rows stand among those that oracles are kept of, or None if not all do, with the same labels."""
    at = as_places(rows.ids, known.ids)
    return at if (at >= 0).all() and np.allclose(known.y[at], rows.y, rtol=1e-5, atol=1e-5) else None
