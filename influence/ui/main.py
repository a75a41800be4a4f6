"""Runs before every page, also when somebody comes to a fresh server by the address of a page: the frame around the page."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from influence.ui import brand, jobs, pinning, site, state, warm, words

st.set_page_config(page_title="Lethe", page_icon=brand.ICON, layout="wide")
st.html(Path(__file__).with_name("style.css"))
st.logo(brand.LOGO, size="large")
state.carry()

sections: dict[str, list[st.Page]] = {}
for place in site.places().values():
    shown = st.Page(place.path, title=place.title, icon=place.icon, url_path=place.name, default=place.name == "start")
    sections.setdefault(place.section, []).append(shown)
here = st.navigation(sections)

st.session_state[pinning.HERE] = here.url_path or "start"

with st.sidebar:
    state.choose_run()
    told = st.container()
    chosen, pins = state.selection(), state.project().pins.count()
    if chosen:
        state.link(
            "plan", f"{words.count(len(chosen), 'row')} selected", ":material/checklist:", help="The rows chosen for removal, on Plan"
        )
    if pins:
        state.link("evidence", f"{words.count(pins, 'pin')}", ":material/keep:", help="What was put aside as evidence, on Evidence")
    jobs.tray()

before = state.asked()
try:
    here.run()
finally:  # also when the page ends early
    for sentence in state.refused(before):
        told.warning(sentence, icon=":material/warning:")
    warm.once(str(state.project().path), state.project())
