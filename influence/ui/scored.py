"""Scores on the Influence page: how to read them, how they are spread, which rows they name, and the ways from them to a selection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.actions import _measures, attribute
from influence.charts import spread
from influence.errors import BadInput
from influence.registry import attribution, described, finders, queries
from influence.store import Run
from influence.types import SIGN, Examples, Scores, as_places
from influence.ui import agreements, choosing, effects, forms, kept, mapping, pictures, pinning, removing, state, texts, trust, units, words

SHOWN = 1000
ELSEWHERE = ("polygon", "pattern", "budget", "helps_nobody")
"""Finders that have their own place: on the map, on Suspects and on Plan."""


def found(run: Run, query: str, query_set: dict[str, Any], method: str, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return the scores that the project keeps for a question and a method, as `attribute` told them; or None."""
    try:
        asked, scorer = queries.make(query, query_set), attribution.make(method, settings)
    except BadInput:
        return None
    return attribute.kept(state.project(), run.id, described(asked), described(scorer))


def results(run: Run, result: dict[str, Any]) -> None:
    """Show the scores of one question."""
    scores, train = kept.scores(result["scores"]), state.dataset(run).train
    st.subheader(f"Rows behind: {words.escaped(result['labels'][0])}", anchor=False)
    trust.light(run, result["query"], result["method"], "scored.trust")
    legend(run, result, scores)
    mapping.section(run, result, scores)
    st.subheader("Rows by score", anchor=False)
    unit = units.of_scores(run, result, scores)
    axis = "predicted change if removed" + (f", in {unit.name}" if unit.name else "") if scores.calibrated else "rank score"
    st.plotly_chart(
        spread.histogram(scores.column() * unit.factor, axis), key="scored.histogram", config={"displayModeBar": False},
        alt=f"Histogram of {axis} over the training rows. {_finding(scores)}",
    )  # fmt: skip
    st.caption(_finding(scores))
    pinning.scores(run, result, _finding(scores))
    helpful, other = st.tabs(_names(result))
    better = "higher" if result["better"] == "higher" else "lower"
    with helpful:
        _rows(run, train, scores, kept.order(result["scores"], scores.labels[0], better), result, "first")
    with other:
        _rows(
            run, train, scores, kept.order(result["scores"], scores.labels[0], "lower" if better == "higher" else "higher"), result, "last"
        )
    _ways(run, train, scores, result, better)
    removing.curve(run, result)
    agreements.told(run, result)


def _names(result: dict[str, Any]) -> list[str]:
    if result["better"] == "higher":
        return ["▲ Removal raises it: removal helps", "▼ Removal lowers it: removal hurts"]
    if result["better"] == "lower":
        return ["▼ Removal lowers it: removal helps", "▲ Removal raises it: removal hurts"]
    return ["▼ Removal lowers it", "▲ Removal raises it"]


def legend(run: Run, result: dict[str, Any], scores: Scores) -> None:
    """Say what a score means and how far it can be read."""
    value, smooth, read = units.value(run, result), result["labels"][0], result.get("measured_label", result["labels"][0])
    now = f"{words.escaped(read)} is {measured(run, result, units.value(run, result)['measured'])}."
    if effects.differs(value):
        told = "its smooth version" if smooth == read else f"the smooth version of {words.escaped(smooth)}"
        now += f" What scores predict is {told}, {words.number(value['value'])} now. {effects.smooth(run)}"
    if scores.calibrated:
        unit = words.escaped(units.of_scores(run, result, scores).name) or "the metric's own unit"
        meant = f"**{SIGN}**, in {unit}. ▼ negative: removing the row lowers it. ▲ positive: removing the row raises it."
    else:
        meant = (
            "**Rank only.** ▼ negative: removing the row is predicted to lower the metric, ▲ positive: to raise it. These scores order "
            "rows; they are in no unit, so they cannot be added up to a change."
        )
    st.markdown(f"{meant} {now}")
    told = f" {words.escaped(result['told'])}." if result.get("told") else ""
    st.caption(
        f"{words.title(result['method']['name'])}, computed {words.ago(result['computed'])} and kept.{told} Asked of the evaluation rows, "
        "as on Audit; what a removal achieved is measured on the holdout rows."
    )


