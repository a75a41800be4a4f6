"""The patterns on the Suspects page: settings of the search, what it found, what retraining says, and the way to a selection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.actions import clusters, confirm_suspects, suspects
from influence.charts.bars import EVALUATION, HOLDOUT, RANDOM, bars
from influence.data.images.size import spread
from influence.errors import BadInput
from influence.registry import attribution, described, queries
from influence.store import Run
from influence.ui import choosing, costs, effects, kept, pictures, pinning, retraining, scored, state, words

DRAWN = 12
"""Patterns in the chart; the table holds all."""
CHECKED = 3
"""Patterns that are retrained where none is ticked."""
GROUPS = 16
"""Groups of rows that look alike."""
TOLD = 3
"""Retrainings that are told in a sentence; the table tells all."""
FITS, TALL = 34, 66
"""Characters of a pattern in one line of the table's column, and the height of rows from which on Streamlit breaks lines, in pixels."""
DONE = {"remove": "removed", "relabel": "relabelled"}


def settings(run: Run) -> dict[str, Any]:
    """Draw the settings of the search and return them."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        conditions = st.segmented_control(
            "Conditions at most", [1, 2, 3, 4], default=2, required=True, **state.shared("suspects.conditions"),
            help="More conditions make narrower patterns. One is listed only if it beats each of its parts beyond chance, and none that "
            "says nearly the same as another.",
        )  # fmt: skip
        remedy = "remove"
        if state.dataset(run).train.classes:
            remedy = st.segmented_control(
                "What if their rows were", ["remove", "relabel"], default="remove", required=True,
                **state.shared("suspects.remedy", DONE.__getitem__),
                help="Relabelled: given the other class that the model holds likeliest.",
            )  # fmt: skip
        label = st.toggle(
            f"{words.escaped(state.dataset(run).target)} may be a condition", **state.shared("suspects.label"),
            help="Beside another condition. Off, patterns are of the rows' other columns alone.",
        )  # fmt: skip
        alike = st.toggle(
            "Rows that look alike may be a condition", value=pictures.drawable(run), **state.shared("suspects.alike"),
            help=f"Rows are put into {GROUPS} groups by what the model sees alike: for a fault that no column tells of.",
        )  # fmt: skip
    low, high = st.select_slider(
        "Share of the training rows", [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7], (0.01, 0.5),
        **state.shared("suspects.share", words.percent),
    )  # fmt: skip
    if low == high:
        st.caption(f"Both ends are {words.percent(low)}: patterns of so many rows or more are searched for.")
    most = high if low < high else 1.0
    chosen = {"max_conditions": conditions, "with_label": label, "remedy": remedy, "least": low, "most": most, "limit": 20}
    return chosen | ({"alike": GROUPS} if alike else {})


def cost(run: Run, query: str, query_set: dict[str, Any], method: str, given: dict[str, Any]) -> str:
    """Say what a search costs: the scores if they are not there yet, and some seconds."""
    there = scored.found(run, query, query_set, method, given)
    return "A few seconds: the rows are scored already" if there else costs.told(run, attribution, method, given) + "; then a few seconds"


def found(
    run: Run, query: str, query_set: dict[str, Any], method: str, given: dict[str, Any], chosen: dict[str, Any]
) -> dict[str, Any] | None:
    """Return what the project keeps of this search, or None."""
    try:
        asked, scorer = queries.make(query, query_set), attribution.make(method, given)
    except BadInput:
        return None
    return suspects.kept(state.project(), run.id, described(asked), described(scorer), chosen)


def results(run: Run, result: dict[str, Any], query: str, query_set: dict[str, Any]) -> None:
    """Show the patterns, and what can be done with those that are ticked."""
    table = kept.table(result["table"])
    st.subheader(f"Patterns behind: {words.escaped(result['measured_label'])}", anchor=False)
    st.markdown(sentence(run, result, table))
    if table.empty:
        return
    notes = [confirm_suspects.kept(state.project(), run.id, result["query"], p, result["settings"]["remedy"]) for p in table["conditions"]]
    for line in realised(run, result, table, notes)[:TOLD]:
        st.markdown(line)
    _chart(run, result, table.head(DRAWN), notes[:DRAWN])
    picked = _table(result, table, notes)
    _middles(run, result, table)
    pinning.patterns(run, result, table.iloc[picked or [0]])
    chosen = table.iloc[picked] if picked else table.head(CHECKED)
    if result["settings"]["remedy"] == "remove":
        retraining.select(run, table, picked or [0])
    retraining.check(run, chosen["conditions"].tolist(), query, query_set, result["settings"]["remedy"], "ticked" if picked else "first")


def sentence(run: Run, result: dict[str, Any], table: pd.DataFrame) -> str:
    """Say what was found, in one sentence or two."""
    done = DONE[result["settings"]["remedy"]]
    looked, name = f"Of {result['looked_at']:,} patterns looked at", words.escaped(result["label"])
    if table.empty:
        return (
            f"{looked}, none stands out: no pattern's rows are predicted to improve **{name}** beyond chance if they are {done}. "
            "Ask another question, or allow more conditions."
        )
    first, way = table.iloc[0], "raise" if result["better"] == "higher" else "lower"
    what, figure = "its smooth version" if effects.differs(result["value"]) else "it", f"**{words.number(first['effect'])}**"
    unit = (
        f"{way} {what} by {figure} (95 % {words.interval(first['low'], first['high'])})"
        if result["calibrated"]
        else f"{way} it most (these scores rank only; they are in no unit)"
    )
    share = f"{words.count(int(first['n']), 'row')}, {words.percent(first['n'] / result['n'])} of the training rows"
    now = f"{words.escaped(result['measured_label'])} is {scored.measured(run, result, result['value']['measured'])}"
    return (
        f"{now}. {looked}, the first suspect is "
        f"**{words.escaped(first['rule'])}**: {share}. If they are {done}, that is predicted to {unit}. Sums of single rows' scores say "
        "little of how rows act together: retrain to see."
    )


def improvement(result: dict[str, Any], note: dict[str, Any] | None, truth: str, role: str) -> float | None:
    """Return a realised change of what is predicted, turned so that positive is better; None where nothing was retrained."""
    told = (note or {}).get(truth, {}).get(role)
    return None if told is None else float(told["value"]["change"]) * (1 if result["better"] == "higher" else -1)


def realised(run: Run, result: dict[str, Any], table: pd.DataFrame, notes: list[dict[str, Any] | None]) -> list[str]:
    """Say of each pattern that was retrained without what that did."""
    sign = 1 if result["better"] == "higher" else -1
    return [
        effects.realised(run, result, note, f"these {row.n:,} rows ({words.escaped(row.rule)})", sign * row.effect)
        for row, note in zip(table.itertuples(), notes, strict=True)
        if note
    ]


def _chart(run: Run, result: dict[str, Any], table: pd.DataFrame, notes: list[dict[str, Any] | None]) -> None:
    real = {
        EVALUATION: [improvement(result, note, "same", "evaluation") for note in notes],
        HOLDOUT: [improvement(result, note, "same", "holdout") for note in notes],
        RANDOM: [improvement(result, note, "random", "holdout") for note in notes],
    }
    comparable, smooth = real if result["calibrated"] else {}, effects.differs(result["value"])
    sizes = list(table[["effect", "low", "high"]].itertuples(index=False, name=None))
    moves = "rises" if result["better"] == "higher" else "falls"
    axis = f"how far {'its smooth version' if smooth else 'it'} {moves}" if result["calibrated"] else "summed score"
    st.plotly_chart(
        bars(table["rule"].tolist(), sizes, comparable, axis, falls=moves == "falls"), key="suspects.chart",
        config={"displayModeBar": False},
        alt=f"Patterns by {axis}, as predicted, with 95 % intervals; the table below holds the same figures.",
    )  # fmt: skip
    marks = " Marks: retrained." if comparable and any(notes) else ""
    now = f" {effects.now(run, result)}" if smooth else ""
    st.caption(f"Bars: predicted; lines: 95 % interval over the choice of training rows.{marks}{now}")


def _table(result: dict[str, Any], table: pd.DataFrame, notes: list[dict[str, Any] | None]) -> list[int]:
    """Draw the table and return the places of the ticked patterns."""
    number, short = st.column_config.NumberColumn, ", smooth" if effects.differs(result["value"]) else ""
    moves = "rise" if result["better"] == "higher" else "fall"
    shown = table[["rule", "n"]].copy()
    if any(notes):
        shown = shown.assign(**{role: [effects.became(note, role) for note in notes] for role in effects.ROLES})
    else:
        shown = shown.assign(share=table["n"] / result["n"])
    shown = shown.join(table[["effect", "low", "high"]])
    event = st.dataframe(
        shown, hide_index=True, on_select="rerun", selection_mode="multi-row", key=f"suspects.table.{result['table'][:12]}",
        row_height=TALL if (table["rule"].str.len() > FITS).any() else None,
        alt="Patterns of training rows with their number, what retraining did, and the predicted improvement with its interval.",
        column_config={
            "rule": st.column_config.TextColumn("pattern", width=255 if any(notes) else None),
            "n": number("rows", format="localized", width=52), "share": number("share", format="percent", width=65),
            "holdout": st.column_config.TextColumn("holdout, retrained", width=120, help=result["measured_label"]),
            "evaluation": st.column_config.TextColumn("evaluation, retrained", width=132, help=result["measured_label"]),
            "effect": number(f"{moves}{short}" if result["calibrated"] else "summed score", format="%.3g", width=95, help="Predicted"),
            "low": number("95 % low", format="%.3g", width=72), "high": number("95 % high", format="%.3g", width=76),
        },
    )  # fmt: skip
    return [i for i in event["selection"]["rows"] if i < len(table)]


def _middles(run: Run, result: dict[str, Any], table: pd.DataFrame) -> None:
    """Show the rows by which patterns name groups of rows that look alike; of images some of each group."""
    groups = clusters.kept(state.project(), run.id, result["settings"].get("alike", 0))
    ids = list(dict.fromkeys(id for rule in table["conditions"] for id in clusters.middles(rule, groups))) if groups else []
    if not groups or not ids:
        return
    images = pictures.drawable(run)
    st.caption(
        f"“Looks like row {words.escaped(ids[0])}”: the training rows were put into {len(groups['sizes'])} groups by {groups['of']}, each "
        f"named by the row in its middle.{'' if images else ' Those of the groups above:'}"
    )
    if images:
        _alike(run, groups, ids)
    else:
        choosing.listed(run, ids)


def _alike(run: Run, groups: dict[str, Any], ids: list[Any]) -> None:
    """Draw some images of each group, that in its middle first."""
    scores, places = kept.scores(groups["clusters"]), [groups["middles"].index(id) for id in ids]
    drawn = []
    for id, place in zip(ids, places, strict=True):
        members = scores.ids[(scores.column() == place) & (scores.ids != id)]
        some = np.array([id, *members[spread(len(members), pictures.LINE - 1)]], dtype=scores.ids.dtype)
        drawn.append(pictures.of_run(run, some) or [])
    first = pd.DataFrame({"group": [f"row {id}" for id in ids], "rows": [groups["sizes"][place] for place in places]})
    pictures.lines(first, drawn, "Groups of images that look alike, with some of each.", "suspects.alike.shown")
