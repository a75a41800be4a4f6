"""What Load asks of texts, and how texts stand in tables: which column holds them, how much of each is read, and a wide column to read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.data.dataset import Dataset
from influence.data.schema import SAMPLE
from influence.data.text.settings import Reading
from influence.data.text.tokens import LONGEST, SHARE, texts_of
from influence.data.text.words import Words
from influence.ui import forms, words
from influence.ui.source import Source

NONE = "None: train on the other columns"
FREE = 4
"""Blanks in the mean cell from which on a column is one of sentences, not of names."""
FEWEST, VARIED = 20, 0.2
"""Distinct cells, and their share of the rows, from which on a column may hold texts: few long names are categories."""
LOOKED_AT = 20_000
SHOWN = 2_000
"""Characters of a text that are sent to a browser."""
WIDE = 640
"""Pixels of a column of texts."""


def column(source: Source) -> Source:
    """Ask which column of a table holds the texts that a model shall read, if one may, and return the source with it and its settings.

    Raises:
        BadInput: the table cannot be read.
    """
    found = {} if source.bundled or source.images else _candidates(source.data, source.stamp, source)
    if not found:
        return source
    key = f"load.{source.data}.text"
    options = [*found, NONE] if any(found.values()) else [NONE, *found]
    about = "A model of texts reads this column alone; the others are for people and groups."
    left, right = st.columns([2, 3], gap="medium", vertical_alignment="top")
    with left:
        picked = st.selectbox("Text column", options, key=key, help=about, persist_state="session")
    if picked == NONE:
        return source
    with right:
        given = forms.settings_form(Reading, f"{key}.reading", hidden=("text", "tokenizer"), automatic=("length",))
        st.caption(_lengths(source.data, picked, int(given.get("length", 0)), source.stamp, source))
    usual = {name: value for name, value in given.items() if value != getattr(Reading(), name)}
    return replace(source, data_set={"text": picked, **usual})


@st.cache_resource(show_spinner="Looking for texts", max_entries=16)
def _candidates(path: str, stamp: tuple[Any, ...], _source: Source) -> dict[str, bool]:
    """Return the columns that may hold texts, those with sentences first, and of each whether it does."""
    n = len(_source.table())
    several = [c for c in _source.columns() if c.kind == "text" or (c.kind == "category" and c.distinct >= max(FEWEST, VARIED * n))]
    looked = {c.name: (c, _sentences(_source.table()[c.name])) for c in several}
    found = {name: free for name, (column, free) in looked.items() if free or column.kind == "text"}
    return dict(sorted(found.items(), key=lambda pair: not pair[1]))


def _sentences(column: pd.Series) -> bool:
    sample = column.dropna().head(SAMPLE)
    return pd.api.types.is_string_dtype(sample.dtype) and float(sample.str.count(r"\s+").mean()) >= FREE


@st.cache_resource(show_spinner="Counting words", max_entries=16)
def _lengths(path: str, column: str, length: int, stamp: tuple[Any, ...], _source: Source) -> str:
    """Say how long the texts are, and how many of them are longer than what is read of each."""
    texts = texts_of(_source.table()[column].head(LOOKED_AT))
    found = Words(()).lengths(texts)
    read = length or max(1, min(LONGEST, int(np.quantile(found, SHARE, method="higher"))))
    cut, empty = int((found > read).sum()), int((found == 0).sum())
    which = "" if len(_source.table()) <= LOOKED_AT else f" Of the first {LOOKED_AT:,} rows."
    told = f"The longest text has {words.count(int(found.max()), 'word')}, half of them at most {int(np.median(found)):,}."
    told += f" The model reads {words.count(read, 'word')} of each: {cut:,} ({words.percent(cut / len(found), 1)}) are longer and are cut."
    return told + (f" {empty:,} have no word." if empty else "") + which


def shape(made: Dataset) -> dict[str, Any]:
    """Return how the column of texts is shown in tables of a data set's rows; nothing for data that are no texts."""
    name = column_of(made)
    return {name: st.column_config.TextColumn(width=WIDE)} if name else {}


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows as they are sent to a browser: of a text of millions of characters the beginning."""
    long = {name: column for name, column in rows.items() if pd.api.types.is_string_dtype(column.dtype) and column.str.len().max() > SHOWN}
    return rows.assign(**{name: column.where(~(column.str.len() > SHOWN), column.str[:SHOWN] + "…") for name, column in long.items()})


def column_of(made: Dataset) -> str:
    """Return the name of the column of texts, or ""."""
    return str(made.encoding["column"]) if made.encoding.get("kind") == "text" else ""
