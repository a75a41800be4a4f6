"""Compare: original, unlearned and retrained side by side, on rows that no question ever saw."""

from __future__ import annotations

import streamlit as st

from influence.ui import comparing, jobs, state

state.page("Compare", "Original, unlearned and retrained side by side, measured on the holdout rows, which no question ever saw.")
state.need_run()
run = comparing.choose()
if run is None:
    st.stop()
args = {"run": run.id, "group": state.group()}
found = comparing.kept_comparison(run)
if found is None:
    job = jobs.run_button("Compare", "compare", args, "compare.run", cost="A few seconds: each model is measured on all rows")
    jobs.follow(job, on_done=lambda job: st.rerun(), key="compare.follow")
    st.stop()
comparing.claim(run)
st.subheader("What changed", anchor=False)
comparing.metrics(run, found)
st.subheader("Predicted and realised", anchor=False)
comparing.changes(run, found)
st.subheader("What it still shows of the removed rows", anchor=False)
comparing.forgetting(run, found)
st.subheader("Predictions that flipped", anchor=False)
comparing.flips(run, found)
state.link("verify", "Verify it", ":material/verified:", run=run.id)
state.link("report", "Write the report", ":material/arrow_forward:", run=run.id)
