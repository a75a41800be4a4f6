"""Bring a model: one that was trained elsewhere, with the data it was trained on; checked before anything is computed on it."""

from __future__ import annotations

import streamlit as st

from influence.ui import bringing, jobs, modelfiles, state

state.page(
    "Bring a model",
    "A PyTorch model that you trained yourself, with its data. It is checked first; then everything else is open to it.",
    badge=False,
)
bringing.how()
left, right = st.columns(2, gap="large")
with left:
    st.subheader("1 Model", anchor=False)
    path = bringing.model()
with right:
    st.subheader("2 Data", anchor=False)
    source = bringing.data()
data = bringing.parts(source)
st.subheader(f"{3 if source is None or bringing.has_parts(source) else 4} What you know of it", anchor=False)
given = bringing.known()
job = bringing.start(path, *data, given) if path and data else None
if not (path and data):
    st.caption("Choose the model's files and its data to go on.")
modelfiles.tidy([str(path or ""), source.data if source else ""])
jobs.follow(job or jobs.shown("import_model"), bringing.brought, key="bring")
