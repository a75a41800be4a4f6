"""Report: the investigation as one page to hand on, and the chain of records behind it."""

from __future__ import annotations

import streamlit as st

from influence.ui import comparing, jobs, leaving, reporting, state

state.page("Report", "The investigation as one page that stands alone, and the chain of records behind every figure in it.")
current = state.need_run()
run = current if current.parent is None and not reporting.made_from(current) else comparing.choose()
if run is not None:
    asked = {"run": run.id, "group": state.group(), "rows": reporting.with_rows()}
    written = reporting.written(run, jobs.asked("report", asked))
    wanted = written is None or bool(written.amiss or written.since)
    job = jobs.run_button("Write the report", "report", asked, "report.write", cost="A few seconds", primary=wanted)
    jobs.follow(job, key="report.follow")
    if written:
        reporting.offer(written)
    comparing.trusted(run.parent or run.id, state.group(), "report.trust")
    leaving.offer(run)
st.subheader("Records", anchor=False)
reporting.records()
