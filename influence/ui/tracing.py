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
from influence.types import SIGN, Scores
from influence.ui import choosing, explaining, jobs, kept, pinning, predicted, rails, state, trust, words

LINES = 3
"""Rows of each rail whose course is drawn."""
SIDES = ("proponents", "opponents")
MOVED = "Places up (+) or down in this rail since the row was changed; new: it was not in it."
WAYS = {"test": "A prediction", "row": "A training row"}


def way(run: Run) -> str:
    """Draw which way one looks, from a prediction to training rows ("test") or back ("row"), and return it; the address says it too."""
    st.session_state["trace.way"] = "row" if "row" in st.query_params else "test"
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
    st.markdown(sentence(run, result))
    pinning.prediction(run, result, sentence(run, result))
    moves = {side: _moves(result, side) for side in SIDES}
    first = {side: moves[side][0](_figures(run, result, trace.rail(scores.column(), side))) for side in SIDES}
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
            rails.draw(run, rails.Rail("train", first[side], f"trace.{side}.{result['scores'][:12]}", alt, shape(result)), one, _then(run))
            if moves[side][1]:
                st.caption(moves[side][1])
    st.caption(f"{rails.rule(run)} {_read(run, result)}")
    if "before" in result:
        st.caption("How true predictions are is measured for the row as it is:")
    trust.light(run, result["query"], result["method"], "trace.trust")
    what_if()
    lists = {"proponent": first["proponents"]["id"], "opponent": first["opponents"]["id"], "most alike": _nearest(similar)}
    explaining.draw(run, place, result, result.get("edit") or {}, {name: list(ids) for name, ids in lists.items()})
    left, right = st.columns(2, gap="medium")
    with left:
        _similar(run, one, result, similar)
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


def _figures(run: Run, result: dict[str, Any], at: np.ndarray) -> pd.DataFrame:
    """Return id and score of rows, and what the model would say without each, if scores are in the question's unit."""
    scores = kept.scores(result["scores"])
    values = scores.column()[at].astype(float)
    table = pd.DataFrame({"id": scores.ids[at], "score": values * _scale(run, result)})
    return table.assign(without=predicted.without(run, result["value"]["value"] + values)) if result["calibrated"] else table


def _read(run: Run, result: dict[str, Any]) -> str:
    """Say what the figures are of, and why they have no interval."""
    if not result["calibrated"]:
        return "Scores rank only: they are in no unit."
    of = "the log-odds" if state.dataset(run).evaluation.classes else words.escaped(state.dataset(run).target)
    return (
        f"Change: of {of}, if this row alone is removed; without: what the model would then say, to first order. One row's figure has no "
        "interval; how true such predictions are is measured below."
    )


def _scale(run: Run, result: dict[str, Any]) -> float:
    """Return what scores are multiplied by to be in the target's own unit; those that only rank stay as they are."""
    return predicted.unit(run) if result["calibrated"] else 1.0


def shape(result: dict[str, Any]) -> dict[str, Any]:
    """Return how figures of training rows are shown."""
    unit = "change" if result["calibrated"] else "rank score"
    return {
        "score": rails.NUMBER(unit, format="%.3g", width=76, help=f"{SIGN}."),
        "without": rails.NUMBER("without", format="%.4g", width=76, help="What the model is predicted to say without this row alone."),
        "moved": st.column_config.TextColumn("moved", width=64, help=MOVED),
        "alike": rails.NUMBER("alike", format="%.3f", width=64, help=words.title(result["alike"])),
    }


def sentence(run: Run, result: dict[str, Any]) -> str:
    """Say what one sees: the strongest row of each side, and whether influential rows are the similar ones."""
    scores, name = kept.scores(result["scores"]), words.escaped(result["measured_label"])
    now = f"**{name}** is {words.number(float(predicted.without(run, result['value']['value'])))}, by"
    now = f"{_instead(run, result)} By" if "before" in result else now
    parts = [part for part in (_strongest(run, result, scores.column(), side) for side in ("proponents", "opponents")) if part]
    said = "; ".join(parts) if parts else "no training row moves it"
    ranks = "" if result["calibrated"] else " These scores rank only; they are in no unit."
    return (
        f"{now} {words.title(result['method']['name'])} over {words.count(result['n'], 'training row')}: {said}.{ranks} "
        f"Are influential rows the similar ones? Of the {result['top']} strongest, **{result['shared']}** are among the {result['top']} "
        f"most alike (by chance {words.number(result['chance'], 1)})."
    )


def _instead(run: Run, result: dict[str, Any]) -> str:
    """Say what the model says of the changed row, and how far that is from what it says of the row as it is."""
    was, now = (float(it["value"]["value"]) for it in (result["before"], result))
    change = words.signed((now - was) * predicted.unit(run))
    if not state.dataset(run).evaluation.classes:
        target, values = words.escaped(state.dataset(run).target), [words.number(float(predicted.without(run, z))) for z in (now, was)]
        return f"Changed, the model says {target} = **{values[0]}** instead of {values[1]} ({change})."
    name, p, before = result["query"]["given"]["class_"], *(words.number(float(predicted.without(run, z))) for z in (now, was))
    flips = "" if result["says"] == name else f" It now says **{words.escaped(result['says'])}** ({words.number(result['p'])})."
    return f"Changed, the model gives **{words.escaped(name)}** a probability of **{p}** instead of {before} ({change} in log-odds).{flips}"


def _strongest(run: Run, result: dict[str, Any], values: np.ndarray, side: str) -> str:
    at = trace.rail(values, side, 1)
    if not len(at):
        return ""
    id, way = words.escaped(kept.scores(result["scores"]).ids[at[0]]), "lower" if side == "proponents" else "raise"
    if not result["calibrated"]:
        return f"removing row **{id}** would {way} it most"
    new = float(predicted.without(run, result["value"]["value"] + values[at[0]]))
    return (
        f"removing row **{id}** alone is predicted to {way} it most, to {words.number(new, 4)} "
        f"({words.signed(float(values[at[0]]) * _scale(run, result))}{' in log-odds' if state.dataset(run).evaluation.classes else ''})"
    )


def _then(run: Run) -> Any:
    def draw(ids: list[Any], key: str) -> None:
        with st.container(horizontal=True, vertical_alignment="center"):
            choosing.add(run, ids, key)
            if len(ids) == 1:
                state.link("trace", f"What else does row {words.escaped(ids[0])} sway?", ":material/swap_horiz:", row=str(ids[0]))

    return draw


def _similar(run: Run, one: pd.Series, result: dict[str, Any], similar: Any) -> None:
    st.subheader("Most alike, influential or not", anchor=False)
    st.caption(f"By {words.escaped(result['alike'])}, whatever their labels.")
    at, scores = trace.rail(similar.column(), "nearest"), kept.scores(result["scores"])
    table = pd.DataFrame(
        {"id": similar.ids[at], "alike": similar.column()[at].astype(float), "score": scores.column()[at] * _scale(run, result)}
    )
    alt = "Training rows most like the traced one, with how alike they are and their score."
    rails.draw(run, rails.Rail("train", table, f"trace.nearest.{result['similar'][:12]}", alt, shape(result)), one, _then(run))


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
