"""Figures with their intervals, and what is told by them: pins, and retrainings that check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A measured value with its 95 % interval and the rows it was measured on. `lacks`: why there is none, where not for too few rows."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    lacks: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval and the rows n that it rests on. `lacks`: why there is no interval, where that is not too few rows.

    `series`: which of several models or kinds it is of, in a picture. `before`: what it was before. `change`: it is a change, shown signed.
    """

    label: str
    found: Estimate
    lacks: str = ""
    series: str = ""
    before: Estimate | None = None
    change: bool = False


@dataclass(frozen=True)
class Retrained:
    """What retraining without the n rows of a pattern, or with other labels for them, changed."""

    rule: str
    n: int
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Judged:
    """A measure of forgetting beside `n` oracles, models that never saw the rows: its value and their 95 % band, in words.

    `unusual`: how many of these are as unusual, in words. `outside`: of the band; `said`: so in words.
    """

    label: str
    value: str
    band: str
    n: int
    original: float | None
    unusual: str
    outside: bool
    said: str


@dataclass(frozen=True)
class Pinned:
    """A finding that somebody pinned, read again from what it was computed from.

    `model`: the name of its run. `said`: what it says in words. `columns`, `rows`: the first of `n` rows, as text. `drawn`: its figures
    make a picture. `counts` by bins between `edges`: it is a histogram of `axis`. `missing`: why it cannot be shown.
    """

    kind: str
    title: str
    model: str
    created: str
    note: str = ""
    said: str = ""
    figures: tuple[Figure, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    n: int = 0
    drawn: bool = False
    axis: str = ""
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    missing: str = ""
