"""Suspects: which patterns of training rows does a number come from? Search, retrain to see, choose."""

from __future__ import annotations

import streamlit as st

from influence.ui import asking, choosing, jobs, state, suspecting

state.page(
    "Suspects",
    "Which *patterns* of training rows does a number come from? Rows are scored, and their columns searched for conditions whose rows, "
    "taken together, would improve it most.",
)
run = state.need_run()
query, query_set, method, given = asking.both(run)
st.subheader("Patterns", anchor=False)
chosen = suspecting.settings(run)
found = suspecting.found(run, query, query_set, method, given, chosen)
if found is None:
    args = {"run": run.id, "query": query, "query_set": query_set, "method": method, "set": given, **chosen}
    price = suspecting.cost(run, query, query_set, method, given)
    job = jobs.run_button("Search for patterns", "suspects", args, "suspects.search", cost=price, icon=":material/search:")
    jobs.follow(job, key="suspects.follow")
else:
    suspecting.results(run, found, query, query_set)
choosing.current(run)
