"""Groups of rows by a column or by several at once, and the favourable class: what questions about gaps and their measures must agree on.

Wherever a group column is named, up to three may be: `sex & race` (docs/decisions/015-groups-by-several-columns.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from influence.errors import BadInput
from influence.types import Examples

FEWEST = 10
"""Fewer rows than this say too little of a group to be shown with an interval or to form a gap."""

MISSING = "missing"
SHOWN, NAMED = 8, 20
"""How many groups and classes a sentence names."""
MOST = 3
"""So many columns may form groups together: with more, hardly any group has rows enough to say something of."""
AND = " & "
PART = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^&"]*?))\s*(?:&|$)')

Edges: TypeAlias = tuple[float, ...] | tuple[tuple[float, ...], ...]
"""Where numbers are cut, () for nowhere; of several columns one such tuple each."""


@dataclass(frozen=True)
class Groups:
    """Each row's group. `names`: of the G groups, in reading order, missing values last; `code`: (M,) places in `names`."""

    names: tuple[str, ...]
    code: np.ndarray

    def counts(self, keep: np.ndarray | None = None) -> np.ndarray:
        """Return how many of the rows at the mask `keep` (all by default) each group has, (G,)."""
        return np.bincount(self.code if keep is None else self.code[keep], minlength=len(self.names))

    def comparable(self, keep: np.ndarray | None = None) -> np.ndarray:
        """Return the places of the groups with at least ten such rows.

        Raises:
            BadInput: there are fewer than two.
        """
        counts = self.counts(keep)
        enough = np.flatnonzero(counts >= FEWEST)
        if len(enough) >= 2:
            return enough
        largest = [place for place in np.argsort(-counts, kind="stable") if counts[place]]
        shown = ", ".join(f"{self.names[place]}: {counts[place]:,}" for place in largest[:SHOWN]) or "none"
        more = f" and {len(largest) - SHOWN:,} smaller groups" if len(largest) > SHOWN else ""
        raise BadInput(
            f"To compare groups, two of them need at least {FEWEST} rows of the kind compared; there are {shown}{more}. "
            "Choose another group column or more evaluation rows."
        )


def groups_of(examples: Examples, group: str, bins: int = 4, edges: Edges | None = None) -> Groups:
    """Return the groups that a column forms, or several: then those of their groups that rows have together.

    `edges`: where numbers are cut; None cuts numbers with more than `bins` distinct values at their quantiles here.

    Raises:
        BadInput: there is no such column, or they are too many.
    """
    columns = columns_of(examples, group)
    cuts = edges_of(examples, group, bins) if edges is None else edges
    each = (cuts,) if len(columns) == 1 else cuts
    parts = [_cut(examples.columns[c], cut) if cut else _named(examples.columns[c]) for c, cut in zip(columns, each, strict=True)]  # type: ignore[arg-type]
    return parts[0] if len(parts) == 1 else crossed(parts)[0]


def edges_of(examples: Examples, group: str, bins: int) -> Edges:
    """Return the quantiles at which a column is cut into `bins` of like size: () unless it holds numbers with more distinct values.

    Each edge is a value of the column and the upper end of its bin, so that ages are cut at whole years; ties make fewer bins. Of several
    columns: those of each.

    Raises:
        BadInput: there is no such column, or they are too many.
    """
    found = tuple(_edges(examples.columns[column], bins) for column in columns_of(examples, group))
    return found[0] if len(found) == 1 else found


def crossed(parts: Sequence[Groups]) -> tuple[Groups, np.ndarray]:
    """Return the groups that rows have together, in the order of the parts, and each one's places in them, (G, parts).

    Only those that rows have: of six by four by two groups many are nobody's.
    """
    code, places = parts[0].code, np.arange(len(parts[0].names))[:, None]
    for part in parts[1:]:
        both, code = np.unique(code * len(part.names) + part.code, return_inverse=True)
        before, own = np.divmod(both, len(part.names))
        places = np.column_stack([places[before], own])
    names = [joined([part.names[at] for part, at in zip(parts, row, strict=True)]) for row in places]
    return Groups(tuple(names), code.astype(np.int64)), places


def place_of(positive: str, examples: Examples) -> int:
    """Return the place of the positive class; by default the one that is favourable in these data.

    Raises:
        BadInput: the target is a number, or there is no such class.
    """
    if not examples.classes:
        raise BadInput("Rates need classes; this target is a number. Ask group_loss_gap, worst_group_loss or loss instead.")
    if positive and positive not in examples.classes:
        raise BadInput(f"There is no class {positive!r}; there are: {named(examples.classes)}. Choose one of them.")
    return examples.classes.index(positive or examples.favourable)


