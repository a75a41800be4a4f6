"""The question and the method on the Influence page."""

from __future__ import annotations

from typing import Any

import streamlit as st

from influence.registry import attribution, queries, settings
from influence.store import Run
from influence.types import Trained
from influence.ui import forms, state, words

LAST = ("loss", "accuracy_margin", "prediction")
FIRST = ("equal_opportunity_gap", "group_loss_gap")
"""The question that stands there at first: of classes, and of numbers."""
KEY = "influence.query"


def question(run: Run) -> tuple[str, dict[str, Any]]:
    """Draw the choice of a query with its settings; the address may name it. Return its id and settings."""
    numeric, known = not state.dataset(run).evaluation.classes, list(queries.classes)
    names = [n for n in known if n not in LAST and state.groups() and not (numeric and _needs_classes(n))] + [n for n in LAST if n in known]
    if st.query_params.get("query") in names:
        st.session_state[KEY] = st.query_params["query"]
    elif st.session_state.get(KEY) not in names:
        st.session_state[KEY] = next((n for n in FIRST if n in names), names[0])
    name = st.selectbox("Ask about", names, format_func=words.title, key=KEY, on_change=_chosen, persist_state="session")
    st.caption(forms.summary(queries, name))
    given = {"group": state.group()} if any(s.name == "group" for s in settings(queries.classes[name])) else {}
    columns = [c for c in state.dataset(run).evaluation.columns if c != state.dataset(run).target]
    found = forms.settings_form(queries.classes[name], f"influence.query.{name}.{state.group()}", columns, given=given)
    if name == "prediction":
        st.caption(f"Evaluation rows have ids like {', '.join(map(words.escaped, state.dataset(run).evaluation.ids[:5]))}.")
    return name, {k: v for k, v in found.items() if v != ""}


def _chosen() -> None:
    st.query_params["query"] = st.session_state[KEY]


def _needs_classes(name: str) -> bool:
    return any(s.name == "positive" for s in settings(queries.classes[name]))


@st.cache_resource(show_spinner=False, max_entries=32)
def trained(run: str, _path: str) -> Trained:
    """Return a run's model, without tensors."""
    return state.project().trained(run)


def method(run: Run) -> tuple[str, dict[str, Any]]:
    """Draw the choice of a method, those that are not open with their reasons; return its id and settings."""
    it = trained(run.id, str(state.project().path))
    return forms.choose(attribution, "influence.method", "Method", lambda scorer: str(scorer.unavailable(it)), first="metagradient")


def cost(run: Run, method: str) -> str:
    """Say what a method costs, with the seconds that one training of this run took."""
    said = getattr(attribution.classes[method], "cost", "").rstrip(".")
    took = run.body.get("seconds")
    return f"{said}; training this model took {words.duration(took)}" if took else said
