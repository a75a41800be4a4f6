"""What a search for patterns can say of each column, laid out so that all sums over conditions are sums over few atoms.

A column is cut into atoms that exclude each other: its categories, the ranges between its cuts, "missing"; each word of a text is an atom
by itself. Every condition holds in a union of one column's atoms. So the sum of anything over the rows that meet two conditions follows
from its sums over pairs of atoms, which one product of sparse matrices gives (the idea of SliceLine, Sagadeeva and Boehm, SIGMOD 2021).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

from influence.conditions import Condition, said, words
from influence.data import dates, periods
from influence.errors import BadInput

MOST_CATEGORIES = 50
"""Categories of one column that are looked at, the most frequent first."""


@dataclass(frozen=True)
class Atoms:
    """`rows`: (N, A) sparse, 1 where a row belongs to an atom; `conditions`: m of them; `unions`: (m, A) dense, 1 where one holds."""

    rows: sparse.csr_array
    conditions: tuple[Condition, ...]
    unions: np.ndarray


@dataclass(frozen=True)
class _Column:
    """One column's atoms: `member` (N, a) sparse; conditions and the atoms in which each holds."""

    member: sparse.csr_array
    conditions: list[Condition]
    unions: np.ndarray


def atoms_of(table: pd.DataFrame, kinds: Mapping[str, str], bins: int, least: int, most: int, terms: int, effect: np.ndarray) -> Atoms:
    """Lay out the columns of a table.

    `kinds`: what columns are (`influence.data.kinds`); others go by their cells. `bins`: ranges of a column of numbers or dates, of like
    size. `least`, `most`: rows that a word must and may stand in. `terms`: how many words at most, those of the largest mean effect for
    its spread first; `effect`: (N,).

    Raises:
        BadInput: no column can be said anything of.
    """
    parts = [part for name in table for part in _columns(table[name], kinds.get(str(name), ""), bins, (least, most), terms, effect)]
    if not parts:
        raise BadInput("No column holds anything by which rows could be told apart. Bring columns with the data: groups, dates, sources.")
    unions = np.zeros((sum(len(part.conditions) for part in parts), sum(part.member.shape[1] for part in parts)))
    down = across = 0
    for part in parts:
        unions[down : (down := down + len(part.conditions)), across : (across := across + part.member.shape[1])] = part.unions
    conditions = tuple(condition for part in parts for condition in part.conditions)
    return Atoms(sparse.hstack([part.member for part in parts], format="csr"), conditions, unions)


def _columns(values: pd.Series, kind: str, bins: int, support: tuple[int, int], terms: int, effect: np.ndarray) -> Iterator[_Column]:
    name = str(values.name)
    if kind == "text":
        yield from _words(values, support, terms, effect)
    elif (kind == "date" or pd.api.types.is_datetime64_any_dtype(values)) and (form := periods.written_as(values)) is not None:
        yield from _ordered(values, dates.days(values, form), bins)
    elif pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        yield from _ordered(values, values.astype(float), bins)
    elif kind != "id":
        counts = values.value_counts()
        if 1 < len(counts) + bool(values.isna().any()) and len(counts) <= max(2, len(values) / 2):
            yield _categories(name, values, list(counts.index[:MOST_CATEGORIES]))


def _categories(name: str, values: pd.Series, chosen: list[object]) -> _Column:
    code = np.asarray(pd.Categorical(values, categories=chosen).codes, dtype=np.int64)
    conditions = [Condition(name, "equal to", said(value)) for value in chosen]
    return _excluding(name, np.where(values.isna(), len(chosen), code), len(chosen), conditions, np.eye(len(chosen)))


def _ordered(values: pd.Series, numbers: pd.Series, bins: int) -> Iterator[_Column]:
    """Yield a column of numbers or dates, cut at quantiles; each cut is a value that stands in the column.

    Cells that are there but are no finite number and no date are in no atom: no condition holds of them.
    """
    name, found = str(values.name), np.asarray(numbers, dtype=float)
    known = np.flatnonzero(np.isfinite(found))
    distinct, first = np.unique(found[known], return_index=True)
    if len(distinct) < 2:
        return
    few = len(distinct) <= bins
    uppers = distinct if few else np.unique(np.quantile(found[known], np.linspace(0, 1, bins + 1)[1:], method="inverted_cdf"))
    uppers = uppers if uppers[-1] == distinct[-1] else np.append(uppers, distinct[-1])
    lowers = distinct[np.concatenate([[0], np.searchsorted(distinct, uppers[:-1]) + 1])]
    written = {number: said(values.iloc[known[place]]) for number, place in zip(distinct.tolist(), first.tolist(), strict=True)}
    a = len(uppers)
    conditions, unions = [], []
    for k in range(a):
        alone = lowers[k] == uppers[k]
        options: list[tuple[bool, Condition, np.ndarray]] = [
            (alone, Condition(name, "equal to", written[uppers[k]]), np.arange(a) == k),
            (k < a - 1 and not (alone and k == 0), Condition(name, "at most", written[uppers[k]]), np.arange(a) <= k),
            (k > 0 and not (alone and k == a - 1), Condition(name, "at least", written[lowers[k]]), np.arange(a) >= k),
        ]
        for wanted, condition, union in options:
            if wanted:
                conditions.append(condition)
                unions.append(union)
    code = np.full(len(found), -1)
    code[known] = np.searchsorted(uppers, found[known])
    code[np.asarray(values.isna())] = a
    yield _excluding(name, code, a, conditions, np.array(unions, dtype=float))


def _excluding(name: str, code: np.ndarray, a: int, conditions: list[Condition], unions: np.ndarray) -> _Column:
    """Make a column of `a` atoms that exclude each other, and one more for missing cells (code a); code -1: none of them."""
    n, missing = len(code), bool((code == a).any())
    if missing:
        conditions = [*conditions, Condition(name, "missing")]
        unions = np.block([[unions, np.zeros((len(unions), 1))], [np.zeros((1, a)), np.ones((1, 1))]])
    within = np.flatnonzero(code >= 0)
    member = sparse.csr_array((np.ones(len(within)), (within, code[within])), shape=(n, a + missing))
    return _Column(member, conditions, unions)


def _words(values: pd.Series, support: tuple[int, int], terms: int, effect: np.ndarray) -> Iterator[_Column]:
    """Yield a column of texts, one atom for each word that stands in neither too few nor too many of them."""
    reader = CountVectorizer(binary=True, analyzer=words, min_df=support[0], max_df=support[1], dtype=np.float64)
    try:
        member = sparse.csr_array(reader.fit_transform(values.fillna("").astype(str)))
    except ValueError:  # no word stands in so many texts and no more
        return
    total, squares = member.T @ effect, member.T @ effect**2
    chosen = np.sort(np.argsort(-np.abs(total) / np.sqrt(squares + np.finfo(float).tiny), kind="stable")[:terms])
    conditions = [Condition(str(values.name), "with the word", str(word)) for word in reader.get_feature_names_out()[chosen]]
    yield _Column(member[:, chosen], conditions, np.eye(len(chosen)))
