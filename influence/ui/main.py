"""Runs before every page, also when somebody comes to a fresh server by the address of a page: the frame around the page."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from influence.ui import brand, jobs, site, state, warm, words

st.set_page_config(page_title="Lethe", page_icon=brand.ICON, layout="wide")
st.html(Path(__file__).with_name("style.css"))
st.logo(brand.LOGO, size="large")
state.carry()

sections: dict[str, list[st.Page]] = {}
for place in site.places().values():
    shown = st.Page(place.path, title=place.title, icon=place.icon, url_path=place.name, default=place.name == "start")
    sections.setdefault(place.section, []).append(shown)
here = st.navigation(sections)

with st.sidebar:
    state.choose_run()
    chosen = state.selection()
    if chosen:
        state.link(
            "plan", f"{words.count(len(chosen), 'row')} selected", ":material/checklist:", help="The rows chosen for removal, on Plan"
        )
    jobs.tray()

try:
    here.run()
finally:  # also when the page ends early
    warm.once(str(state.project().path), state.project())
