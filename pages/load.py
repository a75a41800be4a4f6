"""Load: choose data, say which column plays which part, choose a model, check, train."""

from __future__ import annotations

import streamlit as st

from influence.errors import BadInput
from influence.ui import checking, imaging, loading, sheets, sources, state, texts, words

state.page("Load", "Bring data and train a model on it, so that every step of its training can be replayed and questioned.", badge=False)
st.subheader("1 Data", anchor=False)
source = sources.choose(images=True)
if source is None:
    checking.under_way()
    st.stop()
seen = None
try:
    source = sheets.choose(source)
    source = imaging.column(source)
    if source.images:
        imaging.preview(source)
    else:
        seen = source.dataset() if source.bundled else None
        loading.preview(seen.train.columns if seen else source.first(loading.PREVIEWED), source.name, seen)
        _ = seen or source.table()  # all of it, so that what is wrong further down is told here
except BadInput as error:
    st.error(words.escaped(error), icon=":material/error:")
    st.stop()

parts = loading.Parts()
if source.images:
    st.subheader("2 Images", anchor=False)
    source, parts, seen = imaging.parts(source)
    if seen is None:
        st.stop()
elif not seen:
    st.subheader("2 Columns", anchor=False)
    source = texts.column(source)
    parts = loading.parts(source)
if seen:
    parts = loading.favouring(source, parts, seen)

st.subheader("2 Model" if source.bundled else "3 Model", anchor=False)
model, settings = loading.model(source, seen)

st.subheader("3 Check and train" if source.bundled else "4 Check and train", anchor=False)
checking.offer(loading.Plan(source, parts, model, settings))
