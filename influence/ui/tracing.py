"""The page Trace: a prediction is chosen, the training rows behind it are scored, and stand for and against it in two rails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.actions import attribute, trace
from influence.charts.course import Line, course
from influence.errors import BadInput
from influence.registry import attribution, described, queries
from influence.store import Run
from influence.types import Scores
from influence.ui import choosing, explaining, jobs, kept, pinning, predicted, rails, state, traced, trust, words

LINES = 3
"""Rows of each rail whose course is drawn."""
SIDES = ("proponents", "opponents")
ADDRESS = ("test", "row", "edit", "method", "seed")
"""Names in the address that are the page's own: the traced row, the training row, the change of the row, and how it was chosen."""
WAYS = {"test": "A prediction", "row": "A training row"}


def way(run: Run) -> str:
    """Draw which way one looks, from a prediction to training rows ("test") or back ("row"), and return it; the address says it too."""
    state.come_back(ADDRESS, run.dataset)
    st.session_state["trace.way"] = "row" if st.query_params.get("row") else "test"
    st.segmented_control(
        "Begin with", list(WAYS), format_func=WAYS.__getitem__, key="trace.way", required=True, on_change=_turned, args=(run,),
        label_visibility="collapsed",
    )  # fmt: skip
    return str(st.session_state["trace.way"])


def _turned(run: Run) -> None:
    if st.session_state["trace.way"] == "row":
        st.query_params["row"] = str(state.dataset(run).train.ids[0])
        predicted.as_it_is()
    else:
        st.query_params.pop("row", None)
        state.forget(ADDRESS)


def question(run: Run, place: int) -> dict[str, Any]:
    """Return the settings of the question that is traced: what the model says of this row."""
    it = predicted.said_of(run, place)
    return {"id": str(it["id"]), **({"class_": str(it["says"])} if "p" in it else {})}


