"""Start: what this is, where the project stands, and three ways on."""

from __future__ import annotations

import os

import streamlit as st

from influence.ui import jobs, standing, state

project, runs = state.project(), state.project().runs()
state.page("Start", "See which training rows a model's behaviour comes from, and make the model forget them, with proof.")
standing.picture(project)
demo = standing.demo_run(runs)
job = jobs.latest("demo")
if os.environ.get("INFLUENCE_DEMO") == "1" and not runs and job is None:
    job = jobs.get(jobs.submit("demo", {}))

left, right = st.columns(2)
with left, st.container(border=True, height="stretch"):
    st.subheader("Open the demo", anchor=False)
    st.write("Loan decisions, simulated, in which some were turned against one group. Find these rows, remove them, and see the gap close.")
    if demo:
        if st.button("Open the demo", key="start.open", icon=":material/play_arrow:", type="primary" if len(runs) == 1 else "secondary"):
            state.go("audit", run=demo.id, group="")
    else:
        job = jobs.run_button("Open the demo", "demo", {}, "start.demo", cost="Trains a small model in a few seconds", primary=not runs)
with right, st.container(border=True, height="stretch"):
    st.subheader("Bring your data", anchor=False)
    st.write("A table with a column to predict, or images in class folders. A model is trained so that every step can be replayed.")
    state.link("load", "Bring your data")
    state.link("bring", "Bring a model that was trained elsewhere")

if not demo:
    jobs.follow(job)
elif job and job.state == "done" and st.session_state.pop("start.demo.asked", None) == job.id:
    state.go("audit", run=str(job.result["run"]), group="")

st.subheader("Open a run", anchor=False)
if runs:
    st.caption(
        "Choose a row to see its groups and their gap on Audit. The model can be chosen in the sidebar, too. Figures in this list are "
        "of the holdout rows, on which results are judged; those of Ask above are of the evaluation rows, of which questions are asked."
    )
    picked = standing.opener(runs)
    if picked:
        state.go("audit", run=picked)
else:
    st.caption("Models that you train or unlearn will stand here.")
