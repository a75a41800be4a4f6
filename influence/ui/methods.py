"""Which method scores the training rows, on a page that takes the best that is open unless somebody wants another."""

from __future__ import annotations

import streamlit as st

from influence.registry import attribution
from influence.store import Run
from influence.ui import asking, costs, forms, state, words


def chosen(run: Run) -> str:
    """Draw the choice of the method that scores, folded, and return it: the best that is open, unless the address names another."""
    reasons = _reasons(run.id, str(state.project().path))
    names = [name for kind in asking.kinds_of(reasons).values() for name in kind if not reasons[name]]
    wanted = st.query_params.get("method", names[0])
    if wanted not in names:
        why = forms.plain(attribution, reasons.get(wanted, "There is no such method."))
        st.warning(f"{words.escaped(words.title(wanted))} is not open here. {words.escaped(why)} {words.title(names[0])} is taken.")
    name = wanted if wanted in names else names[0]
    st.session_state["trace.method"] = name
    with st.popover(f"By {words.title(name)}", icon=":material/tune:", help="The method that scores training rows, and what others cost."):
        st.radio(
            "Training rows are scored by", names, format_func=words.title, key="trace.method", on_change=_method,
            captions=[_priced(run, name, name == names[0]) for name in names],
        )  # fmt: skip
    return name


def _priced(run: Run, name: str, best: bool) -> str:
    """Say in what unit a method's scores are, and what it costs."""
    unit = "in the question's own unit" if asking.in_unit(name) else "rank only"
    return f"{'Recommended; ' if best else ''}{unit}. {costs.told(run, attribution, name, {})}".rstrip(". ") + "."


def _method() -> None:
    st.query_params["method"] = st.session_state["trace.method"]


@st.cache_resource(show_spinner=False, max_entries=32)
def _reasons(run: str, path: str) -> dict[str, str]:
    """Return why a method is not open to a model, or "", by its name."""
    it = asking.trained(run, path)
    return {name: str(cls().unavailable(it)) for name, cls in attribution.classes.items()}
