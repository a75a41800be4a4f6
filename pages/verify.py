"""Verify: is the model that forgot rows as models are that never saw them?"""

from __future__ import annotations

import streamlit as st

from influence.actions import verify
from influence.ui import comparing, jobs, state, verifying

state.page("Verify", "Is the model that forgot rows, or their old labels, as models are that never saw them?")
state.need_run()
run = comparing.choose()
if run is None:
    st.stop()
comparing.claim(run)
found = verify.kept(state.project(), run.id)
job = verifying.ask(run)
jobs.follow(job, key="verify.follow")
if found is not None:
    verifying.verdict(found)
    verifying.onward(run, found)
    verifying.measures(found)
    verifying.more(found)
    verifying.method(found)
verifying.meaning(found)
state.link("report", "Write the report", ":material/arrow_forward:", run=run.id)
