"""Audit: is there a problem? Groups with intervals, and the gaps between them in one sentence."""

from __future__ import annotations

import streamlit as st

from influence.ui import auditing, classes, gaps, pinning, rates, state, thresholds

state.page("Audit", "Is there a problem? How well the model does, and how differently it treats groups, on the evaluation rows.")
run = state.need_run()
group = state.group()
auditing.sizes(run, group)
st.subheader("How good is it?", anchor=False)
auditing.utility(run)
classes.told(run)
state.link("trace", "Trace the most wrong predictions to training rows")
st.subheader("How does it treat groups?", anchor=False)
positive = auditing.choose(run, group)
if not group:
    st.info("No group column was named when this model was trained. Choose a column above to compare groups by it.")
    st.stop()
found = auditing.audited(run, group, positive)
metric = rates.choose(found)
st.markdown(gaps.sentence(found, metric))
st.markdown(gaps.worst(found, metric))
if gaps.known(found, metric):
    pinning.gap(run, group, positive, metric, gaps.TOLD[metric].gap, found.table, gaps.sentence(found, metric))
rates.drawn(found, metric)
gaps.why(found, metric)
st.subheader("Look closer", anchor=False)


@st.fragment
def closer() -> None:
    """Draw the tabs by themselves: another one is opened without the rest of the page."""
    names = ["Over time or a column", "Calibration", "Another threshold", "All gaps", "All figures"]
    along, calibration, threshold, every, table = st.tabs(names, **state.tabs("audit.view"))
    with along:
        rates.along(found, metric)
    with calibration:
        rates.calibration(found)
    with threshold:
        thresholds.threshold(found)
    with every:
        gaps.every(found)
    with table:
        rates.table(found)


closer()
