"""What may be wrong with a data set before anything is trained on it: columns that give the target away, and rows that are there twice.

A suspect is no verdict: a column may be good for honest reasons, and equal rows may be two people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from influence.data.copies import hashes, labelled
from influence.data.dataset import Dataset
from influence.data.schema import coded
from influence.types import Examples

THRESHOLD = 0.95
"""A column is suspected if the lower end of its figure's 95 % interval is at least this: AUC with two classes; with more, the share of the
base rate's errors that it avoids; with a number, the share of variance that it explains."""
LOOKED_AT = 20_000
"""Rows of a role from which a column is judged; all, if there are fewer."""
FEWEST, BINS, LEVELS = 20, 100, 1000
"""Held-out rows that a figure needs; equal parts into which training rows cut numbers; levels beyond which words are one."""
Z = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class Finding:
    """One suspicion: its kind, the column or "", what was found in words, the figure with its 95 % interval (NaN: none), and its n rows."""

    kind: str
    column: str
    sentence: str
    figure: float
    n: int
    low: float = float("nan")
    high: float = float("nan")


def suspects(data: Dataset) -> list[Finding]:
    """Return what is suspicious, columns first. Figures are of the evaluation rows: no holdout row is used to judge a column."""
    return [*_columns(data), *_twice(data), *_ids(data)]


def _columns(data: Dataset) -> Iterator[Finding]:
    parts = {str(column["name"]): str(column["part"]) for column in data.columns}
    few = replace(data, train=_few(data.train), evaluation=_few(data.evaluation), holdout=_few(data.holdout))
    for name in map(str, data.train.columns.columns):
        if name == data.target or parts.get(name) == "leak":
            continue
        same = _same(data, name) if _same(few, name) else None
        found = same or _gives_away(few, name)
        if found:
            yield found


def _few(rows: Examples) -> Examples:
    """Return rows from all over, as many as figures need: more would only make their intervals narrower still."""
    return rows if len(rows) <= LOOKED_AT else rows.take(np.linspace(0, len(rows) - 1, LOOKED_AT).astype(np.int64))


def _same(data: Dataset, name: str) -> Finding | None:
    """Whether a column is the target under other names: each value goes with one value of the target, and the other way round."""
    roles = (data.train, data.evaluation, data.holdout)
    column, target = (pd.concat([role.columns[of] for role in roles], ignore_index=True) for of in (name, data.target))
    if column.nunique() < target.nunique() or (pd.api.types.is_numeric_dtype(column.dtype) and column.nunique() > target.nunique()):
        return None  # names of values are slow to make, and most columns have too many or too few
    (cells, names), (goal, goals) = coded(column), coded(target)
    known = cells >= 0
    n, seen = int(known.sum()), len(np.unique(goal[known]))
    if len(names) != len(goals) or seen < 2 or n < max(FEWEST, len(cells) / 2) or len(names) > n / 2:
        return None
    pairs = len(np.unique(cells[known] * len(goals) + goal[known]))
    if pairs != len(names):
        return None
    how = f"each of its {len(names):,} values stands for one of {data.target}"
    return Finding(
        "target renamed", name, f"The column {name} is {data.target} in other words: {how}, in all {n:,} rows where it is known.", 1.0, n
    )


def _gives_away(data: Dataset, name: str) -> Finding | None:
    """What a column alone says of the target: its value's mean in training, on rows that were not used for that."""
    column, rows = data.train.columns[name], data.evaluation
    if len(rows) < FEWEST:
        return None
    places, count = _binned(column, rows.columns[name])
    own, other = places[: len(column)], places[len(column) :]
    classes = len(data.train.classes)
    measure: Callable[..., tuple[float, float, float, str]] = _auc if classes == 2 else _classes if classes else _number
    figure, low, high, said = measure(own, other, data.train, rows, count)
    if not low >= THRESHOLD:
        return None
    sentence = (
        f"The column {name} alone gives {data.target} away: {said} {figure:.3f} ({low:.3f} to {high:.3f}) on n = {len(rows):,} "
        f"evaluation rows; suspected from {THRESHOLD} at the lower end. Is it known before {data.target} is?"
    )
    return Finding("gives the target away", name, sentence, figure, len(rows), low, high)


def _binned(train: pd.Series, rows: pd.Series) -> tuple[np.ndarray, int]:
    """Places of the training rows and then of the others in the column's bins, and how many bins there are, one for missing cells."""
    both = pd.concat([train, rows], ignore_index=True)
    if pd.api.types.is_datetime64_dtype(both.dtype):
        both = both.astype("int64").astype("float64").mask(both.isna())
    number = pd.api.types.is_numeric_dtype(both.dtype) and not pd.api.types.is_bool_dtype(both.dtype)
    if number and train.nunique() > BINS:
        known = both.to_numpy(dtype=np.float64)
        edges = np.unique(np.nanquantile(known[: len(train)], np.linspace(0, 1, BINS + 1)[1:-1], method="inverted_cdf"))
        return np.where(np.isnan(known), len(edges) + 1, np.searchsorted(edges, known)), len(edges) + 2
    places, names = coded(both)
    fresh = max(places[: len(train)].max(initial=-1) + 1, 0)  # levels that no training row has say nothing, like missing ones
    count = min(fresh, LEVELS, len(names))
    return np.where((places < 0) | (places >= count), count, places), count + 1


