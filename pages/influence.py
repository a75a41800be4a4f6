"""Influence: which training rows does a number come from? Ask, score, look, choose."""

from __future__ import annotations

import streamlit as st

from influence.registry import attribution
from influence.ui import asking, choosing, costs, gaps, jobs, labels, leaving, scored, state

state.page(
    "Influence", "Which training rows does a number come from? Ask about a metric, and every training row is scored for its part in it."
)
run = state.need_run()
query, query_set, method, settings = asking.both(run)
found = scored.found(run, query, query_set, method, settings)
args = {"run": run.id, "query": query, "query_set": query_set, "method": method, "set": settings, **({"again": True} if found else {})}
label, key, icon = (
    ("Score again", "influence.again", ":material/refresh:")
    if found
    else ("Score training rows", "influence.score", ":material/play_arrow:")
)
price = costs.told(run, attribution, method, settings)
if st.session_state.pop(gaps.ASK, False) and not found:  # a button of Audit said so
    jobs.ask("attribute", args, key)
job = jobs.run_button(label, "attribute", args, key, cost=price, icon=icon, primary=not found)
jobs.follow(job, key="influence.follow")
if found:
    scored.results(run, found)
    leaving.scores(run, found)
labels.told(run)
choosing.current(run)
