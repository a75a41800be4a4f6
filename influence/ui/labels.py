"""Labels that may be wrong, on the Influence page: ask, look at the first rows, choose them."""

from __future__ import annotations

from typing import Any

import streamlit as st

from influence.actions import mislabelled as looked
from influence.errors import BadInput
from influence.files import csv_text
from influence.registry import described, mislabelled, settings
from influence.store import Run
from influence.types import as_places
from influence.ui import asking, costs, forms, jobs, kept, scored, state, words

KEY = "labels.method"
FIRST = 50
"""Rows that are shown at first: as many as one reads through."""


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
    args = {"run": run.id, "method": name, "set": given, **({"again": True} if found else {})}
    cost = costs.told(run, mislabelled, name, given)
    label, key, icon = (
        ("Look again", "labels.again", ":material/refresh:") if found else ("Look for wrong labels", "labels.look", ":material/search:")
    )
    job = jobs.run_button(label, "mislabelled", args, key, cost=cost, primary=False, icon=icon)
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
            st.caption(f":material/block: **{words.title(other)}** is not open here. {words.escaped(forms.plain(mislabelled, reason))}")
    if not settings(mislabelled.classes[name]):
        return name, {}
    with middle.popover("Settings", icon=":material/tune:", key="labels.settings"):
        return name, forms.settings_form(mislabelled.classes[name], f"labels.{name}")


def _rows(run: Run, found: dict[str, Any]) -> None:
    """Draw the likeliest wrong rows, as many as one wants to look at, and the ways to choose them."""
    train, table = state.dataset(run).train, kept.table(found["table"])
    reads = str(getattr(mislabelled.classes[found["method"]["name"]], "reads", ""))
    st.markdown(
        f"Another label than the given one is suggested for **{words.count(found['differ'], 'row')}** of {found['n']:,}. Not all of these "
        f"labels are wrong; the likeliest come first. Looked for {words.ago(found['computed'])} and kept."
    )
    k = int(st.number_input("How many to look at", 1, found["n"], min(FIRST, found["n"]), key=f"labels.k.{found['table'][:12]}", width=200))
    first = table.head(min(k, scored.SHOWN))
    columns = train.columns.drop(columns=state.dataset(run).target, errors="ignore").iloc[as_places(first["id"].to_numpy(), train.ids)]
    scored.ticked(
        run, first, columns, "labels.rows", found["table"],
        "The training rows whose labels are likeliest wrong, with the label that is suggested, and their columns.",
        {
            "given": "given label", "suggested": "suggested label",
            "score": st.column_config.NumberColumn("score", format="%.3g", help=reads),
        },
    )  # fmt: skip
    if k > len(first):
        st.caption(f"The first {len(first):,} of them are shown.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button(
            f"Select {f'these {k:,} rows' if k > 1 else 'this row'}", icon=":material/checklist:", key="labels.choose", on_click=_choose,
            args=(found, k),
        )  # fmt: skip
        n = looked.correctable(table, k)
        st.button(
            f"Correct {words.count(n, 'label')}", icon=":material/edit:", key="labels.correct", on_click=_choose, args=(found, k, True),
            disabled=not n, help="Gives those of these rows the suggested label where it is another; they are relabelled on Run.",
        )  # fmt: skip
        st.download_button("Download all", lambda: csv_text(table), "labels.csv", "text/csv", icon=":material/download:", key="labels.csv")


def _choose(found: dict[str, Any], k: int, correct: bool = False) -> None:
    """Make the first k rows the selection, to be removed or corrected."""
    try:
        state.project().choose((looked.correction if correct else looked.first)(state.project(), found, k))
    except BadInput as error:
        st.session_state["choosing.error"] = str(error)
