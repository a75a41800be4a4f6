"""The parts of the Evidence page: what was pinned as cards, with notes, an order and undo, and the way from pins to a selection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.actions import _pinned
from influence.charts.colours import GREY, ROLES
from influence.charts.forest import forest
from influence.charts.spread import binned
from influence.digest import digest
from influence.errors import BadInput
from influence.evidence.figures import Figure, Pinned
from influence.evidence.sentences import between, shown
from influence.finders import _sets
from influence.store import Run
from influence.store.pins import NOTE, Pin
from influence.types import Selection
from influence.ui import state, words

PAGE = 10
"""Cards on one page of the list."""
TICKED = 100
"""Pins whose rows are joined at most."""
ERROR = "evidence.error"
CHANGED = "evidence.changed"
"""Where it stands that the selection or the number of pins is another, which the rest of the page shows."""
EMPTY = (
    "Nothing is pinned yet. A button such as **Pin this gap** stands beside what can be put aside: gaps and groups on Audit, scores and "
    "ticked rows on Influence, patterns on Suspects, a prediction on Trace, a preview on Plan, a metric on Compare. Each pin keeps where "
    "it was found and a note of why."
)


@st.fragment
def draw(run: Run) -> None:
    """Draw what can be done with the pins, and the pins as cards; by itself, so that notes, ticks and moves redraw no more than this."""
    pins = listed(run)
    with st.container(horizontal=True, vertical_alignment="center"):
        if pins:
            choose(run, pins)
        steps()
    told()
    if pins:
        cards(run, pins)
    else:
        empty()
    if st.session_state.pop(CHANGED, False):
        st.rerun()


def listed(run: Run) -> list[Pin]:
    """Return all pins, those of this model and of the one it was made from first."""
    pins = state.project().pins.listed()
    return sorted(pins, key=lambda pin: pin.run not in (run.id, run.parent))


def empty() -> None:
    """Say how to pin, and where."""
    st.info(EMPTY, icon=":material/keep:")
    with st.container(horizontal=True):
        for page in ("audit", "influence", "suspects"):
            state.link(page)


def steps() -> None:
    """Draw undo and redo, with what they would do."""
    pins = state.project().pins
    back, again = pins.steps()
    for label, icon, what, do in (("Undo", "undo", back, pins.undo), ("Redo", "redo", again, pins.redo)):
        st.button(
            label, icon=f":material/{icon}:", key=f"evidence.{icon}", disabled=not what, on_click=_changing, args=(do,), type="tertiary",
            help=f"{label}: {words.escaped(what)}" if what else f"There is nothing to {label.lower()}.",
        )  # fmt: skip


def told() -> None:
    """Show what could not be done in the last step."""
    error = st.session_state.pop(ERROR, "")
    if error:
        st.error(words.escaped(error), icon=":material/error:")


def choose(run: Run, pins: Sequence[Pin]) -> None:
    """Draw the page's main action: the rows of the ticked pins become the selection."""
    ticked = [pin for pin in pins if takes(run, pin) and st.session_state.get(_tick(pin))]
    st.button(
        "Make these the selection", key="evidence.choose", type="primary", icon=":material/checklist:", disabled=not ticked,
        on_click=_chosen, args=(run, ticked), help="The rows of all ticked pins together; patterns are looked up in the training rows.",
    )  # fmt: skip
    st.caption(f"{words.count(len(ticked), 'pin')} ticked" if ticked else "Tick pins of rows or of patterns.", width="content")


def takes(run: Run, pin: Pin) -> bool:
    """Whether the rows of a pin can be selected: it names some, and they are of this model's data."""
    return pin.kind in ("rows", "pattern") and pin.dataset == run.dataset


def _chosen(run: Run, pins: Sequence[Pin]) -> None:
    try:
        if len(pins) > TICKED:
            raise BadInput(f"The rows of at most {TICKED} pins are joined at once; {len(pins):,} are ticked. Untick some.")
        joined = reduce(_sets.union, [_pinned.found(state.project(), run, pin) for pin in pins])
        state.project().choose(Selection(joined.ids, joined.action, {**joined.reason, "dataset": run.dataset}))
        st.session_state[CHANGED] = True
    except BadInput as error:
        st.session_state[ERROR] = str(error)


