"""The question and the method on the Influence page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from influence.actions import _answerable
from influence.actions._scored import BEST
from influence.registry import attribution, queries, settings
from influence.store import Run
from influence.types import Trained
from influence.ui import forms, kept, state, words

LAST = ("loss", "accuracy_margin", "prediction")
FIRST = ("equal_opportunity_gap", "group_loss_gap")
"""The question that stands there at first: of classes, and of numbers."""
KEY = "influence.query"
RECOMMENDED, OTHERS = "Recommended", "Other methods"
LAST_METHODS = ("retraining", "random")
"""The truth, which is slow, and the floor, which knows nothing, come after the methods that one would choose."""


def question(run: Run) -> tuple[str, dict[str, Any]]:
    """Draw the choice of a query with its settings; the address may name it. Return its id and settings."""
    numeric, known = not state.dataset(run).evaluation.classes, list(queries.classes)
    names = [n for n in known if n not in LAST and state.group() and not (numeric and _needs_classes(n))] + [n for n in LAST if n in known]
    wanted = st.query_params.get("query")
    if wanted in names:
        st.session_state[KEY] = wanted
    elif st.session_state.get(KEY) not in names:
        st.session_state[KEY] = _first(run, names)
    if wanted is not None and wanted not in names:
        st.warning(
            f"The address asks about “{words.escaped(wanted[:80])}”, which cannot be asked of this model; another question is shown."
        )
    name = st.selectbox("Ask about", names, format_func=words.title, key=KEY, on_change=_chosen, persist_state="session")
    st.query_params["query"] = name  # a link says which question it shows, also where nobody chose one
    st.caption(forms.summary(queries, name))
    positive = st.query_params.get("positive", "")  # of which Audit asked
    given = {"group": state.group(), "positive": positive if positive in state.dataset(run).evaluation.classes else ""}
    columns = [c for c in state.dataset(run).evaluation.columns if c != state.dataset(run).target]
    columns = list(dict.fromkeys([*columns, *filter(None, (state.group(),))]))  # or several at once
    found = forms.settings_form(
        queries.classes[name],
        f"influence.query.{name}.{state.group()}" + (f".{positive}" if positive else ""),
        columns,
        given=given,
        offered=_offered(run),
        usual=dict.fromkeys(("positive", "class_"), state.dataset(run).evaluation.favourable),
        shared=True,
    )
    if name == "prediction":
        st.caption(f"Evaluation rows have ids like {', '.join(map(words.escaped, state.dataset(run).evaluation.ids[:5]))}.")
    return name, {k: v for k, v in found.items() if v != ""}


def _first(run: Run, names: Sequence[str]) -> str:
    """Return the question that stands there at first: one that these rows can answer."""
    usual = [name for name in (*FIRST, *names) if name in names]
    given = {name: {"group": state.group()} if any(s.name == "group" for s in settings(queries.classes[name])) else {} for name in usual}
    return next((name for name in usual if not refused(run, name, given[name])), usual[0])


def refused(run: Run, query: str, given: Mapping[str, Any]) -> str:
    """Return why a question cannot be asked of a run's evaluation rows, "" if it can; known before any work begins."""
    return _refused(run.body["predictions"], run.dataset, query, tuple(sorted(given.items())), run)


@st.cache_resource(show_spinner=False, max_entries=256)
def _refused(predictions: str, dataset: str, query: str, given: tuple[tuple[str, Any], ...], _run: Run) -> str:
    return _answerable.refused(query, dict(given), kept.table(predictions), state.dataset(_run))


def both(run: Run) -> tuple[str, dict[str, Any], str, dict[str, Any]]:
    """Draw question and method side by side; return both with their settings. The page ends where no method is open."""
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Question", anchor=False)
        query, query_set = question(run)
    with right:
        st.subheader("Method", anchor=False)
        name, given = method(run)
    if not name:
        st.stop()
    return query, query_set, name, given


def _offered(run: Run) -> dict[str, Sequence[str]]:
    """Return the names that settings of questions can take in these data: classes, and groups of the chosen column."""
    it = state.dataset(run).evaluation
    groups = kept.groups(run.dataset, "evaluation", state.group(), run).names if state.group() else ()
    return {**({name: it.classes for name in ("positive", "class_")} if it.classes else {}), **({"which": groups} if groups else {})}


