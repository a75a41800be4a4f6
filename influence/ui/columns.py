"""The columns of a table: what each is and which part it plays, and the choice of another kind than was found."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from influence.data.choices import Choices
from influence.data.kinds import KINDS
from influence.data.schema import USABLE, Column
from influence.ui import words


def kinds(found: list[Column], key: str) -> dict[str, str]:
    """Draw the choice of columns whose kind is another than was found; return their kinds by name."""
    names = {column.name: column.kind for column in found}
    about = "Found from the cells is what the table below says. Where you know better, choose the column and then what it is."
    given = {}
    for name in st.multiselect(
        "Change the kind of", list(names), key=f"{key}.kinds", help=about, placeholder="None", persist_state="session"
    ):
        left, right = st.columns([1, 2], vertical_alignment="bottom")
        kinds = [kind for kind in KINDS if kind == names[name]] + [kind for kind in KINDS if kind != names[name]]  # what was found first
        with left:
            kind = st.selectbox(f"Kind of {words.escaped(name)}", kinds, key=f"{key}.kind.{name}", persist_state="session")
        with right:
            given[name] = _ordered(name, key) if kind == "ordered" else kind
            st.caption(f"{KINDS[kind][:1].upper()}{KINDS[kind][1:]}.") if kind != "ordered" else None
    return given


def leaks(name: str, key: str) -> None:
    """Say that a column is a leak, as if it was chosen in the form."""
    st.session_state[f"{key}.kinds"] = list(dict.fromkeys((*st.session_state.get(f"{key}.kinds", ()), name)))
    st.session_state[f"{key}.kind.{name}"] = "leak"


def _ordered(name: str, key: str) -> str:
    about = "Names with commas between them. Left empty: by the numbers in the names, or as a usual scale such as low, medium, high."
    steps = st.text_input("From least to most", key=f"{key}.order.{name}", help=about, placeholder="Found out", persist_state="session")
    return f"ordered:{steps}" if steps.strip() else "ordered"


def shown(found: list[Column], choices: Choices, text: str = "") -> pd.DataFrame:
    """Return the table of columns for the screen; `text`: the column of texts, which is then the only input."""
    rows = [(c.name, _part(c, choices, text), _kind(c, choices), c.missing, c.distinct, c.example, _note(c, choices)) for c in found]
    return pd.DataFrame(rows, columns=["Column", "Part", "Kind", "Missing", "Distinct", "Example", "Note"])


def _kind(column: Column, choices: Choices) -> str:
    return choices.kinds.get(column.name, column.kind).partition(":")[0]


def _note(column: Column, choices: Choices) -> str:
    return f"found: {column.kind}" if _kind(column, choices) != column.kind else column.note


def _part(column: Column, choices: Choices, text: str) -> str:
    part, kind = choices.part(column.name), _kind(column, choices)
    if text:
        return "text" if column.name == text else "shown" if part == "input" else part
    used = kind in USABLE or (kind == "date" and column.name in choices.kinds)
    return "not used" if part == "input" and not used else part
