"""Plan: what would removing rows do? The current selection first; then others, every metric at once, and real retrainings beside."""

from __future__ import annotations

import streamlit as st

from influence.actions import preview
from influence.ui import budgeting, choosing, foretelling, planning, state

state.page("Plan", "What would the model be without some rows? Predictions first, real retraining beside them, and nothing is changed yet.")
run = state.need_run()
if planning.not_original(run):
    st.stop()
note = planning.kept_note(run)
mine = choosing.own(run) is not None
if mine:
    foretelling.selected(run, note, planning.first_label(note) if note else "")
if note is None:
    planning.unprepared(run)
    if not mine:
        foretelling.selected(run, None)
    st.stop()
if preview.older(note):
    st.info(preview.OLDER, icon=":material/info:")
    planning.prepare(run)
st.subheader("Other rows" if mine else "How many rows?", anchor=False)
label = planning.choose_label(note)
planning.trusted(run, note, label)
planning.slider(run, note, label)
budgeting.from_target(run, note, label)
if not mine:
    foretelling.selected(run, note)