def _chosen() -> None:
    st.query_params["query"] = st.session_state[KEY]


def _needs_classes(name: str) -> bool:
    return any(s.name == "positive" for s in settings(queries.classes[name]))


@st.cache_resource(show_spinner=False, max_entries=32)
def trained(run: str, _path: str) -> Trained:
    """Return a run's model, without tensors."""
    return state.project().trained(run)


def method(run: Run) -> tuple[str, dict[str, Any]]:
    """Draw the choice of a method: one that is recommended, all others, and Captum's; return its id and settings, or ("", {})."""
    it = trained(run.id, str(state.project().path))
    reasons = {name: str(cls().unavailable(it)) for name, cls in attribution.classes.items()}
    kinds = kinds_of(reasons)
    kind = st.segmented_control(
        "Kind of method", list(kinds), default=next(iter(kinds)), required=True, label_visibility="collapsed",
        **state.shared("influence.kind"),
    )  # fmt: skip
    if kind not in kinds:
        kind = next(iter(kinds))
    name = _one_of(kinds[kind], reasons, "" if kind == RECOMMENDED else kind)
    return (name, forms.details(attribution, name, f"influence.method.{name}", shared=True)) if name else ("", {})


def recommended(run: Run) -> str:
    """Return the method that is recommended for a run's model, "" if none is open."""
    it = trained(run.id, str(state.project().path))
    return next((name for name in BEST if name in attribution.classes and not attribution.make(name).unavailable(it)), "")


def kinds_of(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the methods by kind, the recommended one first; `reasons` says why one is not open, or ""."""
    best = next((name for name in (*BEST, *sorted(reasons)) if reasons.get(name) == ""), "")
    rest = sorted((name for name in reasons if name != best), key=_order)
    captum = [name for name in rest if name.startswith("captum")]
    kinds = {RECOMMENDED: [best] if best else [], OTHERS: [name for name in rest if name not in captum], "Captum": captum}
    return {kind: names for kind, names in kinds.items() if names}


def _order(name: str) -> tuple[int, bool, str]:
    """Methods in the metric's own unit before those that only rank."""
    return LAST_METHODS.index(name) + 1 if name in LAST_METHODS else 0, not in_unit(name), name


def _one_of(names: list[str], reasons: Mapping[str, str], kind: str) -> str:
    """Draw a choice among the methods of a kind, and which of them are not open and why; return the chosen one, or ""."""
    open_ones, closed = [n for n in names if not reasons[n]], [n for n in names if reasons[n]]
    name = ""
    if len(open_ones) == 1 and not kind:
        name = open_ones[0]
        st.markdown(f"**{words.title(name)}**  \n{_about(name, priced=False)}")
    elif open_ones:
        name = st.selectbox(kind, open_ones, label_visibility="collapsed", **state.shared(f"influence.method.{kind}", words.title))
        st.caption(_about(name))
        with st.expander(f"Compare these {len(open_ones)} methods", icon=":material/table_rows:"):
            for other in open_ones:
                st.caption(f"**{words.title(other)}** {_about(other)}")
    if closed:
        with st.expander(f"Not open for this model: {', '.join(map(words.title, closed))}", icon=":material/block:"):
            for other in closed:
                st.caption(f"**{words.title(other)}** {_about(other)}  \n{words.escaped(forms.plain(attribution, reasons[other]))}")
    return name


def in_unit(name: str) -> bool:
    """Whether a method's scores are in the metric's own unit."""
    return bool(getattr(attribution.classes.get(name), "calibrated", False))


def _about(name: str, priced: bool = True) -> str:
    """Return what a method is in a sentence, whether it is in the metric's unit, and what it costs."""
    told = forms.summary(attribution, name)
    unit = "" if re.search(r"\b(unit|rank\w*)\b", told) else " In the metric's own unit." if in_unit(name) else " Rank only."
    price = str(getattr(attribution.classes[name], "cost", "")).rstrip(".")
    return f"{told}{unit}" + (f" *Cost: {price[:1].lower()}{price[1:]}.*" if price and priced else "")