def _rates(places: np.ndarray, y: np.ndarray, count: int, prior: float) -> np.ndarray:
    """Mean of y in each bin, (count,), drawn to the overall mean by the weight of one row, so that rare values prove nothing."""
    n, total = np.bincount(places, minlength=count), np.bincount(places, weights=y, minlength=count)
    return (total + prior) / (n + 1)


def _auc(own: np.ndarray, other: np.ndarray, train: Examples, rows: Examples, count: int) -> tuple[float, float, float, str]:
    score = _rates(own, train.y.astype(np.float64), count, float(train.y.mean()))[other]
    positive = rows.y == 1
    m, n = int(positive.sum()), int((~positive).sum())
    if min(m, n) < FEWEST // 2:
        return 0.5, 0.0, 1.0, ""
    auc = (float(stats.rankdata(score)[positive].sum()) - m * (m + 1) / 2) / (m * n)
    low, high = auc_interval(auc, m, n)
    return auc, low, high, "AUC"


def auc_interval(auc: float, m: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of an AUC of m positive and n negative rows: the areas from which it lies less than z errors away.

    The error of an area a is that of Hanley and McNeil (Radiology 143, 1982), with the mean of m and n for both as Newcombe advises
    (Statistics in Medicine 25, 2006, method 5), so that the interval is sensible at an AUC of 1.
    """
    each = (m + n) / 2 - 1

    def error(a: np.ndarray) -> np.ndarray:
        spread = 1 + each * (1 - a) / (2 - a) + each * a / (1 + a)
        return Z * np.sqrt(a * (1 - a) * spread / (m * n))

    areas = np.linspace(0, 1, 20_001)
    inside = areas[np.abs(areas - auc) <= error(areas) + 1e-12]
    return (float(inside.min()), float(inside.max())) if len(inside) else (auc, auc)


def _classes(own: np.ndarray, other: np.ndarray, train: Examples, rows: Examples, count: int) -> tuple[float, float, float, str]:
    counts = np.zeros((count, len(train.classes)))
    np.add.at(counts, (own, train.y), 1)
    usual = int(counts.sum(0).argmax())
    counts[np.arange(count), usual] += 0.5  # ties and bins without rows: the most frequent class
    right, base = counts.argmax(1)[other] == rows.y, float((rows.y == usual).mean())
    if base == 1:
        return 0.0, 0.0, 1.0, ""
    limits = stats.binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    figure, low, high = ((share - base) / (1 - base) for share in (float(right.mean()), limits.low, limits.high))
    return figure, low, high, f"of the errors at the base rate of {base:.3f} it avoids a share of"


def _number(own: np.ndarray, other: np.ndarray, train: Examples, rows: Examples, count: int) -> tuple[float, float, float, str]:
    mean = float(train.y.mean())
    guess = _rates(own, train.y.astype(np.float64), count, mean)[other]
    if rows.y.std() == 0:
        return 0.0, 0.0, 1.0, ""
    errors, spread = (rows.y - guess) ** 2, (rows.y - mean) ** 2
    ratio = float(errors.sum() / spread.sum())
    # Of a ratio of means, by the delta method.
    half = Z * float((errors - ratio * spread).std(ddof=1)) / (float(spread.mean()) * len(errors) ** 0.5)
    return 1 - ratio, 1 - ratio - half, 1 - ratio + half, "the share of variance explained is"


def _twice(data: Dataset) -> Iterator[Finding]:
    """Rows that stand among training and test rows: equal in every input."""
    train = hashes(data.train)
    known = labelled(train, data.train.y)
    for role, rows in (("evaluation", data.evaluation), ("holdout", data.holdout)):
        own = hashes(rows)
        twins = np.isin(own, train)
        if twins.any():
            strange = int((twins & ~np.isin(labelled(own, rows.y), known)).sum())
            share = float(twins.mean())
            sentence = (
                f"{int(twins.sum()):,} of {len(rows):,} {role} rows ({share:.1%}) equal a training row in every input"
                f"{f', {strange:,} of them with another target' if strange else ''}. If they are copies, figures on them flatter the model."
            )
            yield Finding("in training too", "", sentence, share, len(rows))


def _ids(data: Dataset) -> Iterator[Finding]:
    """Names of rows that come again: an id column's among training and test rows, and other columns that name most rows."""
    own = next((str(column["name"]) for column in data.columns if column["part"] == "id"), "")
    tests = np.concatenate([data.evaluation.ids, data.holdout.ids])
    if own:
        yield from _again(own, data.train.ids, tests)
    for column in data.columns:
        name = str(column["name"])
        if column["kind"] == "id" and name in data.train.columns:
            cells = [role.columns[name].dropna().to_numpy() for role in (data.train, data.evaluation, data.holdout)]
            yield from _again(name, cells[0], np.concatenate(cells[1:]))


def _again(name: str, train: np.ndarray, tests: np.ndarray) -> Iterator[Finding]:
    again = pd.Index(tests).isin(pd.Index(train))
    within = int(pd.Index(train).duplicated().sum() + pd.Index(tests).duplicated().sum())
    if again.any():
        share = float(again.mean())
        sentence = (
            f"{int(again.sum()):,} of {len(tests):,} test rows ({share:.1%}) carry a {name} that a training row carries: the same case may "
            "be on both sides. Divide the rows by it."
        )
        yield Finding("id in training too", name, sentence, share, len(tests))
    if within:
        n = len(train) + len(tests)
        yield Finding("id repeated", name, f"The column {name} repeats in {within:,} of {n:,} rows on the same side.", within / n, n)
