"""Rails: the first rows of a list beside the one that they are compared with, with what they share or differ in marked."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.data.dataset import Role
from influence.store import Run
from influence.ui import pictures, scored, state, texts, words

MARK = "background-color: rgba(230, 97, 1, 0.28)"
"""Cells that differ: readable on light and dark grounds."""
FAR = 0.5
"""Numbers differ if they lie farther apart than this many standard deviations of the training rows."""
COMMON = 0.1
"""Words that a larger share of the training texts has are not marked: every text shares them."""
LOOKED_AT = 5_000
CARDS = 8
"""Texts in a rail: as many as one reads."""
READ = 400
"""Characters of a text on a card."""
WIDE = 200
"""Columns of a table that are compared and sent."""
GROUND = ":orange-background["
"""What a marked word begins with in Markdown; a text's own colons are escaped."""
MARKING, SHARED, DIFFERENT = "rails.marking", "Words in common", "Words that differ"
WORD = re.compile(r"\w+")
NUMBER = st.column_config.NumberColumn
DIFFERS = st.column_config.TextColumn("differs", width=72, help="In how many of the columns the row differs from the one above.")


@dataclass(frozen=True)
class Rail:
    """Rows of a role, strongest first. `first`: their ids and figures, `id` leading; `shape`: how the figures are shown."""

    role: Role
    first: pd.DataFrame
    key: str
    alt: str
    shape: dict[str, Any] = field(default_factory=dict)


def draw(run: Run, rail: Rail, one: pd.Series, then: Callable[[list[Any], str], None]) -> bool:
    """Draw a rail beside the row `one` (its columns), and return whether anything in it is marked.

    `then(ids, key)` draws what can be done with the ticked rows.
    """
    if rail.first.empty:
        st.caption("No row.")
        return False
    examples = state.dataset(run).split(rail.role)
    places = pd.Index(examples.ids).get_indexer(pd.Index(rail.first["id"]))
    columns = examples.columns.iloc[places].reset_index(drop=True)
    drawn = _cards if texts.column_of(state.dataset(run)) else _table
    picked, found = drawn(run, rail, columns, one)
    if picked:
        then(picked, rail.key)
    return found


def _table(run: Run, rail: Rail, columns: pd.DataFrame, one: pd.Series) -> tuple[list[Any], bool]:
    """Draw the rows as a table, the target beside the id; return the ids of the ticked ones, and whether a cell is marked."""
    made = state.dataset(run)
    columns = columns[[name for name in dict.fromkeys((made.target, *columns)) if name in columns][:WIDE]]
    differ = differing(columns, one, spread(run.dataset, run))
    images = pictures.of_run(run, rail.first["id"].to_numpy(), rail.role)
    told = rail.first if images else rail.first.assign(differs=[f"{int(n)} of {len(columns.columns)}" for n in differ.sum(1)])
    table = scored.beside(told, columns)
    styles = pd.DataFrame("", index=table.index, columns=table.columns)
    styles.iloc[:, len(told.columns) :] = np.where(differ, MARK, "")
    own = len(told.columns) if made.target in columns else 1
    table = table.iloc[:, [0, own, *(k for k in range(1, len(table.columns)) if k != own)]] if own > 1 else table
    shown = pictures.beside(table, images)
    styles = styles.reindex(columns=shown.columns, fill_value="")
    look = shown.style.apply(lambda _: styles, axis=None).format("{:g}", subset=list(shown.select_dtypes("float")), na_rep="")
    event = st.dataframe(
        look, hide_index=True, on_select="rerun", selection_mode="multi-row", key=rail.key,
        height=320 if images is None else 420, alt=rail.alt, **pictures.look(images),
        column_config={"id": st.column_config.Column(width=56), "differs": DIFFERS, **rail.shape, pictures.COLUMN: pictures.shape()},
    )  # fmt: skip
    return [rail.first["id"].iloc[i] for i in event["selection"]["rows"] if i < len(rail.first)], bool(differ.any())


