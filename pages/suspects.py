"""Suspects: which patterns, sources, copies, outliers or useless rows are behind a number? Search, retrain to see, choose."""

from __future__ import annotations

from typing import Any

import streamlit as st

from influence.store import Run
from influence.ui import asking, choosing, copying, jobs, outlying, sourcing, state, suspecting, unhelpful, words

KINDS = {
    "Patterns": "Conditions whose rows, taken together, would improve the question most if they were removed.",
    "Whole sources": "Every source, licence, site or period as a whole: what would change if it were withdrawn?",
    "Copies": "Rows that are equal or nearly so, with their labels, also across the split.",
    "Outliers": "Rows that lie alone among the others.",
    "Helps nobody": "Rows without which every group is predicted to be better off.",
}


def asked(run: Run, kind: str) -> None:
    """Draw what is asked a question: patterns, or whole sources."""
    part, action = (suspecting, "suspects") if kind == "Patterns" else (sourcing, "sources")
    query, query_set, method, given = asking.both(run)
    st.subheader(kind, anchor=False)
    chosen: dict[str, Any] = part.settings(run)
    found = part.found(run, query, query_set, method, given, chosen)
    reason = asking.refused(run, query, query_set) if found is None else ""
    if found is None:
        args = {"run": run.id, "query": query, "query_set": query_set, "method": method, "set": given, **chosen}
        price = "" if reason else suspecting.cost(run, query, query_set, method, given)
        label = "Search for patterns" if kind == "Patterns" else "Weigh each block"
        job = jobs.run_button(label, action, args, f"{action}.search", cost=price, icon=":material/search:", disabled=bool(reason))
        if reason:
            st.caption(f"{words.escaped(reason)} Or ask about another question, for example Loss.")
        else:
            jobs.follow(job, key=f"{action}.follow")
    else:
        part.results(run, found, query, query_set)


state.page("Suspects", "Which training rows, taken together, does a number come from? Find them as a whole, retrain without them, choose.")
run = state.need_run()
kind = st.segmented_control(
    "Suspects", list(KINDS), default="Patterns", required=True, label_visibility="collapsed", **state.shared("suspects.kind")
)
st.caption(KINDS[kind])
if kind in ("Patterns", "Whole sources"):
    asked(run, kind)
else:
    {"Copies": copying, "Outliers": outlying, "Helps nobody": unhelpful}[kind].section(run)
choosing.current(run)
