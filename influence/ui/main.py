"""Runs before every page, also when somebody comes to a fresh server by the address of a page: the frame around the page."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from influence.ui import jobs, site, state, warm, words

LOGO = """<svg xmlns="http://www.w3.org/2000/svg" width="116" height="32" viewBox="0 0 116 32" role="img" aria-label="Lethe">
<g fill="none" stroke="#2f8bc9" stroke-width="2.6" stroke-linecap="round"><path d="M3 10q5-5 10 0t10 0"/><path d="M3 17q5-5 10 0t10 0" opacity=".7"/>
<path d="M3 24q5-5 10 0t10 0" opacity=".35"/></g>
<text x="33" y="24" font-family="Georgia, serif" font-size="24" font-weight="600" fill="#2f8bc9">Lethe</text></svg>"""

st.set_page_config(page_title="Lethe", page_icon=":material/water_drop:", layout="wide")
st.html(Path(__file__).with_name("style.css"))
st.logo(LOGO, size="large")
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
