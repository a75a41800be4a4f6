"""The page Trace: a prediction is chosen, the training rows behind it are scored, and stand for and against it in two rails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.actions import attribute, trace
from influence.charts.course import Line, course
from influence.errors import BadInput
from influence.registry import attribution, described, queries
from influence.store import Run
from influence.types import SIGN
from influence.ui import asking, choosing, kept, predicted, rails, state, trust, words

LINES = 3
"""Rows of each rail whose course is drawn."""
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
    else:
        st.query_params.pop("row", None)


def question(run: Run, place: int) -> dict[str, Any]:
    """Return the settings of the question that is traced: what the model says of this row."""
    it = predicted.said_of(run, place)
    return {"id": str(it["id"]), **({"class_": str(it["says"])} if "p" in it else {})}


def best(run: Run) -> str:
    """Return the method that scores: the best that is open to the model."""
    it = asking.trained(run.id, str(state.project().path))
    return str(asking.kinds_of({name: str(cls().unavailable(it)) for name, cls in attribution.classes.items()})[asking.RECOMMENDED][0])


def found(run: Run, place: int, method: str) -> dict[str, Any] | None:
    """Return what the project keeps of this row's trace, or None."""
    try:
        asked, scorer = described(queries.make("prediction", question(run, place))), described(attribution.make(method, {}))
    except BadInput:
        return None
    scores = attribute.kept(state.project(), run.id, asked, scorer)
    beside = trace.kept(state.project(), run.id, asked, scorer)
    return {**scores, **beside} if scores and beside else None


def results(run: Run, place: int, one: pd.Series, result: dict[str, Any]) -> None:
    """Show the rails, the rows that look alike, and when in training the first rows counted."""
    scores, similar = kept.scores(result["scores"]), kept.scores(result["similar"])
    st.markdown(sentence(run, result))
    first = {side: _figures(run, result, trace.rail(scores.column(), side)) for side in ("proponents", "opponents")}
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
    st.caption(f"{rails.rule(run)} {_read(run, result)}")
    trust.light(run, result["query"], result["method"], "trace.trust")
    left, right = st.columns(2, gap="medium")
    with left:
        _similar(run, one, result, similar)
    with right:
        _course(result, first)


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
        "alike": rails.NUMBER("alike", format="%.3f", width=64, help=words.title(result["alike"])),
    }


def sentence(run: Run, result: dict[str, Any]) -> str:
    """Say what one sees: the strongest row of each side, and whether influential rows are the similar ones."""
    scores, name = kept.scores(result["scores"]), words.escaped(result["measured_label"])
    now = f"**{name}** is {words.number(float(predicted.without(run, result['value']['value'])))}"
    parts = [part for part in (_strongest(run, result, scores.column(), side) for side in ("proponents", "opponents")) if part]
    said = "; ".join(parts) if parts else "no training row moves it"
    ranks = "" if result["calibrated"] else " These scores rank only; they are in no unit."
    return (
        f"{now}, by {words.title(result['method']['name'])} over {words.count(result['n'], 'training row')}: {said}.{ranks} "
        f"Are influential rows the similar ones? Of the {result['top']} strongest, **{result['shared']}** are among the {result['top']} "
        f"most alike (by chance {words.number(result['chance'], 1)})."
    )


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
