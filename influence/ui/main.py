"""Runs before every page, also when somebody comes to a fresh server by the address of a page: the frame around the page."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from influence.ui import address, brand, jobs, pinning, remaining, site, state, warm, words

st.set_page_config(page_title="Lethe", page_icon=brand.ICON, layout="wide")
st.html(Path(__file__).with_name("style.css"))
st.logo(brand.LOGO, size="large")
state.carry()

sections: dict[str, list[st.Page]] = {}
for place in site.places().values():
    shown = st.Page(place.path, title=place.title, icon=place.icon, url_path=place.name, default=place.name == "start")
    sections.setdefault(place.section, []).append(shown)
here = st.navigation(sections, expanded=True)  # all pages, whatever their number

st.session_state[pinning.HERE] = here.url_path or "start"

wrong = address.unknown()  # before the address is put right
with st.sidebar:
    state.choose_run()
    told = st.empty()
    chosen, pins = state.selection(), state.project().pins.count()
    if chosen:
        state.link("plan", remaining.briefly(chosen), ":material/checklist:", help="The rows chosen to be removed or relabelled, on Plan")
    if pins:
        state.link("evidence", f"{words.count(pins, 'pin')}", ":material/keep:", help="What was put aside as evidence, on Evidence")
    jobs.tray()

address.say(told, wrong, here.url_path)  # before the page, too: one that ends early draws nothing afterwards
before = address.asked()
try:
    here.run()
finally:
    address.say(told, [*wrong, *address.refused(before)], here.url_path)
    warm.once(str(state.project().path), state.project())
