"""Pictures of rows that are images: beside the rows of a table, and a few of each class before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.data.dataset import Dataset, Role
from influence.data.images import thumbnails
from influence.data.images.decode import Unreadable
from influence.data.images.size import spread
from influence.store import Run
from influence.types import as_places
from influence.ui import state, words
from influence.ui.source import Source

COLUMN = "image"
PAGE = 60
"""Rows with pictures that are sent to a browser at once."""
ROW = 68
"""Height of a row that shows a picture, in pixels."""
EACH = 6
"""Pictures of a class."""
LINE = 8
"""Pictures of a group of images that look alike."""
CLASSES = 30
"""Classes of which pictures are shown."""


def shape(label: str = "") -> Any:
    """Return how a column of pictures is shown."""
    return st.column_config.ImageColumn(label or None, width="small")


def beside(table: pd.DataFrame, drawn: Sequence[str | None] | None) -> pd.DataFrame:
    """Return a table with pictures before its other columns, or as it is if there are none."""
    if drawn is None:
        return table
    rest = table.rename(columns={COLUMN: f"{COLUMN} (data)"})
    return pd.concat([pd.Series(list(drawn), dtype=object, name=COLUMN, index=table.index), rest], axis=1)


def look(drawn: object) -> dict[str, Any]:
    """Return the arguments of `st.dataframe` by which pictures are large enough to be seen, if there are any."""
    return {} if drawn is None else {"row_height": ROW}


def table(rows: pd.DataFrame, drawn: Sequence[str | None] | None, alt: str, config: Mapping[str, Any] | None = None) -> None:
    """Draw rows with their pictures, if there are any; `config`: how other columns are shown."""
    shown = {**(config or {}), **({COLUMN: shape()} if drawn else {})}
    st.dataframe(beside(rows, drawn), hide_index=True, alt=alt, column_config=shown, **look(drawn))


def lines(first: pd.DataFrame, drawn: Sequence[Sequence[str]], alt: str, key: str) -> None:
    """Draw rows of a table that each stand for several images, with some of those: `drawn`, up to `LINE` of each."""
    table = first.reset_index(drop=True)
    for i in range(LINE):
        table[f"picture {i + 1}"] = [some[i] if i < len(some) else "" for some in drawn]
    st.dataframe(
        table, hide_index=True, row_height=ROW, key=key, alt=alt, column_config={f"picture {i + 1}": shape(" ") for i in range(LINE)}
    )


def drawable(run: Run) -> bool:
    """Whether the rows of a run are images."""
    return thumbnails.drawable(state.dataset(run).train.shape)


def of_run(run: Run, ids: np.ndarray, role: Role = "train") -> list[str] | None:
    """Return pictures of a role's rows as the model sees them, or None if they are no images."""
    data = state.dataset(run)
    if not drawable(run):
        return None
    return _of_rows(run.dataset, role, tuple(as_places(ids, data.split(role).ids).tolist()), data)


def of_dataset(made: Dataset, count: int) -> list[str] | None:
    """Return pictures of the first training rows, or None if they are no images."""
    return [thumbnails.of_pixels(row) for row in made.train.x[:count]] if thumbnails.drawable(made.train.shape) else None  # type: ignore[index]


@st.cache_resource(show_spinner=False, max_entries=32)
def _of_rows(dataset: str, role: Role, places: tuple[int, ...], _data: Dataset) -> list[str]:
    return [thumbnails.of_pixels(_data.split(role).x[place]) for place in places]  # type: ignore[index]


def of_source(source: Source, places: tuple[int, ...]) -> list[str | None]:
    """Return pictures of images that are not trained on yet, in the order of their source; None for what cannot be read."""
    return _of_source(source.data, source.stamp, places, source)


@st.cache_resource(show_spinner="Drawing pictures", max_entries=16)
def _of_source(path: str, stamp: tuple[Any, ...], places: tuple[int, ...], _source: Source) -> list[str | None]:
    drawn: dict[int, str | None] = {}
    with _source.found().opened() as read:
        for place in sorted(set(places)):
            try:
                drawn[place] = thumbnails.of_found(read(place))
            except Unreadable:
                drawn[place] = None
    return [drawn[place] for place in places]


def classes(source: Source, target: str) -> None:
    """Draw a line for each class with how many images it has and a few of them: are the labels right?"""
    table = source.found().table
    given = table[target].dropna() if target in table else table.iloc[:0, 0]
    values = given.value_counts().sort_index() if given.nunique() <= len(given) / 2 else given.iloc[:0].value_counts()
    if values.empty:
        return
    shown = values.index[:CLASSES]
    members = {value: given.index[given == value].to_numpy() for value in shown}
    chosen = {value: tuple(rows[spread(len(rows), EACH)].tolist()) for value, rows in members.items()}
    drawn = iter(of_source(source, tuple(place for places in chosen.values() for place in places)))
    rows = []
    for value, places in chosen.items():
        pictures = [next(drawn) for _ in places] + [None] * (EACH - len(places))
        rows.append({target: str(value), "images": int(values[value]), **{f"picture {i}": p for i, p in enumerate(pictures, 1)}})
    more = f" The first {CLASSES} of {len(values):,} classes are shown." if len(values) > CLASSES else ""
    st.markdown(f"**Is each image what its label says?** {words.count(len(table), 'image')} in {len(values):,} classes.{more}")
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, row_height=ROW, height=min(len(rows), 10) * ROW + 40, key="pictures.classes",
        column_config={f"picture {i}": shape(" ") for i in range(1, EACH + 1)},
        alt=f"Classes with how many images they have, and up to {EACH} images of each.",
    )  # fmt: skip
