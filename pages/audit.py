"""Audit: is there a problem? Groups with intervals, and the gaps between them in one sentence."""

from __future__ import annotations

import streamlit as st

from influence.ui import auditing, state

state.page("Audit", "Is there a problem? How well the model does, and how differently it treats groups, on the evaluation rows.")
run = state.need_run()
group = state.group()
auditing.sizes(run, group)
st.subheader("How good is it?", anchor=False)
auditing.utility(run)
state.link("trace", "Trace the most wrong predictions to training rows")
if not group:
    st.info(
        "No group column was named when this model was trained. Load the data again with a protected or audit column to compare groups."
    )
    state.link("load", "Load data")
    st.stop()
st.subheader("How does it treat groups?", anchor=False)
gap = auditing.gaps(run, group)
auditing.groups(run, group)
auditing.threshold(run, group)
st.subheader("Is data behind it?", anchor=False)
st.write("Ask which training rows this gap comes from: each row is scored by what its removal would do to it.")
if st.button(f"Why? Ask which rows make the {gap}", type="primary", icon=":material/search:"):
    state.go("influence", query=auditing.question(run))
