"""Labels that may be wrong, on the Influence page: ask, look at the first rows, choose them."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.actions import mislabelled as looked
from influence.errors import BadInput
from influence.registry import described, mislabelled, settings
from influence.store import Run
from influence.types import as_places
from influence.ui import asking, forms, jobs, kept, scored, state, words

KEY = "labels.method"
SIZES = [20, 50, 100, 200, 500, 1000]
SHARE = 100
"""Rows are offered for the selection in hundredths of all at first."""


def told(run: Run) -> None:
    """Draw the section."""
    st.subheader("Labels that may be wrong", anchor=False)
    if len(state.dataset(run).train.classes) < 2:
        st.caption("Wrong labels are looked for among classes; this target has none.")
        return
    st.caption("Every training row is scored for how likely its label is wrong, without knowing the truth. Look before you remove.")
    name, given = _method(run)
    found = looked.kept(state.project(), run.id, described(mislabelled.make(name, given)))
    if found:
        _rows(run, found)
        return
    args = {"run": run.id, "method": name, "set": given}
    cost = asking.cost(run, name, mislabelled)
    job = jobs.run_button("Look for wrong labels", "mislabelled", args, "labels.look", cost=cost, primary=False, icon=":material/search:")
    jobs.follow(job, key="labels.follow")


def _method(run: Run) -> tuple[str, dict[str, Any]]:
    """Draw the choice among the scores that are open to this model, the default first; say why others are not."""
    it = asking.trained(run.id, str(state.project().path))
    reasons = {name: str(cls().unavailable(it)) for name, cls in mislabelled.classes.items()}
    names = sorted((name for name, reason in reasons.items() if not reason), key=lambda name: (name != looked.DEFAULT, name))
    if st.session_state.get(KEY) not in names:  # another model may have been asked before
        st.session_state[KEY] = names[0]
    left, middle, right = st.columns([3, 2, 7], vertical_alignment="bottom")
    name = left.selectbox("Score", names, format_func=words.title, key=KEY, persist_state="session")
    right.caption(forms.summary(mislabelled, name))
    for other, reason in reasons.items():
        if reason:
            st.caption(f":material/block: **{words.title(other)}** is not open here. {words.escaped(reason)}")
    if not settings(mislabelled.classes[name]):
        return name, {}
    with middle.popover("Settings", icon=":material/tune:", key="labels.settings"):
        return name, forms.settings_form(mislabelled.classes[name], f"labels.{name}")


def _rows(run: Run, found: dict[str, Any]) -> None:
    train, table = state.dataset(run).train, kept.table(found["table"])
    st.markdown(
        f"Another label than the given one is suggested for **{words.count(found['differ'], 'row')}** of {found['n']:,}. "
        f"Looked for {words.ago(found['computed'])} and kept."
    )
    count = st.select_slider("Rows shown", SIZES, SIZES[1], key="labels.count")
    first = table.head(count)
    columns = train.columns.iloc[as_places(first["id"].to_numpy(), train.ids)].reset_index(drop=True)
    st.dataframe(
        scored.beside(first, columns), hide_index=True, height=320, key=f"labels.rows.{found['table'][:12]}",
        alt="The training rows whose labels are likeliest wrong, with the label that is suggested, and their columns.",
        column_config={
            "given": "given label", "suggested": "suggested label",
            "score": st.column_config.NumberColumn("score", format="%.3g", help="Higher is likelier wrong; in no unit."),
        },
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        k = st.number_input("How many", 1, found["n"], max(1, found["n"] // SHARE), key=f"labels.k.{found['table'][:12]}", width=160)
        st.button(
            f"Select the first {words.count(int(k), 'row')}", icon=":material/checklist:", key="labels.choose", on_click=_choose,
            args=(found, int(k)),
        )  # fmt: skip
        st.download_button("Download all", _csv(table), "labels.csv", "text/csv", icon=":material/download:", key="labels.csv")


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False)


def _choose(found: dict[str, Any], k: int) -> None:
    """Make the first k rows the selection."""
    try:
        state.project().choose(looked.first(state.project(), found, k))
    except BadInput as error:
        st.session_state["choosing.error"] = str(error)
