"""The page Trace the other way: from a training row to the predictions that it sways most."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.actions import swayed, trace
from influence.store import Run
from influence.ui import kept, predicted, rails, state, words


def chosen(run: Run) -> int:
    """Draw the choice of a training row and return its place; the address names it (`?row=ID`)."""
    ids, wanted = state.dataset(run).train.ids, st.query_params.get("row", "")
    st.text_input("Id of a training row", key="trace.row", on_change=_named, placeholder=str(wanted), width=220)
    there = np.flatnonzero(ids.astype(str) == wanted)
    if not len(there):
        st.warning(f"There is no training row {words.escaped(wanted[:80])}; their ids are like {', '.join(map(words.escaped, ids[:3]))}.")
        st.stop()
    return int(there[0])


def _named() -> None:
    if st.session_state["trace.row"]:
        st.query_params["row"] = st.session_state["trace.row"].strip()


def told(run: Run, place: int) -> str:
    """Say which training row is looked at."""
    dataset = state.dataset(run)
    id, label = words.escaped(dataset.train.ids[place]), _label(run, place)
    gone = " This model was made without it." if str(dataset.train.ids[place]) in map(str, run.body.get("removed", ())) else ""
    return f"Training row **{id}**, labelled **{words.escaped(label)}**.{gone}"


def _label(run: Run, place: int) -> str:
    dataset = state.dataset(run)
    y = dataset.train.y[place]
    return dataset.train.classes[int(y)] if dataset.train.classes else words.number(float(predicted.without(run, y)))


def found(run: Run, place: int) -> dict[str, Any] | None:
    """Return what the project keeps of this row, or None."""
    return swayed.kept(state.project(), run.id, str(state.dataset(run).train.ids[place]))


def results(run: Run, place: int, one: pd.Series, result: dict[str, Any]) -> None:
    """Show the evaluation rows whose predictions the row sways most, in two rails."""
    if result["unseen"]:
        st.info("This model was made without this row, so it sways no prediction.", icon=":material/info:")
        return
    scores, said = kept.scores(result["scores"]), predicted.said(run)
    st.markdown(sentence(run, place, result, said))
    marked, heads = False, {"proponents": "▼ Lower without it", "opponents": "▲ Higher without it"}
    for column, (side, head) in zip(st.columns(2, gap="medium"), heads.items(), strict=True):
        at = trace.rail(scores.column(), side)
        about = said.iloc[at][[name for name in ("says", "p") if name in said]].reset_index(drop=True)
        first = pd.concat([pd.DataFrame({"id": scores.ids[at], "score": scores.column()[at].astype(float)}), about], axis=1)
        with column:
            st.subheader(head, anchor=False)
            shape = {"score": rails.NUMBER("rank score", format="%.3g"), "p": rails.NUMBER("its probability", format="%.3f"),
                     "says": st.column_config.Column("the model says")}  # fmt: skip
            rail = rails.Rail("evaluation", first, f"trace.{side}.{result['scores'][:12]}", f"Evaluation rows. {head}.", shape)
            marked |= rails.draw(run, rail, one, _then)
    if marked:
        st.caption(rails.rule(run))


def sentence(run: Run, place: int, result: dict[str, Any], said: pd.DataFrame) -> str:
    """Say what one sees, by which method, and what it can not tell."""
    values = kept.scores(result["scores"]).column()
    strong = np.argsort(-np.abs(values), kind="stable")[: trace.TOP]
    own = ""
    if state.dataset(run).train.classes:
        same = int((said["label"].astype(str).to_numpy()[strong] == _label(run, place)).sum())
        own = f" Of the {len(strong)} that it sways most, **{same}** have its label."
    return (
        f"The {result['n']:,} evaluation rows by how far removing this training row would move the {result['label']}, by TracIn along all "
        f"kept checkpoints. It **ranks only**: the scores are in no unit.{own}"
    )


def _then(ids: list[Any], key: str) -> None:
    if len(ids) == 1:
        state.link("trace", f"Trace the prediction of row {words.escaped(ids[0])}", ":material/route:", test=str(ids[0]))
    else:
        st.caption("Tick one row alone to trace its prediction.")