def other_than(examples: Examples, positive: str) -> str:
    """Return a positive class that a person named, or "" if it is the one that is favourable in these data anyway.

    Raises:
        BadInput: the target is a number, or there is no such class.
    """
    return "" if not positive or examples.classes[place_of(positive, examples)] == examples.favourable else positive


def named(classes: Sequence[str]) -> str:
    """Return the names of classes in one line: the first twenty, and how many there are where that are not all."""
    more = f", … ({len(classes)} in all)" if len(classes) > NAMED else ""
    return ", ".join(classes[:NAMED]) + more


def joined(parts: Sequence[str]) -> str:
    """Return one name for several: of columns that form groups together, or of the groups that a row has in each.

    A part with & or a quotation mark in it stands in quotation marks, so that no two lists have one name. One alone stays as it is.
    """
    return parts[0] if len(parts) == 1 else AND.join(map(_quoted, parts))


def group_name(examples: Examples, columns: Sequence[str]) -> str:
    """Return what groups by these columns are called in these data: never by the name of a column that is there."""
    between, name = AND, joined(columns)
    while len(columns) > 1 and name in examples.columns:
        between = f" {between}"  # spaces around & say nothing
        name = between.join(map(_quoted, columns))
    return name


def columns_of(examples: Examples, group: str) -> tuple[str, ...]:
    """Return the columns that form groups: the one of this name, else those that it joins, as in `sex & race`.

    Raises:
        BadInput: none was given, there is no such column, one is given twice, or they are more than three.
    """
    if group in examples.columns:
        return (group,)
    columns = _parted(group)
    unknown = [column for column in columns if column not in examples.columns]
    if unknown or not group:
        what = f"There is no column {unknown[0]!r} to form groups by" if group else "No column to form groups by was given"
        raise BadInput(f"{what}; there are: {_listed(examples.columns)}. Choose one of them.", missing="" if group else "group=COLUMN")
    if len(set(columns)) < len(columns):
        raise BadInput(f"Groups by {group!r} name a column twice. Name each once.")
    if len(columns) > MOST:
        raise BadInput(f"Groups by {len(columns)} columns at once have too few rows each. Choose at most {MOST}.")
    return columns


def is_group(examples: Examples, group: str) -> bool:
    """Whether groups can be formed by this name in these data."""
    try:
        return bool(columns_of(examples, group))
    except BadInput:
        return False


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(map(str, names)) or "none"


def _quoted(part: str) -> str:
    plain = part and part == part.strip() and not set(part) & set('&"')
    return part if plain else '"' + part.replace('"', '""') + '"'


def _parted(name: str) -> tuple[str, ...]:
    """Return the parts that a name joins; the whole name if it is not written so."""
    parts, at = [], 0
    while found := PART.match(name, at):
        quoted, plain = found.groups()
        parts.append(plain if quoted is None else quoted.replace('""', '"'))
        at = found.end()
        if not found.group().endswith("&"):
            return tuple(parts) if len(parts) > 1 else (name,)
    return (name,)


def _edges(values: pd.Series, bins: int) -> tuple[float, ...]:
    if not _is_number(values) or values.nunique() <= bins:
        return ()
    numbers = values.dropna().to_numpy(dtype=float)
    quantiles = np.quantile(numbers, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf")
    return tuple(np.unique(quantiles.clip(max=np.unique(numbers)[-2])).tolist())  # so that some row lies above the last edge


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _named(values: pd.Series) -> Groups:
    number = _is_number(values)
    code, found = pd.factorize(values, sort=number)
    text = [_said(value) for value in found]
    names = list(dict.fromkeys(text if number else sorted(text)))
    if (code < 0).any() and MISSING not in names:
        names.append(MISSING)
    at = {name: place for place, name in enumerate(names)}
    # A missing value has code -1 and so takes the last entry.
    return Groups(tuple(names), np.array([*(at[name] for name in text), at.get(MISSING, -1)], dtype=np.int64)[code])


def _said(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _cut(values: pd.Series, edges: tuple[float, ...]) -> Groups:
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    code, missing = np.searchsorted(edges, numbers, side="left"), np.isnan(numbers)
    code[missing] = len(edges) + 1
    text = [f"{edge:.0f}" if edge.is_integer() or abs(edge) >= 1000 else f"{edge:.4g}" for edge in edges]
    if len(set(text)) < len(text):
        text = list(map(repr, edges))
    between = [f"over {low} to {high}" for low, high in pairwise(text)]
    names = [f"up to {text[0]}", *between, f"over {text[-1]}"] + [MISSING] * bool(missing.any())
    return Groups(tuple(names), code)
