"""Which predictions changed from one model to another, and from what to what."""

from __future__ import annotations

import numpy as np
import pandas as pd

from influence.types import Examples


def flips(before: np.ndarray, after: np.ndarray, examples: Examples) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows whose predicted class differs (id, target, before, after), and the counts of every class before by after."""
    names = np.asarray(examples.classes, dtype=object)
    was, now = before.argmax(1), after.argmax(1)
    moved = was != now
    table = pd.DataFrame(
        {"id": examples.ids[moved], "target": names[examples.y[moved]], "before": names[was[moved]], "after": names[now[moved]]}
    )
    counts = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(counts, (was, now), 1)
    return table, pd.DataFrame(counts, index=list(examples.classes), columns=list(examples.classes))
