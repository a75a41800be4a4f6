"""The sizes of classes and groups, by role: the first thing to look at in data."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from influence.data.dataset import ROLES, Dataset
from influence.data.sizes import sizes
from influence.ui import state, whole, words


def of_dataset(made: Dataset) -> None:
    """Draw what a data set holds."""
    state.simulated(made)
    told(made.name, {role: len(made.split(role)) for role in ROLES}, made.notes, sizes(made))


def told(name: str, rows: dict[str, int], notes: str, table: pd.DataFrame) -> None:
    """Draw how many rows each role has, what is noted of the data, and the sizes of classes and groups."""
    words_of = dict(zip(ROLES, ("training", "evaluation", "holdout"), strict=True))
    count = ", ".join(f"{rows[role]:,} {word}" for role, word in words_of.items())
    st.markdown(f"**{words.escaped(name)}**: {count} rows. {words.escaped(notes)}")
    if table.empty:
        return
    percent = st.column_config.NumberColumn(format="percent")
    shape = whole.shape(table) | {column: percent for column in table if str(column).startswith("Share")}
    st.dataframe(
        table, hide_index=True, column_config=shape, placeholder="",
        alt="Sizes of classes and groups among training, evaluation and holdout rows",
    )  # fmt: skip
