"""Data as a page knows it: where it is, and what it holds, read once per content and shared by all sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from influence.data.dataset import Dataset
from influence.data.images.found import Images
from influence.data.images.prepare import outline, wished
from influence.data.images.settings import Reading
from influence.data.images.sources import find, holds_images
from influence.data.read import is_name, read_table
from influence.data.schema import Column, infer
from influence.registry import build, datasets
from influence.store.formats import canonical


@dataclass(frozen=True)
class Source:
    """Data as the action `train` takes it: a path, of images with the settings of their reading; a name; `bundled:NAME` with its settings.

    `name`: what it is called.
    """

    data: str
    name: str
    data_set: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stamp(self) -> tuple[Any, ...]:
        """What changes when the content does."""
        if self.bundled:
            return (self.data, *sorted(self.data_set.items()))
        if is_name(self.data):
            return (self.data,)
        path = Path(self.data)
        inner = sorted((child.name, child.stat().st_mtime_ns) for child in path.glob("*/")) if path.is_dir() else ()
        return self.data, path.stat().st_size, path.stat().st_mtime_ns, *inner

    @property
    def bundled(self) -> bool:
        """Whether it is one of the bundled sets, whose columns have their parts already."""
        return self.data.startswith("bundled:")

    @property
    def texts(self) -> bool:
        """Whether it is a table of which a column of texts is read."""
        return not self.bundled and bool(self.data_set.get("text"))

    @property
    def images(self) -> bool:
        """Whether it is read as images."""
        return not self.bundled and holds_images(self.data, self.data_set.get("image", ""))

    def table(self) -> pd.DataFrame:
        """Return the table, or what is told of images, read once per content and shared: do not change it.

        Raises:
            BadInput: it cannot be read.
        """
        return self.found().table if self.images else _table(self.data, self.stamp)

    def first(self, rows: int) -> pd.DataFrame:
        """Return the first rows of a table, at once however many there are.

        Raises:
            BadInput: they cannot be read.
        """
        return self.table().head(rows) if is_name(self.data) else _first(self.data, rows, self.stamp)  # what is far is fetched once

    def found(self) -> Images:
        """Return the images, none decoded.

        Raises:
            BadInput: there are none, or they are not to be trusted.
        """
        return _found(self.data, self.data_set.get("image", ""), self.stamp)

    def outline(self, seed: int, columns: Mapping[str, Any]) -> Dataset:
        """Return the data set of images as it will be, without pixels.

        Raises:
            BadInput: something chosen cannot be used.
        """
        return _outline(canonical([self.stamp, dict(self.data_set), seed, columns]), self, seed, columns)

    def columns(self) -> list[Column]:
        """Return what each column is."""
        return _columns(self.data, self.stamp)

    def dataset(self) -> Dataset:
        """Return the bundled set."""
        return _bundled(self.data.removeprefix("bundled:"), self.stamp, dict(self.data_set))


@st.cache_resource(show_spinner="Reading the table", max_entries=4)
def _table(path: str, stamp: tuple[Any, ...]) -> pd.DataFrame:
    return read_table(path)


@st.cache_resource(show_spinner="Reading the first rows", max_entries=16)
def _first(path: str, rows: int, stamp: tuple[Any, ...]) -> pd.DataFrame:
    return read_table(path, rows=rows)


@st.cache_resource(show_spinner="Looking for images", max_entries=4)
def _found(path: str, column: str, stamp: tuple[Any, ...]) -> Images:
    return find(path, column)


@st.cache_resource(show_spinner="Looking at the images", max_entries=4)
def _outline(key: str, _source: Source, _seed: int, _columns: Mapping[str, Any]) -> Dataset:
    images = _source.found()
    return outline(images, wished(images, seed=_seed, name=_source.name, reading=build(Reading, _source.data_set), **_columns))


@st.cache_resource(show_spinner="Looking at the columns", max_entries=16)
def _columns(path: str, stamp: tuple[Any, ...]) -> list[Column]:
    return infer(_table(path, stamp))


@st.cache_resource(show_spinner="Making the data set", max_entries=4)
def _bundled(name: str, stamp: tuple[Any, ...], _given: dict[str, Any]) -> Dataset:
    made: Dataset = datasets.make(name, _given)()
    return made
