"""Outliers on the Suspects page: training rows that lie alone, and the way to a selection."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from influence.actions import outliers
from influence.store import Run
from influence.types import as_places
from influence.ui import choosing, jobs, kept, scored, state, words

NEIGHBOURS = 20
SHOWN = 100
SECONDS = 4e-4
"""A row, measured of 15 columns on one core: the more columns, the less a tree of rows helps, and the rest goes faster without it."""


def section(run: Run) -> None:
    """Draw the ranked rows, and how many of them become the selection."""
    found = outliers.kept(state.project(), run.dataset, NEIGHBOURS)
    if found is None:
        asked = {"run": run.id, "neighbours": NEIGHBOURS}
        n = len(state.dataset(run).train)
        price = f"At most {words.about(SECONDS * n)}"
        job = jobs.run_button("Look for outliers", "outliers", asked, "outliers.look", cost=price, icon=":material/scatter_plot:")
        jobs.follow(job, key="outliers.follow")
        return
    scores, train = outliers.remaining(run, kept.scores(found["scores"])), state.dataset(run).train
    values = scores.column()
    order = np.argsort(-values, kind="stable")[:SHOWN]
    beyond = int((values > 1.5).sum())
    few = found["searched"] < found["different"]
    bound = f" Neighbours were looked for among {found['searched']:,} of {found['different']:,} different rows." if few else ""
    st.markdown(
        f"Local outlier factor of {found['n']:,} training rows: how much thinner other rows lie around a row than around its "
        f"{NEIGHBOURS} neighbours. About 1 among its like; **{words.count(beyond, 'row')}** lie above 1.5, the largest is "
        f"{words.number(float(values.max()), 2)}.{bound} It asks the inputs alone, no model and no question. **Rare is not wrong**: "
        "look before removing."
    )
    removed = found["n"] - len(values)
    if removed:
        st.caption(f"This model was made without {words.count(removed, 'row')} of them, which are not listed.")
    first = pd.DataFrame({"id": scores.ids[order], "factor": values[order].astype(float)})
    scored.ticked(
        run, first, train.columns.iloc[as_places(scores.ids[order], train.ids)], "outliers", found["scores"],
        "The training rows that lie most alone, with their columns.", {"factor": st.column_config.NumberColumn(format="%.2f")},
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        k = int(st.number_input("First rows", 1, len(values), min(len(values), max(1, beyond)), key="outliers.k", width=160))
        how = st.selectbox("Then", list(choosing.HOW), key="outliers.how", width=260)
        args = (run, "outliers", {"k": k, "neighbours": NEIGHBOURS}, scores, how)
        st.button("Choose these rows", key="outliers.choose", icon=":material/checklist:", on_click=choosing.find, args=args)
