"""How good a model of several classes is at each of them, on Audit: two classes are told by the rates of the groups."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from influence.charts.colours import GROUPS
from influence.charts.forest import forest
from influence.evaluation.by_class import by_class
from influence.store import Run
from influence.ui import auditing, state, whole, words

DRAWN = 12
"""So many classes, those of which least is found, are drawn; the table holds all."""
FIGURES = {"recall": "rows that truly are", "precision": "rows said to be"}
"""What is told of a class, and of which rows."""


def told(run: Run) -> None:
    """Draw recall and precision of each class with intervals and n; nothing of two classes or of a number."""
    if len(state.dataset(run).evaluation.classes) < 3:
        return
    found = _by_class(run.body["predictions"], run)
    drawn, few = weakest(found), int(found[found["metric"] == "recall"]["low"].isna().sum())
    st.markdown("**Which classes does it find?**")
    if len(drawn):
        tints = dict.fromkeys(drawn["class"], GROUPS[0])
        st.plotly_chart(
            forest(drawn, tints, by="class", axis="Recall: of a class's rows, the share that it finds", within=(0.0, 1.0)),
            key="audit.classes", config={"displayModeBar": False},
            alt="Recall of classes with 95 % intervals; the table below holds the figures.",
        )  # fmt: skip
    more = found["class"].nunique() - few - len(drawn)
    said = f"Drawn are the {DRAWN} classes of which it finds least; {more:,} more stand in the table. " if more > 0 else ""
    said += f"Not drawn: {few:,} with fewer than ten rows, too few to say." if few else ""
    st.caption(said) if said else None
    with st.expander("Recall and precision as a table"):
        st.caption("Precision: of the rows that are said to be of a class, the share that truly is.")
        told = columns(found)
        st.dataframe(
            told, hide_index=True, column_config=whole.shape(told), alt="Recall and precision of each class, with 95 % intervals and n."
        )


def weakest(found: pd.DataFrame) -> pd.DataFrame:
    """Return the recall of classes with ten rows and more, in their order; of many, of which least is found, least first."""
    recall = found[(found["metric"] == "recall") & found["low"].notna()]
    return recall if len(recall) <= DRAWN else recall.sort_values("value", kind="stable").head(DRAWN)


def columns(found: pd.DataFrame) -> pd.DataFrame:
    """Return one row per class: of each figure the value, its interval as text, and the rows it rests on."""
    table = pd.DataFrame({"class": found["class"].unique()})
    for metric, rows in FIGURES.items():
        part = found[found["metric"] == metric].reset_index(drop=True)
        table[metric] = part["value"].round(3)
        table[f"{metric}, 95 %"] = [words.interval(a, b) for a, b in zip(part["low"], part["high"], strict=True)]
        table[rows] = part["n"]
    return table


@st.cache_resource(show_spinner=False, max_entries=8)
def _by_class(predictions: str, _run: Run) -> pd.DataFrame:
    return by_class(auditing.logits(_run), state.dataset(_run).evaluation)
