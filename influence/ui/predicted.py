"""What the model says of the evaluation rows, on the page Trace: one of them is chosen, and shown with its label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from influence.data.dataset import Role
from influence.data.images import heat, thumbnails
from influence.keyed import uniform
from influence.store import Run
from influence.ui import kept, pictures, rails, state, texts, words

ORDERS = {"wrong": "Most wrong", "unsure": "Least sure", "random": "Random"}
LISTED = 200
"""Rows among which one chooses."""


def said(run: Run) -> pd.DataFrame:
    """Return what a model says of the evaluation rows: id, label, says, wrong; of classes also p (of what it says), p_label and unsure.

    `wrong`: how far it is from the label; `unsure`: 1 - p. Do not change it.
    """
    return _said(run.body["predictions"], state.dataset(run).evaluation.classes)


@st.cache_resource(show_spinner=False, max_entries=16)
def _said(digest: str, classes: tuple[str, ...]) -> pd.DataFrame:
    table = kept.table(digest).query("split == 'evaluation'").reset_index(drop=True)
    found = pd.DataFrame({"id": table["id"], "label": table["target"]})
    if not classes:
        return found.assign(says=table["prediction"], wrong=(table["prediction"] - table["target"]).abs())
    p, every = table[[f"p_{name}" for name in classes]].to_numpy(), np.arange(len(table))
    best, own = p.argmax(1), pd.Index(classes).get_indexer(table["target"])
    says = np.array(classes, dtype=object)[best]
    return found.assign(says=says, p=p[every, best], p_label=p[every, own], wrong=1 - p[every, own], unsure=1 - p[every, best])


def said_of(run: Run, place: int) -> dict[str, Any]:
    """Return what the model says of one evaluation row, by the names of `said`."""
    return dict(said(run).iloc[[place]].to_dict("records")[0])


def chosen(run: Run, line: DeltaGenerator) -> int:
    """Draw the choice of an evaluation row, its order in the container `line`; return the row's place.

    The address may name it (`?test=ID`), else it is the most wrong.
    """
    table = said(run)
    known = [name for name in ORDERS if name == "random" or name in table]
    with line:
        order = st.segmented_control("Choose among the evaluation rows", known, default="wrong", required=True,
                                     **state.shared("trace.order", ORDERS.__getitem__))  # fmt: skip
        if order == "random":
            st.button("Other rows", icon=":material/casino:", key="trace.shuffle", on_click=_shuffled)
        st.text_input("or by id", key="trace.id", on_change=_named, placeholder=str(table["id"].iloc[0]), width=180)
    ranked = ranking(table, order or "wrong", _seed())[:LISTED]
    _list(run, table.iloc[ranked])
    wanted = st.query_params.get("test")
    if not wanted:
        wanted = st.query_params["test"] = str(table["id"].iloc[ranked[0]])  # a link says which row it shows, also where nobody chose one
    there = np.flatnonzero(table["id"].astype(str) == wanted)
    if not len(there):
        shown = ", ".join(map(words.escaped, table["id"].iloc[:3]))
        st.warning(f"There is no evaluation row {words.escaped(wanted[:80])}; their ids are like {shown}. Another is shown.")
    return int(there[0] if len(there) else ranked[0])


def ranking(table: pd.DataFrame, order: str, seed: int = 0) -> np.ndarray:
    """Return places of the rows in an order: the most wrong or the least sure first, or keyed by a seed."""
    by = uniform(seed, "trace", table["id"].to_numpy()) if order == "random" else -table[order].to_numpy()
    return np.argsort(by, kind="stable")


def _seed() -> int:
    """Return by what the random order is drawn: the address says it, so that a link shows the same rows."""
    said = st.query_params.get("seed", "0")
    return int(said) if said.isdecimal() and len(said) < 10 else 0


def _shuffled() -> None:
    st.query_params["seed"] = str(_seed() + 1)


def _named() -> None:
    if st.session_state["trace.id"]:
        _show(st.session_state["trace.id"].strip())


def _show(id: str) -> None:
    st.query_params["test"] = id
    as_it_is()


def as_it_is() -> None:
    """Take the change of the row out of the address: it was of one row."""
    st.query_params.pop("edit", None)


def _list(run: Run, table: pd.DataFrame) -> None:
    ids = table["id"].tolist()
    key = f"trace.list.{run.id}.{st.session_state.get('trace.order')}.{_seed()}"
    columns = [name for name in ("id", "label", "says", "p", "p_label") if name in table]
    shown, made = table[columns].reset_index(drop=True), state.dataset(run)
    if name := texts.column_of(made):
        rows = made.evaluation.columns.iloc[table.index][[name]].reset_index(drop=True)
        shown = pd.concat([shown, texts.readable(rows).rename(columns={name: f"text: {name}"})], axis=1)
    few = table["id"].to_numpy()[: pictures.PAGE]
    drawn = pictures.of_run(run, few, "evaluation")
    shown = pictures.beside(shown if drawn is None else shown.head(len(few)), drawn)
    st.dataframe(
        shown, hide_index=True, height=212 if drawn is None else 300, on_select=lambda: _picked(key, ids), selection_mode="single-row",
        key=key, **pictures.look(drawn), alt="Evaluation rows with their label and what the model says; tick one to trace it.",
        column_config={"p": rails.NUMBER("its probability", format="%.3f"), "p_label": rails.NUMBER("that of the label", format="%.3f"),
                       "says": "the model says", pictures.COLUMN: pictures.shape()},
    )  # fmt: skip


def _picked(key: str, ids: list[Any]) -> None:
    rows = st.session_state[key]["selection"]["rows"]
    if rows and rows[0] < len(ids):
        _show(str(ids[rows[0]]))


def row(
    run: Run, role: Role, place: int, told: str, change: Callable[[pd.Series], pd.Series] | None = None, changed: str = ""
) -> pd.Series:
    """Draw a row, as picture, text or line of a table, with the sentence `told`; return its columns.

    `change`: what the row is changed to, with the sentence `changed` on it; then both are drawn, and the columns are those of the new row.
    """
    examples = state.dataset(run).split(role)
    one = pd.Series(examples.columns.iloc[[place]].to_dict("records")[0], dtype=object)  # a row as such would turn 7 into 7.0
    with st.container(border=True):
        left, right = st.columns([1, 7], vertical_alignment="center") if pictures.drawable(run) else (None, st.container())
        if left is not None:
            left.image(thumbnails.of_pixels(examples.x[place], heat.SIDE), width=112)  # type: ignore[index]
        with right:
            st.markdown(told)
            if change is None:
                _columns(run, [one], None)
                return one
            other = change(one)
            st.markdown(changed)
            _columns(run, [one, other], pd.DataFrame([one, other]))
    return other


def _columns(run: Run, rows: list[pd.Series], both: pd.DataFrame | None) -> None:
    """Draw a row's text and columns, or those of a row as it is and as it is changed, with what differs marked."""
    name, table = texts.column_of(state.dataset(run)), pd.DataFrame(rows).infer_objects()
    if name:
        own = rails.telling(str(rows[0][name]), frozenset())
        for k, row in enumerate(rows):
            said = " ".join(str(row[name])[: texts.SHOWN].split())
            st.markdown(rails.marked(said, own, differ=True) if k else words.escaped(said))
    rest = table.drop(columns=[name], errors="ignore").iloc[:, : rails.WIDE]
    if both is None or name:
        st.dataframe(rest.head(1), hide_index=True, alt="The row's columns.")
        return
    same = np.array(
        [str(was) == str(now) or bool(pd.isna(was) and pd.isna(now)) for was, now in zip(rest.iloc[0], rest.iloc[1], strict=True)]
    )
    rest.insert(0, "row", ["as it is", "changed"])
    marks = pd.DataFrame("", index=rest.index, columns=rest.columns)
    marks.iloc[1, 1:] = np.where(same, "", rails.MARK)
    look = rest.style.apply(lambda _: marks, axis=None).format("{:g}", subset=list(rest.select_dtypes("float")), na_rep="")
    st.dataframe(look, hide_index=True, alt="The row's columns as they are and as they are changed.")


def told(run: Run, place: int) -> str:
    """Say what the model says of an evaluation row, and whether that is right."""
    it, dataset = said_of(run, place), state.dataset(run)
    head = f"Evaluation row **{words.escaped(it['id'])}**: the model says"
    if not dataset.evaluation.classes:
        target = words.escaped(dataset.target)
        return f"{head} {target} = **{words.number(it['says'])}**; its {target} is {words.number(it['label'])}."
    right = "which is right" if str(it["says"]) == str(it["label"]) else f"its label is **{words.escaped(it['label'])}**"
    return f"{head} **{words.escaped(it['says'])}** with probability **{words.number(it['p'])}**; {right}."


def without(run: Run, value: Any) -> Any:
    """Return log-odds as a probability, or a numeric prediction in its own unit."""
    if state.dataset(run).evaluation.classes:
        return 1 / (1 + np.exp(-np.asarray(value, dtype=float)))
    return value * unit(run) + state.dataset(run).encoding.get("target", {}).get("mean", 0.0)


def unit(run: Run) -> float:
    """Return how much one of the model's own units is in the target's: its standard deviation, or 1 for classes."""
    return float(state.dataset(run).encoding.get("target", {}).get("sd", 1.0))