def asked(run: Run, place: int, method: str, edit: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the action that traces a row, or a changed one."""
    return {"run": run.id, "id": question(run, place)["id"], "method": method, "edit": dict(edit) or None}


def submit(run: Run, place: int, method: str, edit: Mapping[str, Any]) -> None:
    """Ask for the trace of a changed row."""
    jobs.submit("trace", asked(run, place, method, edit))


def found(run: Run, place: int, method: str, edit: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the project keeps of this row's trace, or of the changed row's with that of the row as it is as `before`; or None."""
    try:
        asked, scorer = described(queries.make("prediction", question(run, place))), described(attribution.make(method, {}))
    except BadInput:
        return None
    project = state.project()
    scores, beside = attribute.kept(project, run.id, asked, scorer), trace.kept(project, run.id, asked, scorer)
    own = {**scores, **beside} if scores and beside else None
    if not edit or own is None:
        return own
    other = trace.kept_edited(project, run.id, asked, scorer, edit)
    return {**other, "before": own} if other else None


def results(run: Run, place: int, one: pd.Series, result: dict[str, Any], what_if: Callable[[], None]) -> None:
    """Show the rails, the form that `what_if` draws, what the answer rests on, the rows that look alike, and their course."""
    scores, similar = kept.scores(result["scores"]), kept.scores(result["similar"])
    said = traced.sentence(run, result)
    st.markdown(said)
    pinning.prediction(run, result, said)
    moves = {side: _moves(result, side) for side in SIDES}
    first = {side: moves[side][0](traced.figures(run, result, trace.rail(scores.column(), side))) for side in SIDES}
    shape, marked = traced.shape(run, result, list(first.values())), False
    rails.marking(run)
    about = {
        "proponents": ("▼ Proponents", "They speak for it: removing the row lowers it."),
        "opponents": ("▲ Opponents", "They speak against it: removing the row raises it."),
    }
    for column, (side, (head, means)) in zip(st.columns(2, gap="medium"), about.items(), strict=True):
        with column:
            st.subheader(head, anchor=False)
            st.caption(means)
            alt = f"Training rows, strongest first. {means}"
            rail = rails.Rail("train", first[side], f"trace.{side}.{result['scores'][:12]}", alt, shape)
            marked |= rails.draw(run, rail, one, _then(run))
            if moves[side][1]:
                st.caption(moves[side][1])
    st.caption(" ".join([rails.rule(run)] * marked + [traced.read(run, result)] * any(map(len, first.values()))))
    if "before" in result:
        st.caption("How true predictions are is measured for the row as it is, not for the changed one:")
    trust.light(run, result["query"], result["method"], "trace.trust")
    what_if()
    lists = {"proponent": first["proponents"]["id"], "opponent": first["opponents"]["id"], "most alike": _nearest(similar)}
    explaining.draw(run, place, result, result.get("edit") or {}, {name: list(ids) for name, ids in lists.items()})
    left, right = st.columns(2, gap="medium")
    with left:
        _similar(run, one, result, similar, shape)
    with right:
        _course(result, first)


def _nearest(similar: Scores) -> np.ndarray:
    return similar.ids[trace.rail(similar.column(), "nearest")]


def _moves(result: dict[str, Any], side: str) -> tuple[Callable[[pd.DataFrame], pd.DataFrame], str]:
    """Return what adds to a rail of a changed row how its rows came to their places, and a sentence on the rows that left it."""
    if "before" not in result:
        return lambda table: table, ""
    was, now = (kept.scores(it["scores"]) for it in (result["before"], result))
    moved, gone = trace.moved(*(it.ids[trace.rail(it.column(), side)].tolist() for it in (was, now)))
    listed = ", ".join(map(words.escaped, gone[:10])) + (" and others" if len(gone) > 10 else "")
    came = sum(word == "new" for word in moved)
    told = f"By the change {words.count(came, 'row')} of {len(moved)} came in" + (f"; out went {listed}." if gone else "; none went out.")
    return lambda table: table.assign(moved=moved), told


def _then(run: Run) -> Any:
    def draw(ids: list[Any], key: str) -> None:
        with st.container(horizontal=True, vertical_alignment="center"):
            choosing.add(run, ids, key)
            if len(ids) == 1:
                state.link("trace", f"What else does row {words.escaped(ids[0])} sway?", ":material/swap_horiz:", row=str(ids[0]))

    return draw


def _similar(run: Run, one: pd.Series, result: dict[str, Any], similar: Scores, shape: dict[str, Any]) -> None:
    st.subheader("Most alike, influential or not", anchor=False)
    st.caption(f"By {words.escaped(result['alike'])}, whatever their labels.")
    at, scores = trace.rail(similar.column(), "nearest"), kept.scores(result["scores"])
    table = pd.DataFrame(
        {"id": similar.ids[at], "alike": similar.column()[at].astype(float), "score": scores.column()[at] * traced.scale(run, result)}
    )
    alt = "Training rows most like the traced one, with how alike they are and their score."
    rails.draw(run, rails.Rail("train", table, f"trace.nearest.{result['similar'][:12]}", alt, shape), one, _then(run))


def _course(result: dict[str, Any], first: dict[str, pd.DataFrame]) -> None:
    st.subheader("When in training they counted", anchor=False)
    steps, terms = result["steps_at"], kept.scores(result["steps"])
    if len(steps) < 2:
        st.caption("Only one checkpoint of this model is kept: there is no course to show.")
        return
    places = pd.Index(terms.ids)
    lines = [
        Line(f"row {id}", terms.values[places.get_loc(id)].astype(float).tolist(), side == "proponents")
        for side, table in first.items()
        for id in table["id"].head(LINES)
    ]
    st.caption(
        "TracIn's terms at the kept checkpoints: negative where the row spoke for the prediction, positive where against. They rank only, "
        "and can disagree with the scores above."
    )
    st.plotly_chart(
        course(steps, lines, "term (rank only)"), key="trace.course", config={"displayModeBar": False},
        alt="TracIn's term of the first rows of both rails at each kept checkpoint; solid lines: proponents, dashed: opponents.",
    )  # fmt: skip