def differing(rows: pd.DataFrame, one: pd.Series, far: pd.Series) -> np.ndarray:
    """Return which cells of rows differ from the row `one`, (B, columns) bool; `far`: from where on numbers do, by column."""
    found = np.zeros(rows.shape, dtype=bool)
    for place, (name, column) in enumerate(rows.items()):
        other = one.get(name)
        missing = column.isna().to_numpy(), bool(pd.isna(other))
        if name in far.index and not missing[1]:
            apart = (column.astype(float) - float(other)).abs().to_numpy() > far[name]
        else:
            apart = column.astype(str).to_numpy() != str(other)
        found[:, place] = np.where(missing[0] | missing[1], missing[0] != missing[1], apart)
    return found


@st.cache_resource(show_spinner=False, max_entries=16)
def spread(dataset: str, _run: Run) -> pd.Series:
    """Return from where on two numbers differ, by column of numbers: a part of the training rows' standard deviation."""
    numbers = state.dataset(_run).train.columns.select_dtypes("number")
    return FAR * numbers.std(ddof=0)


def _cards(run: Run, rail: Rail, columns: pd.DataFrame, one: pd.Series) -> tuple[list[Any], bool]:
    """Draw the rows as texts with the words marked that they share with `one`; return the ids of the ticked ones, and whether a word is."""
    made = state.dataset(run)
    name, picked, found = texts.column_of(made), [], False
    differ = st.session_state.get(MARKING) == DIFFERENT
    own = telling(str(one[name]), frozenset() if differ else common(run.dataset, run))
    for place, told in enumerate(rail.first.head(CARDS).to_dict("records")):
        label = [f"{made.target} {columns[made.target].iloc[place]}"] if made.target in columns else []
        figures = [_figure(rail.shape.get(key) or {}, key, value) for key, value in told.items() if key != "id"]
        with st.container(border=True):
            head = " · ".join([f"**Row {words.escaped(told['id'])}**", *map(words.escaped, [*label, *figures])])
            if st.checkbox(head, key=f"{rail.key}.{told['id']}"):
                picked.append(told["id"])
            said = marked(str(columns[name].iloc[place]), own, differ)
            st.markdown(said)
            found |= GROUND in said
    return picked, found


def _figure(shape: Any, key: str, value: object) -> str:
    """Return a figure with its name, with as many decimals as its column in a table would have."""
    decimals = re.fullmatch(r"%\.(\d+)f", str((shape.get("type_config") or {}).get("format")))
    said = words.number(value, int(decimals[1]) if decimals else 3) if isinstance(value, float) else str(value)
    return f"{shape.get('label') or key} {said}"


def telling(text: str, common: frozenset[str]) -> frozenset[str]:
    """Return the words of a text that not every text has."""
    return frozenset(word.lower() for word in WORD.findall(text)) - common


@st.cache_resource(show_spinner=False, max_entries=16)
def common(dataset: str, _run: Run) -> frozenset[str]:
    """Return the words that many training texts have."""
    made = state.dataset(_run)
    read = made.train.columns[texts.column_of(made)].head(LOOKED_AT)
    counts = pd.Series([word for text in read for word in {w.lower() for w in WORD.findall(str(text))}], dtype=object).value_counts()
    return frozenset(counts.index[counts > COMMON * len(read)])


def marked(text: str, own: frozenset[str], differ: bool = False) -> str:
    """Return the beginning of a text as Markdown that shows it letter by letter, with the words of `own`, or all others, marked."""
    said = " ".join(text.split())
    said = said if len(said) <= READ else said[:READ] + "…"
    parts: Sequence[str] = re.split(r"(\w+)", said)
    found = [bool(WORD.fullmatch(part)) and (part.lower() in own) != differ for part in parts]
    return "".join(f"{GROUND}{words.escaped(part)}]" if mark else words.escaped(part) for part, mark in zip(parts, found, strict=True))


def marking(run: Run) -> None:
    """Draw the choice of what is marked in texts; rows of a table have their cells marked that differ."""
    if texts.column_of(state.dataset(run)):
        st.segmented_control("Mark in texts", [SHARED, DIFFERENT], default=SHARED, required=True, key=MARKING, persist_state="session")


def rule(run: Run) -> str:
    """Say what is marked."""
    if texts.column_of(state.dataset(run)):
        if st.session_state.get(MARKING) == DIFFERENT:
            return "Marked: words that the text above does not have."
        return f"Marked: words that the texts share, but for those that more than {words.percent(COMMON, 0)} of the training texts have."
    return f"Marked: cells that differ from the row above; numbers by more than {FAR:g} standard deviations of the training rows."
