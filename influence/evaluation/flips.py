"""Which predictions changed from one model to another, and from what to what."""

from __future__ import annotations

import numpy as np
import pandas as pd

from influence.errors import BadInput
from influence.evaluation._tables import refuse_unfit
from influence.types import Examples


def flips(before: np.ndarray, after: np.ndarray, examples: Examples) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows whose predicted class differs, and how often every class became every other.

    Columns of the first: id, target, before, after. The second has one line per class before and one column per class after.

    Args:
        before: one model's logits, (M, C).
        after: the other model's logits, (M, C).
        examples: the M rows.

    Raises:
        BadInput: the target is a number, or the outputs do not fit the rows.
    """
    if not examples.classes:
        raise BadInput("Predictions of a number do not flip; compare errors instead.")
    refuse_unfit(before, examples, after)
    names = np.asarray(examples.classes, dtype=object)
    was, now = before.argmax(1), after.argmax(1)
    moved = was != now
    table = pd.DataFrame(
        {"id": examples.ids[moved], "target": names[examples.y[moved]], "before": names[was[moved]], "after": names[now[moved]]}
    )
    counts = np.bincount(was * len(names) + now, minlength=len(names) ** 2).reshape(len(names), -1)
    return table, pd.DataFrame(counts, index=list(examples.classes), columns=list(examples.classes))
