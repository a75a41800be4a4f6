"""Influence: which training rows does a number come from? Ask, score, look, choose."""

from __future__ import annotations

import streamlit as st

from influence.registry import attribution
from influence.ui import asking, choosing, costs, jobs, labels, leaving, scored, state

state.page(
    "Influence", "Which training rows does a number come from? Ask about a metric, and every training row is scored for its part in it."
)
run = state.need_run()
left, right = st.columns(2, gap="large")
with left:
    st.subheader("Question", anchor=False)
    query, query_set = asking.question(run)
with right:
    st.subheader("Method", anchor=False)
    method, settings = asking.method(run)
if not method:
    st.stop()
found = scored.found(run, query, query_set, method, settings)
args = {"run": run.id, "query": query, "query_set": query_set, "method": method, "set": settings, **({"again": True} if found else {})}
label, key, icon = (
    ("Score again", "influence.again", ":material/refresh:")
    if found
    else ("Score training rows", "influence.score", ":material/play_arrow:")
)
price = costs.told(run, attribution, method, settings)
job = jobs.run_button(label, "attribute", args, key, cost=price, icon=icon, primary=not found)
jobs.follow(job, key="influence.follow")
if found:
    scored.results(run, found)
    leaving.scores(run, found)
labels.told(run)
st.subheader("Current selection", anchor=False)
choosing.told()
if choosing.review(run, (state.group(), state.dataset(run).target)):
    state.link("plan", "Plan the removal of these rows", ":material/arrow_forward:")
