"""Run: choose how the model forgets, watch it happen, beside other methods, and go on to the comparison."""

from __future__ import annotations

import streamlit as st

from influence.ui import address, forgetting, jobs, state, stepping

state.page("Run", "Make the model forget the selected rows, or their old labels, and watch losses, accuracy and the gap move.")
address.say(st.empty(), [], "run")
run = state.need_run()
stepping.tidy()
selection, job = state.selection(), jobs.shown("unlearn", run=run.id)
forgetting.elsewhere(run)
if selection is not None:
    with st.expander("What and how", expanded=job is None, icon=":material/tune:"):
        forgetting.start(run, selection)
tried = forgetting.tried(run, selection, job)
if len(tried) > 1:
    forgetting.race(run, tried)
elif job:
    jobs.follow(job, forgetting.result, forgetting.curves, key="run")
elif tried:
    forgetting.closer(tried[0])
elif run.kind == "unlearn":
    forgetting.outcome(run, state.group())
elif selection is None:
    st.info("No rows are selected. Choose rows by their influence on Influence, or by their ids or a rule on Plan.", icon=":material/info:")
    with st.container(horizontal=True):
        state.link("influence", "Find influential rows")
        state.link("plan", "Plan a removal")
