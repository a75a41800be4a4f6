"""Run: choose how the model forgets, watch it happen, and go on to the comparison."""

from __future__ import annotations

import streamlit as st

from influence.ui import forgetting, jobs, state

state.page("Run", "Make the model forget the selected rows, and watch losses, accuracy and the gap move.")
run = state.need_run()
selection, job = state.selection(), jobs.shown("unlearn")
if selection is not None:
    with st.expander("What and how", expanded=job is None, icon=":material/tune:"):
        forgetting.start(run, selection)
if job:
    jobs.follow(job, forgetting.result, forgetting.curves, key="run")
elif selection is None:
    st.info("No rows are selected. Choose rows by their influence on Influence, or by a rule on Plan.", icon=":material/info:")
    with st.container(horizontal=True):
        state.link("influence", "Find influential rows")
        state.link("plan", "Plan a removal")
