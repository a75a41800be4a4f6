"""Plan: what would removing rows do? A slider, every metric at once, and really retrained models on the same picture."""

from __future__ import annotations

import streamlit as st

from influence.ui import budgeting, choosing, jobs, planning, state

state.page("Plan", "What would the model be without some rows? Predictions first, real retraining beside them, and nothing is changed yet.")
run = state.need_run()
if planning.not_original(run):
    st.stop()
note = planning.kept_note(run)
if note is None:
    st.write(
        "Previews need one walk back through training with the standard questions, and twenty real retrainings that tell how far to "
        "trust it."
    )
    args = {"run": run.id, "group": state.group()}
    job = jobs.run_button("Prepare the preview", "prepare", args, "plan.prepare", cost=planning.cost(run))
    jobs.follow(job, key="plan.follow")
    st.stop()
st.subheader("How many rows?", anchor=False)
label = planning.choose_label(note)
planning.trusted(run, note, label)
planning.slider(run, note, label)
budgeting.from_target(run, note, label)
st.subheader("Current selection", anchor=False)
choosing.told()
selection = choosing.review(run, (state.group(), state.dataset(run).target))
if selection:
    planning.preview_of(run, note, selection)
    choosing.rows(run, selection)
    state.link("run", "Unlearn these rows", ":material/arrow_forward:")
