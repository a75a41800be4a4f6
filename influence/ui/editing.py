"""What if? On the page Trace the cells of the traced row are changed; the change is kept in the project, and the address names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from influence.data import edit
from influence.data.edit import Field
from influence.errors import BadInput
from influence.store import Run
from influence.ui import predicted, state, words

FEW = 12
"""Columns that all stand in the form; of more one chooses those to change."""
EMPTY = "(empty)"


def current(run: Run, place: int) -> dict[str, Any]:
    """Return the cells that are changed by the address (`?edit=DIGEST`), by column; none if it names none, or one of another row."""
    wanted, dataset = st.query_params.get("edit", ""), state.dataset(run)
    if not wanted:
        return {}
    told, said = _kept(wanted), "It is not kept in this project."
    if told:
        try:
            if told["dataset"] == run.dataset and told["row"] == _id(run, place):
                return edit.changes(dataset, told["row"], told["cells"])
            said = "It is of another row."
        except BadInput as error:
            said = str(error)
    st.warning(f"The change that the address names cannot be shown. {words.escaped(said)} The row is shown as it is.")
    return {}


def _kept(digest: str) -> dict[str, Any] | None:
    """Return a change that the project keeps, or None: an address may name anything."""
    if state.project().objects.find(digest) is None:
        return None
    try:
        told = state.project().json(digest)
    except BadInput:
        return None
    fits = isinstance(told, dict) and {"dataset", "row", "cells"} == set(told) and isinstance(told["cells"], dict)
    return told if fits else None


def _id(run: Run, place: int) -> str:
    return str(state.dataset(run).evaluation.ids[place])


def changed(run: Run, one: pd.Series, cells: Mapping[str, Any]) -> pd.Series:
    """Return a row's columns with its changed cells."""
    return pd.Series({**one, **edit.raw(state.dataset(run), cells)}, dtype=object)


def row(run: Run, place: int, cells: Mapping[str, Any]) -> pd.Series:
    """Draw the traced row with what the model says of it, and beside it the changed one; return the columns of that which is traced."""
    if not cells:
        return predicted.row(run, "evaluation", place, predicted.told(run, place))
    said = f"Changed: {told(run, place, cells)}"
    return predicted.row(run, "evaluation", place, predicted.told(run, place), lambda one: changed(run, one, cells), said)


def told(run: Run, place: int, cells: Mapping[str, Any]) -> str:
    """Say which cells are changed; of a text only that it is."""
    known = {field.name: field for field in edit.fields(state.dataset(run))}
    return "; ".join(_change(words.escaped(name), known[name], _own(run, known[name], place), value) for name, value in cells.items())


def _change(name: str, field: Field, was: Any, now: Any) -> str:
    return f"{name} rewritten" if field.kind == "text" else f"{name} {words.escaped(_said(was))} → **{words.escaped(_said(now))}**"


def _own(run: Run, field: Field, place: int) -> Any:
    return edit.cell(state.dataset(run), field, place)


def _said(value: Any) -> str:
    return EMPTY if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def form(run: Run, place: int, cells: Mapping[str, Any], cost: str, submit: Any) -> None:
    """Draw the form in which cells are changed; `submit(cells)` asks for the trace of the row that results."""
    with st.expander("What if this row were another?", icon=":material/edit:", expanded=bool(cells)):
        try:
            fields = edit.fields(state.dataset(run))
        except BadInput as error:
            st.caption(words.escaped(error))
            return
        key = f"trace.edit.{run.id}.{place}.{st.query_params.get('edit', '')[:12]}"
        wanted = _wanted(fields, cells, key)
        with st.form(key, border=False):
            across = st.columns(min(4, len(wanted))) if wanted else []
            for k, field in enumerate(wanted):
                with across[k % len(across)]:
                    _widget(field, cells.get(field.name, _own(run, field, place)), f"{key}.{field.name}")
            with st.container(horizontal=True, vertical_alignment="center"):
                st.form_submit_button(
                    "Trace the changed row", key=f"{key}.submit", icon=":material/play_arrow:", on_click=_submitted,
                    args=(run, place, wanted, key, submit), disabled=not wanted,
                )  # fmt: skip
                if cells:
                    st.form_submit_button(
                        "Back to the row as it is", key=f"{key}.reset", icon=":material/undo:", on_click=predicted.as_it_is
                    )
                st.caption(cost, width="content")
        if refused := st.session_state.pop("trace.edit.error", ""):
            st.error(words.escaped(refused), icon=":material/error:")


def _wanted(fields: tuple[Field, ...], cells: Mapping[str, Any], key: str) -> list[Field]:
    """Return the columns that the form shows."""
    if len(fields) <= FEW:
        return list(fields)
    names = [field.name for field in fields]
    first = list(cells) or names[:4]
    chosen = st.multiselect("Columns to change", names, default=first, key=f"{key}.columns")
    return [field for field in fields if field.name in chosen]


def _widget(field: Field, value: Any, key: str) -> None:
    label = words.escaped(field.name)
    if field.kind == "text":
        st.text_area(label, value, key=key, height=120)
    elif field.kind == "number":
        about = f"{field.low:g} to {field.high:g} in the rows that the model knows."
        if field.whole and max(abs(field.low), abs(field.high), abs(value or 0)) < 2**53:  # what a browser counts one by one
            st.number_input(label, value=None if value is None else int(value), step=1, key=key, help=about)
        else:
            st.number_input(label, value=None if value is None else float(value), step=None, format="%g", key=key, help=about)
    elif field.kind == "choice":
        own = [value] if value is not None and value not in field.choices else []
        options = [*([None] if field.empty or value is None else []), *own, *field.choices]
        st.selectbox(label, options, index=options.index(value), format_func=_said, key=key)
    else:
        st.text_input(label, _said(value) if value is not None else "", key=key)


def _submitted(run: Run, place: int, wanted: list[Field], key: str, submit: Any) -> None:
    """Keep the change and ask for its trace; what cannot be is said, and what was typed stays."""
    dataset, id = state.dataset(run), _id(run, place)
    given = {field.name: st.session_state.get(f"{key}.{field.name}") for field in wanted}
    own = {field.name: edit.cell(dataset, field, place) for field in wanted}
    try:
        cells = edit.changes(dataset, id, {name: value for name, value in given.items() if value != own[name]})
    except BadInput as error:
        st.session_state["trace.edit.error"] = str(error)
        return
    if not cells:
        st.session_state["trace.edit.error"] = "Nothing was changed. Give another value to a column first."
        return
    st.query_params["edit"] = state.project().put_json({"dataset": run.dataset, "row": id, "cells": cells})
    submit(cells)
