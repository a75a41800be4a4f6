"""Plan: what would removing rows do? The current selection first; then others, every metric at once, and real retrainings beside."""

from __future__ import annotations

import streamlit as st

from influence.ui import budgeting, choosing, foretelling, jobs, planning, state

state.page("Plan", "What would the model be without some rows? Predictions first, real retraining beside them, and nothing is changed yet.")
run = state.need_run()
if planning.not_original(run):
    st.stop()
note = planning.kept_note(run)
mine = choosing.own(run) is not None
if mine:
    foretelling.selected(run, note, planning.first_label(note) if note else "")
if note is None:
    st.write(
        "Previews need one walk back through training with the standard questions, and twenty real retrainings that tell how far to "
        "trust it."
    )
    args = {"run": run.id, "group": state.group()}
    job = jobs.run_button("Prepare the preview", "prepare", args, "plan.prepare", cost=planning.cost(run))
    jobs.follow(job, key="plan.follow")
    if not mine:
        foretelling.selected(run, None)
    st.stop()
st.subheader("Other rows" if mine else "How many rows?", anchor=False)
label = planning.choose_label(note)
planning.trusted(run, note, label)
planning.slider(run, note, label)
budgeting.from_target(run, note, label)
if not mine:
    foretelling.selected(run, note)