def cards(run: Run, pins: Sequence[Pin]) -> None:
    """Draw the pins as cards, some on each page of the list."""
    pages = max(1, -(-len(pins) // PAGE))
    at = st.pagination(pages, key="evidence.page", bind="query-params") if pages > 1 else 1
    own = [pin.run in (run.id, run.parent) for pin in pins]
    for place in range((at - 1) * PAGE, min(at * PAGE, len(pins))):
        if not own[place] and (place == (at - 1) * PAGE or own[place - 1]):
            st.subheader("Of other models", anchor=False)
        neighbours = [pins[k].id if 0 <= k < len(pins) and own[k] == own[place] else "" for k in (place - 1, place + 1)]
        _card(run, pins[place], neighbours)


def _card(run: Run, pin: Pin, neighbours: Sequence[str]) -> None:
    found = read(pin)
    with st.container(border=True):
        _head(run, pin, found)
        if found.said:
            st.markdown(words.escaped(found.said))
        if found.missing:
            st.warning(f"It cannot be shown any more. {words.escaped(found.missing)}", icon=":material/warning:")
        if found.figures:
            st.markdown(table(found.figures))
        _more(pin, found)
        key = f"evidence.note.{pin.id}.{digest(pin.note)[:8]}"
        st.text_area(
            "Note: why is this here?", pin.note, max_chars=NOTE, height=76, key=key, on_change=_noted, args=(pin.id, key),
            placeholder="It stands in the report.",
        )  # fmt: skip
        _foot(pin, neighbours)


def _head(run: Run, pin: Pin, found: Pinned) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{words.escaped(pin.title)}**", width="content")
        st.badge(found.kind, color="blue")
        if pin.run != run.id:
            of = ", other data" if pin.dataset != run.dataset else ""
            st.badge(f"Of {words.escaped(found.model)} ({pin.run}){of}", color="orange", icon=":material/deployed_code:")
        st.caption(f"pinned {words.ago(pin.created)}", width="content")
        if takes(run, pin):
            st.checkbox("Take its rows", key=_tick(pin), persist_state="session", help=f"Into the selection: {words.escaped(pin.title)}")


def _more(pin: Pin, found: Pinned) -> None:
    """Draw rows and picture, each only when it is opened."""
    if found.rows:
        which = (
            f"The first {len(found.rows)} of {found.n:,} rows" if found.n > len(found.rows) else words.count(found.n, "row").capitalize()
        )
        opened = st.expander(which, icon=":material/table_rows:", key=f"evidence.rows.{pin.id}", on_change="rerun")
        if opened.open:
            names = [f"{name} ({k})" if name in found.columns[:k] else name for k, name in enumerate(found.columns)]
            opened.dataframe(pd.DataFrame(list(found.rows), columns=names), hide_index=True, alt=f"Rows of {pin.title}.")
    if found.drawn or found.counts:
        opened = st.expander("Picture", icon=":material/bar_chart:", key=f"evidence.picture.{pin.id}", on_change="rerun")
        if opened.open:
            opened.plotly_chart(
                picture(found), key=f"evidence.chart.{pin.id}", config={"displayModeBar": False},
                alt=f"{pin.title}; the figures stand in the table." if found.figures else f"Histogram: {found.axis}.",
            )  # fmt: skip


def _foot(pin: Pin, neighbours: Sequence[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if pin.page:
            where: dict[str, Any] = dict(pin.address)
            state.link(pin.page, "Open where it was found", ":material/open_in_new:", **where)
        for icon, help, other in zip(("arrow_upward", "arrow_downward"), ("Move up", "Move down"), neighbours, strict=True):
            _button(pin, icon, help, (_doing, state.project().pins.swap, pin.id, other), disabled=not other)
        _button(pin, "delete", "Remove this pin; Undo brings it back", (_changing, state.project().pins.remove, [pin.id]))


def _button(pin: Pin, icon: str, help: str, do: tuple[Any, ...], disabled: bool = False) -> None:
    st.button(
        help.split(";")[0], icon=f":material/{icon}:", key=f"evidence.{icon}.{pin.id}", help=help, type="tertiary", disabled=disabled,
        on_click=do[0], args=do[1:],
    )  # fmt: skip


def _doing(do: Callable[..., Any], *args: Any) -> None:
    try:
        do(*args)
    except BadInput as error:
        st.session_state[ERROR] = str(error)


def _changing(do: Callable[..., Any], *args: Any) -> None:
    _doing(do, *args)
    st.session_state[CHANGED] = True


def _noted(id: str, key: str) -> None:
    _doing(state.project().pins.note, id, st.session_state[key])


def _tick(pin: Pin) -> str:
    return f"evidence.tick.{pin.id}"


def read(pin: Pin) -> Pinned:
    """Return what a pin shows; that of rows, which can be many, is kept by what is pinned."""
    if pin.kind != "rows":
        return _pinned.read(state.project(), pin, state.dataset)
    return _rows(str(state.project().path), pin.id, pin.note, pin)


@st.cache_resource(show_spinner=False, max_entries=64)
def _rows(path: str, id: str, note: str, _pin: Pin) -> Pinned:
    return _pinned.read(state.project(), _pin, state.dataset)


def table(figures: Sequence[Figure]) -> str:
    """Return figures as a Markdown table: value, interval and n each."""
    several = any(figure.series for figure in figures)
    head = ["figure", *(["model"] if several else []), "value", "95 % interval", "n"]
    lines = [head, ["---"] * (len(head) - 3) + ["---:"] * 3]
    for f in figures:
        series = [words.escaped(f.series)] if several else []
        lines.append([words.escaped(f.label), *series, shown(f), between(f), f"{f.found.n:,}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def picture(found: Pinned) -> Any:
    """Return the picture of a pin, drawn from its figures."""
    if found.counts:
        return binned(np.array(found.edges), np.array(found.counts), found.axis)
    rows = pd.DataFrame(
        [
            {"group": f.label, "role": f.series, "value": f.found.value, "low": f.found.low, "high": f.found.high, "n": f.found.n}
            for f in found.figures
        ]
    ).astype({"value": float, "low": float, "high": float})
    if any(rows["role"]):
        return forest(rows, ROLES, colour="role", axis=found.title)
    return forest(rows, dict.fromkeys(rows["group"], GREY), axis=found.title)
