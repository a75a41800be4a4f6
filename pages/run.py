"""Run: choose how the model forgets, watch it happen, and go on to the comparison."""

from __future__ import annotations

import streamlit as st

from influence.ui import forgetting, jobs, state

run = state.need_run()
state.page("Run", "Make the model forget the selected rows, and watch losses, accuracy and the gap move.")
selection = state.selection()
if selection is not None:
    st.subheader("What and how", anchor=False)
    if forgetting.rows(run, selection):
        left, right = st.columns([2, 1], gap="medium")
        with left:
            method, settings = forgetting.method(run)
        with right:
            query = forgetting.gap(run)
        args = {"run": run.id, "method": method, "set": settings, "group": state.group(), "query": query}
        if method:
            jobs.run_button("Start unlearning", "unlearn", args, "run.start", cost=forgetting.cost(run, method))

job = jobs.shown("unlearn")
if job:
    st.subheader("What happens", anchor=False)
    jobs.follow(job, forgetting.result, forgetting.curves, key="run")
elif selection is None:
    st.info("No rows are selected. Choose rows by their influence on Influence, or by a rule on Plan.", icon=":material/info:")
    with st.container(horizontal=True):
        state.link("influence", "Find influential rows")
        state.link("plan", "Plan a removal")
