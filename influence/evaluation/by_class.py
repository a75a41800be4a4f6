"""How good a model of several classes is at each: the share of a class's rows that it finds, and of those it says that are right."""

from __future__ import annotations

import numpy as np
import pandas as pd

from influence.evaluation._groups import rates
from influence.evaluation._tables import refuse_unfit
from influence.types import Examples


def by_class(logits: np.ndarray, examples: Examples) -> pd.DataFrame:
    """Return two rows per class from logits (M, C), recall and precision: metric, class, value, low, high, n.

    `n`: the rows that truly are of the class, and those that are said to be. Intervals are Wilson's; NaN for fewer than ten rows, as is
    the value for none.

    Raises:
        BadInput: there are no rows, or outputs that do not fit them.
    """
    refuse_unfit(logits, examples)
    names, said = examples.classes, logits.argmax(1)
    right, real, told = (np.bincount(at, minlength=len(names)) for at in (examples.y[said == examples.y], examples.y, said))
    return pd.DataFrame(
        [
            (metric, name, value, *limits, n)
            for metric, found in (("recall", rates(right, real)), ("precision", rates(right, told)))
            for name, value, limits, n in zip(names, found.values, found.intervals(), found.counts, strict=True)
        ],
        columns=["metric", "class", "value", "low", "high", "n"],
    )
