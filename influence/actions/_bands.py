"""Between which values the live metrics of models lie that were trained anew without the rows, where some are kept (`_oracles`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from influence.actions import _oracles
from influence.actions._monitor import figures, unit
from influence.actions._opened import opened
from influence.errors import BadInput

if TYPE_CHECKING:
    from influence.store import Project

FEWEST = 8
"""Of fewer oracles nothing is said: the range of few is narrow by chance."""
NAMES = {"forget": "forget", "retained": "retain", "unseen": "test"}
"""The rows on which oracles are kept, as the names of live metrics call them."""


def bands(project: Project, retrained: str, truth: np.ndarray) -> dict[str, dict[str, float]]:
    """Return the least and the largest value of each metric among the oracles of a retrained run, and their number; {} without any.

    Keys `oracles_low`, `oracles_high` and `oracles` with the one metric `n`. `truth`: the retrained model's margins of the forget rows.
    """
    it = opened(project, retrained)
    try:
        rows, pool = _oracles.parts(it), _oracles.kept(it)
    except BadInput:
        return {}  # no recipe by which there could be any
    if len(pool) < FEWEST:
        return {}
    named, whole = {NAMES[part]: of for part, of in rows.items()}, len(rows["forget"]) == len(truth)
    told = [figures({NAMES[p]: out for p, out in each.items()}, named, unit(it.dataset), truth if whole else None) for each in pool]
    for one in told:
        one |= {"accuracy": one["test_accuracy"]} if "test_accuracy" in one else {}
    low, high = ({name: float(end(one[name] for one in told)) for name in told[0]} for end in (min, max))
    return {"oracles_low": low, "oracles_high": high, "oracles": {"n": float(len(pool))}}
