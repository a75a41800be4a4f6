"""What the map's colours can say: the score of the question asked, the label, the group, the loss, and a row's own influence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from influence.actions import mislabelled
from influence.charts.colours import DIVERGING, SEQUENTIAL, of_groups
from influence.data.dataset import Dataset
from influence.registry import described
from influence.registry import mislabelled as scores_of_labels
from influence.store import Run
from influence.types import as_places
from influence.ui import kept, state, units, words
from influence.ui.map import Colouring

FULL = 0.995
"""Quantile of sizes from which on a colour is full: one row that is far off does not pale all others."""
INFLUENCE = "Influence on the question"


def offered(run: Run, result: dict[str, Any]) -> dict[str, Callable[[], Colouring]]:
    """Return what a run's rows can be coloured by, by the name that is shown; the score of the question first."""
    made = state.dataset(run)
    found: dict[str, Callable[[], Colouring]] = {INFLUENCE: lambda: by_score(run, result)}
    if made.train.classes:
        found[f"Label: {made.target}"] = lambda: by_label(made)
    for column in state.groups():
        found[f"Group: {column}"] = lambda column=column: by_group(run, column)  # type: ignore[misc]
    found["Loss of the row" if made.train.classes else "Absolute error of the row"] = lambda: by_loss(run, made)
    own = mislabelled.kept(state.project(), run.id, described(scores_of_labels.make("own_influence")))
    if own:
        found["The row's own influence"] = lambda: rising("own influence", _aligned(kept.scores(own["scores"]), made))
    return found


def by_score(run: Run, result: dict[str, Any]) -> Colouring:
    """Return colours of scores, the same on both sides of 0."""
    scores = kept.scores(result["scores"])
    unit = units.of_scores(run, result, scores)
    values = scores.column() * unit.factor
    full = float(np.quantile(np.abs(values), FULL)) if len(values) else 0.0
    full = full or float(np.abs(values).max(initial=0.0)) or 1.0
    title = "predicted change if removed" + (f", in {unit.name}" if unit.name else "") if scores.calibrated else "rank score"
    ends = ("▼ lowers it", "raises it ▲")
    if scores.calibrated:
        ends = (f"{ends[0]}, {words.signed(-full, 2)}", f"{words.signed(full, 2)}, {ends[1]}")
    return Colouring("diverging", title, values, DIVERGING, -full, full, ends=ends)


def by_label(made: Dataset) -> Colouring:
    """Return one colour per class."""
    return _categories(made.target, tuple(map(str, made.train.classes)), made.train.y)


def by_group(run: Run, column: str) -> Colouring:
    """Return one colour per group, the same as on every page."""
    found = kept.groups(run.dataset, "train", column, run)
    return _categories(column, found.names, found.code)


def by_loss(run: Run, made: Dataset) -> Colouring:
    """Return colours of how wrong the model is on each row: cross-entropy, or the absolute error in the target's unit."""
    table = kept.table(run.body["predictions"])
    table = table[(table["split"] == "train").to_numpy()]
    ids = table["id"].to_numpy()
    if made.train.classes:
        p = table[[f"p_{name}" for name in made.train.classes]].to_numpy()
        own = made.train.y if np.array_equal(ids, made.train.ids) else made.train.y[as_places(ids, made.train.ids)]
        title, values = "loss (cross-entropy)", -np.log(np.maximum(p[np.arange(len(table)), own], 1e-12))
    else:
        title, values = "absolute error", np.abs(table["target"].to_numpy(float) - table["prediction"].to_numpy(float))
    return rising(title, _placed(values, ids, made))


def rising(title: str, values: np.ndarray) -> Colouring:
    """Return colours of values from the least to (nearly) the largest; NaN stays grey."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(np.quantile(known, FULL))) if len(known) else (0.0, 1.0)
    high = high if high > low else low + 1.0
    return Colouring("sequential", title, values, SEQUENTIAL, low, high, ends=(words.number(low, 2), f"{words.number(high, 2)} or more"))


def _categories(title: str, names: tuple[str, ...], codes: np.ndarray) -> Colouring:
    colours = of_groups(names)
    each = [colours[name] for name in names]
    return Colouring("categories", title, codes, {"light": each, "dark": each}, names=names)


def _aligned(scores: Any, made: Dataset) -> np.ndarray:
    return _placed(scores.column(), scores.ids, made)


def _placed(values: np.ndarray, ids: np.ndarray, made: Dataset) -> np.ndarray:
    """Return values by the training rows' order, NaN for rows that have none."""
    if np.array_equal(ids, made.train.ids):
        return values
    at = as_places(made.train.ids, ids)
    return np.where(at >= 0, values[at], np.nan)
