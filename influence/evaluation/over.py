"""What is measured of groups, along another column: by year, by age, by branch."""

from __future__ import annotations

import numpy as np
import pandas as pd

from influence.evaluation._tables import refuse_unfit
from influence.evaluation.fairness import by_group, per_group
from influence.groups import Groups, crossed
from influence.types import Examples


def over(logits: np.ndarray, examples: Examples, groups: Groups, along: Groups, positive: str = "") -> pd.DataFrame:
    """Return a row per metric, group and part of `along` that rows have together: metric, group, along, value, low, high, n, better.

    Measures and 95 % intervals are those of `fairness`, each of its cell alone; fewer than ten rows have no interval.

    Raises:
        BadInput: there are no rows or outputs, or there is no such class.
    """
    refuse_unfit(logits, examples)
    cells, places = crossed([groups, along])
    parts = []
    for metric, family in by_group(logits, examples, cells, positive).items():
        table = pd.DataFrame(per_group(metric, cells, family))
        table["group"] = np.array(groups.names, dtype=object)[places[:, 0]]
        table.insert(2, "along", np.array(along.names, dtype=object)[places[:, 1]])
        parts.append(table)
    return pd.concat(parts, ignore_index=True)