def measured(run: Run, result: Mapping[str, Any], value: float) -> str:
    """Return what a question measures now, `value` as people read it, with its interval where a table tells one, and of how many rows."""
    figure = _measures.evaluated(run, state.dataset(run), result["query"], value, kept.table(run.body["predictions"]))
    rows = words.count(len(state.dataset(run).evaluation), "evaluation row")
    return words.figure(figure, of="evaluation") if figure else f"{words.number(value)}, asked of {rows}"


def _finding(scores: Scores) -> str:
    values = scores.column()
    top = np.sort(np.abs(values))[::-1]
    share = top[: max(1, len(top) // 100)].sum() / max(top.sum(), 1e-30)
    return f"{len(values):,} training rows; the strongest 1 % carry {words.percent(share, 0)} of all influence."


def _rows(run: Run, train: Examples, scores: Scores, order: np.ndarray, result: dict[str, Any], key: str) -> None:
    count = st.select_slider("Rows shown", [20, 50, 100, 200, 500, SHOWN], 50, **state.shared(f"scored.{key}.count"))
    at = order[:count]
    places = as_places(scores.ids[at], train.ids)
    unit = units.of_scores(run, result, scores)
    title = f"change if removed{f' ({unit.name})' if unit.name else ''}" if scores.calibrated else "rank score"
    ticked(
        run, pd.DataFrame({"id": scores.ids[at], "score": scores.column()[at] * unit.factor}), train.columns.iloc[places], f"scored.{key}",
        result["scores"], f"The training rows that come {key} by score, with their columns.",
        {"score": st.column_config.NumberColumn(title, format="%.3g")},
    )  # fmt: skip


def ticked(run: Run, first: pd.DataFrame, columns: pd.DataFrame, key: str, digest: str, alt: str, shape: dict[str, Any]) -> None:
    """Draw rows with ids in `first` beside their data, and a button that adds those which are ticked to the selection."""
    made = state.dataset(run)
    leading = [c for c in dict.fromkeys((made.target, texts.column_of(made), state.group())) if c in columns]  # where one sees it
    drawn = pictures.of_run(run, first["id"].to_numpy())
    table = beside(first, texts.readable(columns[[*leading, *(c for c in columns if c not in leading)]].reset_index(drop=True)))
    event = st.dataframe(
        pictures.beside(table, drawn), hide_index=True, on_select="rerun", selection_mode="multi-row", key=f"{key}.{digest[:12]}",
        height=320 if drawn is None else 520, alt=alt, **pictures.look(drawn),
        column_config={**texts.shape(made), **shape, pictures.COLUMN: pictures.shape()},
    )  # fmt: skip
    picked = [i for i in event["selection"]["rows"] if i < len(table)]
    if picked:
        ids = first["id"].iloc[picked].tolist()
        with st.container(horizontal=True, vertical_alignment="center"):
            choosing.add(run, ids, key, digest)
            if len(ids) == 1:
                state.link("trace", f"Which predictions does row {words.escaped(ids[0])} sway?", ":material/route:", row=str(ids[0]))


def beside(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return two tables side by side; columns of the second that have a name of the first say that they are the data's."""
    return pd.concat([first, second.rename(columns={name: f"{name} (data)" for name in first})], axis=1)


def _ways(run: Run, train: Examples, scores: Scores, result: dict[str, Any], better: str) -> None:
    st.subheader("Choose rows", anchor=False)
    names = [name for name in finders.classes if name not in ELSEWHERE]
    first, second = st.columns(2)
    name = first.segmented_control("By", names, default="top_k" if "top_k" in names else names[0], format_func=_way, key="scored.finder")
    how = second.selectbox("Then", list(choosing.HOW), key="scored.how")
    if not name:
        return
    cls = finders.classes[name]
    hidden = ("label", "better") if name == "top_k" else ()
    given = forms.settings_form(cls, f"scored.finder.{name}", list(train.columns.columns), hidden=hidden)
    if name == "top_k":
        given |= {"label": scores.labels[0], "better": better}
    digest = result["scores"]
    st.button(
        "Choose these rows",
        key="scored.choose",
        icon=":material/checklist:",
        on_click=choosing.find,
        args=(run, name, given, scores, how, digest),
    )


def _way(name: str) -> str:
    return {"top_k": "Top by score", "rows": "Ids by hand", "where": "A condition"}.get(name, words.title(name))
