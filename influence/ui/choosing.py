"""The current selection: making it, combining it, looking at it, undoing it. One per project, the same on every page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.errors import BadInput
from influence.finders import _sets
from influence.registry import finders
from influence.store import Run
from influence.types import Scores, Selection
from influence.ui import state, words

HOW = {
    "Replace the selection": lambda new, old: new,
    "Add to the selection": lambda new, old: _sets.union(old, new) if old else new,
    "Keep only those in both": lambda new, old: _sets.intersection(old, new) if old else new,
    "Take out of the selection": lambda new, old: _sets.difference(old, new) if old else new,
}


def find(run: Run, finder: str, given: dict[str, Any], scores: Scores | None, how: str, digest: str = "") -> None:
    """Find rows and combine them with the current selection; what cannot be done is said in a sentence."""
    try:
        found = finders.make(finder, given)(scores, state.dataset(run).train)
        reason = {**found.reason, "scores": digest} if digest and finder == "top_k" else dict(found.reason)
        made = HOW[how](Selection(found.ids, found.action, reason), state.selection())
        # Ids may mean other rows in other data, so a selection says of which data its rows are.
        state.project().choose(Selection(made.ids, made.action, {**made.reason, "dataset": run.dataset}))
    except BadInput as error:
        st.session_state["choosing.error"] = str(error)


def told() -> None:
    """Show what could not be done in the last step."""
    error = st.session_state.pop("choosing.error", "")
    if error:
        st.error(words.escaped(error), icon=":material/error:")


def review(run: Run, columns: tuple[str, ...]) -> Selection | None:
    """Show the current selection: how many rows, by what rule, and how they differ from all training rows; with undo and clear."""
    selection, train = state.selection(), state.dataset(run).train
    if selection is None:
        st.caption("No rows are selected yet.")
        st.button("Undo", icon=":material/undo:", on_click=state.project().undo, key="choosing.undo.empty", type="tertiary")
        return None
    try:
        mask = train.mask(selection.ids)
    except BadInput:
        st.warning("The current selection belongs to other data. Choose rows of this model's training data.", icon=":material/warning:")
        return None
    st.markdown(
        f"**{words.count(len(selection), 'training row')}** of {len(train):,} ({words.percent(len(selection) / len(train))}): "
        f"{words.escaped(selection.reason.get('words', selection.reason.get('rule', 'chosen')))}."
    )
    parts = [composition(train.columns[c], mask, c) for c in columns if c in train.columns and train.columns[c].nunique() <= 12]
    if parts:
        st.dataframe(
            pd.concat(parts, ignore_index=True),
            hide_index=True,
            column_config={
                "selected share": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1, color="blue"),
                "share of all": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1, color="gray"),
            },
        )
    with st.container(horizontal=True):
        st.button("Undo", icon=":material/undo:", on_click=state.project().undo, key="choosing.undo")
        st.button("Clear", icon=":material/close:", on_click=state.project().choose, args=(Selection(()),), key="choosing.clear")
        csv = pd.DataFrame({"id": selection.ids}).to_csv(index=False)
        st.download_button("Download ids", csv, "selection.csv", "text/csv", icon=":material/download:", key="choosing.csv")
    return selection


def composition(values: pd.Series, mask: np.ndarray, column: str) -> pd.DataFrame:
    """Return how often each value occurs among the selected and among all rows."""
    names = values.astype(object).where(values.notna(), "missing").astype(str)
    whole, chosen = names.value_counts().sort_index(), names[mask].value_counts()
    counts = chosen.reindex(whole.index, fill_value=0)
    return pd.DataFrame(
        {
            "column": column,
            "value": whole.index,
            "selected": counts.to_numpy(),
            "selected share": counts.to_numpy() / max(1, mask.sum()),
            "share of all": whole.to_numpy() / len(mask),
        }
    )
