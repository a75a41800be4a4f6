"""Rows that help nobody: without them the loss of every group is predicted to fall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from influence.errors import BadInput
from influence.registry import finders, option
from influence.types import Examples, Scores, Selection


@finders
@dataclass(frozen=True)
class HelpsNobody:
    """Rows whose removal is predicted to lower every one of several losses, those first from which the least favoured gains most.

    The scores are those of one loss for each group; the action `helps_nobody` makes them in one walk.
    """

    share: float = option(0.02, "Largest share of the rows", min=0.0, max=1.0)
    scores: str = option("", "Digest of the scores, kept for whoever replays it", advanced=True)

    def __call__(self, scores: Scores | None, examples: Examples) -> Selection:
        """Return the selection.

        Raises:
            BadInput: there are no scores of two losses or more, the share is less than one row, or no row is of this kind.
        """
        if scores is None or len(scores.labels) < 2:
            raise BadInput("Whom a row helps is told by the losses of two groups or more. Ask on Suspects, or with `helps-nobody`.")
        most = round(self.share * len(scores.ids))
        if most < 1:
            raise BadInput(f"A share of {self.share:g} of {len(scores.ids):,} rows is less than one row. Allow more.")
        order = harmful(scores)[:most]
        if not len(order):
            raise BadInput("There is no row whose removal is predicted to lower the loss of every group. Ask of other groups.")
        ids = tuple(scores.ids[order].tolist())
        examples.mask(ids)  # refuses scores of other rows
        many = "row" if len(ids) == 1 else f"{len(ids):,} rows"
        words = f"the {many} whose removal is predicted to lower the loss of each of {len(scores.labels)} groups most, by {scores.method}"
        return Selection(ids, reason={"rule": "helps_nobody", "share": self.share, "scores": self.scores, "words": words})


def harmful(scores: Scores) -> np.ndarray:
    """Return the places of the rows without which every loss is predicted to fall, the largest fall of the least favoured first."""
    least = scores.values.max(1)
    order = np.argsort(least, kind="stable")
    return np.asarray(order[least[order] < 0])
