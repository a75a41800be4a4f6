"""The patterns on the Suspects page: settings of the search, what it found, what retraining says, and the way to a selection."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.actions import confirm_suspects, suspects
from influence.actions._scored import short
from influence.charts.bars import bars
from influence.errors import BadInput
from influence.registry import attribution, described, queries
from influence.store import Run
from influence.ui import choosing, costs, jobs, kept, scored, state, words

DRAWN = 12
"""Patterns in the chart; the table holds all."""
CHECKED = 3
"""Patterns that are retrained where none is ticked."""
SEEDS = 3
ALIKE = 1e-4
"""Relative difference up to which the smooth form and what people read are one."""
DONE = {"remove": "removed", "relabel": "relabelled"}


def settings(run: Run) -> dict[str, Any]:
    """Draw the settings of the search and return them."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        conditions = st.segmented_control(
            "Conditions at most", [1, 2, 3, 4], default=2, required=True, key="suspects.conditions", persist_state="session",
            help="More conditions make narrower patterns. One is listed only if it beats each of its parts beyond chance.",
        )  # fmt: skip
        remedy = "remove"
        if state.dataset(run).train.classes:
            remedy = st.segmented_control(
                "What if their rows were", ["remove", "relabel"], default="remove", required=True, key="suspects.remedy",
                format_func=DONE.__getitem__, persist_state="session",
                help="Relabelled: given the other class that the model holds likeliest.",
            )  # fmt: skip
        label = st.toggle(
            f"{state.dataset(run).target} may be a condition", key="suspects.label", persist_state="session",
            help="Beside another condition. Off, patterns are of the rows' other columns alone.",
        )  # fmt: skip
    low, high = st.select_slider(
        "Share of the training rows", [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7], (0.01, 0.5), key="suspects.share",
        format_func=lambda share: words.percent(share), persist_state="session",
    )  # fmt: skip
    if low == high:
        st.caption(f"Both ends are {words.percent(low)}: patterns of so many rows or more are searched for.")
    most = high if low < high else 1.0
    return {"max_conditions": conditions, "with_label": label, "remedy": remedy, "least": low, "most": most, "limit": 20}


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
    st.subheader(f"Patterns behind: {result['label']}", anchor=False)
    st.markdown(sentence(result, table))
    if table.empty:
        return
    notes = [confirm_suspects.kept(state.project(), run.id, result["query"], p, result["settings"]["remedy"]) for p in table["conditions"]]
    _chart(run, result, table.head(DRAWN), notes[:DRAWN])
    picked = _table(result, table, notes)
    chosen = table.iloc[picked] if picked else table.head(CHECKED)
    if result["settings"]["remedy"] == "remove":
        _select(run, table, picked or [0])
    _check(run, result, chosen, query, query_set, bool(picked))


def sentence(result: dict[str, Any], table: pd.DataFrame) -> str:
    """Say what was found, in one sentence or two."""
    done = DONE[result["settings"]["remedy"]]
    looked, name = f"Of {result['looked_at']:,} patterns looked at", words.escaped(result["label"])
    if table.empty:
        return (
            f"{looked}, none stands out: no pattern's rows are predicted to improve **{name}** beyond chance if they are {done}. "
            "Ask another question, or allow more conditions."
        )
    first, way = table.iloc[0], "raise" if result["better"] == "higher" else "lower"
    what, figure = "its smooth form" if _smooth(result) else "it", f"**{words.number(first['effect'])}**"
    unit = (
        f"{way} {what} by {figure} ({words.interval(first['low'], first['high'])})"
        if result["calibrated"]
        else f"{way} it most (these scores rank only; they are in no unit)"
    )
    share = f"{words.count(int(first['n']), 'row')}, {words.percent(first['n'] / result['n'])} of the training rows"
    now = f"{words.escaped(result['measured_label'])} is {words.number(result['value']['measured'])} on the evaluation rows"
    return (
        f"{now}. {looked}, the first suspect is "
        f"**{words.escaped(first['rule'])}**: {share}. If they are {done}, that is predicted to {unit}. Sums of single rows' scores say "
        "little of how rows act together: retrain to see."
    )


def improvement(result: dict[str, Any], note: dict[str, Any] | None, truth: str, role: str) -> float | None:
    """Return a realised change of what is predicted, turned so that positive is better; None where nothing was retrained."""
    told = (note or {}).get(truth, {}).get(role)
    return None if told is None else float(told["value"]["change"]) * (1 if result["better"] == "higher" else -1)


def _chart(run: Run, result: dict[str, Any], table: pd.DataFrame, notes: list[dict[str, Any] | None]) -> None:
    realised = {
        "realised, these rows": [improvement(result, note, "same", "evaluation") for note in notes],
        "realised, holdout rows": [improvement(result, note, "same", "holdout") for note in notes],
        "as many random rows": [improvement(result, note, "random", "holdout") for note in notes],
    }
    comparable = realised if result["calibrated"] else {}
    effects = list(table[["effect", "low", "high"]].itertuples(index=False, name=None))
    moves = "rises" if result["better"] == "higher" else "falls"
    axis = f"how far {result['label']} {moves}" if result["calibrated"] else "summed score"
    st.plotly_chart(
        bars(table["rule"].tolist(), effects, comparable, axis), key="suspects.chart", config={"displayModeBar": False},
        alt=f"Patterns by {axis}, as predicted, with 95 % intervals; the table below holds the same figures.",
    )  # fmt: skip
    st.caption(
        "Bars: summed predicted improvement; lines: its 95 % interval over the choice of training rows. A pattern of several conditions is "
        "listed only if each of them is needed, and none that says nearly the same as another. Realised: this training again without the "
        f"rows, asked of the same {words.count(len(state.dataset(run).evaluation), 'evaluation row')}, and of "
        f"{words.count(len(state.dataset(run).holdout), 'holdout row')}, which no choice was made by.{_smooth(result)}"
    )


def _smooth(result: dict[str, Any]) -> str:
    """Say so where what is predicted is a smooth form of what people read."""
    value = result["value"]
    if abs(value["value"] - value["measured"]) <= ALIKE * max(1.0, abs(value["value"])):
        return ""
    return (
        f" Predicted and realised are of the smooth form, {words.number(value['value'])} now; what people read stands in the column "
        f"“{words.escaped(result['measured_label'])}, holdout”."
    )


def _table(result: dict[str, Any], table: pd.DataFrame, notes: list[dict[str, Any] | None]) -> list[int]:
    """Draw the table and return the places of the ticked patterns."""
    shown = table.drop(columns="conditions").assign(
        share=table["n"] / result["n"],
        realised=[improvement(result, note, "same", "evaluation") for note in notes],
        holdout=[improvement(result, note, "same", "holdout") for note in notes],
        random=[improvement(result, note, "random", "holdout") for note in notes],
        became=[_became(note) for note in notes],
        fresh=[_fresh(result, note) for note in notes],
    )
    number = st.column_config.NumberColumn
    names: dict[str, Any] = {
        "rule": "pattern",
        "n": "rows",
        "share": number("share of rows", format="percent"),
        "effect_per_row": number("per row", format="%.2e"),
        "became": f"{result['measured_label']}, holdout",
        "fresh": "realised, new seeds, holdout",
    }
    figures = {
        "effect": "predicted improvement", "low": "low", "high": "high", "realised": "realised, evaluation", "holdout": "realised, holdout",
        "random": "random rows, holdout",
    }  # fmt: skip
    event = st.dataframe(
        shown[["rule", "n", "share", "effect", "low", "high", "effect_per_row", "realised", "holdout", "became", "random", "fresh"]],
        hide_index=True, on_select="rerun", selection_mode="multi-row", key=f"suspects.table.{result['table'][:12]}",
        alt="Patterns of training rows with their number, predicted improvement with interval, and what retraining realised.",
        column_config={**names, **{k: number(v, format="%.3g") for k, v in figures.items()}},
    )  # fmt: skip
    return [i for i in event["selection"]["rows"] if i < len(table)]


def _became(note: dict[str, Any] | None) -> str | None:
    """Say what people read on the holdout rows, and what it became."""
    told = (note or {}).get("same", {}).get("holdout", {}).get("measured")
    return f"{words.number(told['before'])} → {words.number(told['before'] + told['change'])}" if told else None


def _fresh(result: dict[str, Any], note: dict[str, Any] | None) -> str | None:
    told = (note or {}).get("fresh", {}).get("holdout", {}).get("value")
    if not told:
        return None
    sign = 1 if result["better"] == "higher" else -1
    ends = sorted(sign * told[end] for end in ("low", "high")) if told["low"] is not None else []
    return words.number(sign * told["change"]) + (f" ({words.interval(*ends)})" if ends else "") + f", n = {told['n']}"


def _select(run: Run, table: pd.DataFrame, picked: list[int]) -> None:
    """Draw the button that makes the ticked patterns' rows the selection."""
    how = st.session_state.get("suspects.how", next(iter(choosing.HOW)))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        many = int(table.iloc[picked[0]]["n"]) if len(picked) == 1 else None
        what = f"Choose these {many:,} rows" if many else f"Choose the rows of {len(picked)} patterns"
        args = (run, table.iloc[picked]["conditions"].tolist(), how)
        st.button(what, key="suspects.choose", icon=":material/checklist:", on_click=_chosen, args=args)
        st.selectbox("Then", list(choosing.HOW), key="suspects.how", label_visibility="collapsed", width=260)


def _chosen(run: Run, patterns: list[str], how: str) -> None:
    choosing.find_any(run, "pattern", [{"conditions": pattern} for pattern in patterns], None, how)


def _check(run: Run, result: dict[str, Any], chosen: pd.DataFrame, query: str, query_set: dict[str, Any], ticked: bool) -> None:
    """Draw the button that retrains without the ticked patterns, or the first."""
    fresh = st.toggle(
        f"With {SEEDS} new seeds too", key="suspects.fresh", persist_state="session",
        help="New first weights and a new order of rows, as somebody would get who trains again next month; with the spread over seeds.",
    )  # fmt: skip
    args = {
        "run": run.id, "query": query, "query_set": query_set, "patterns": chosen["conditions"].tolist(),
        "remedy": result["settings"]["remedy"], "seeds": SEEDS if fresh else 0,
    }  # fmt: skip
    n, removed = len(chosen), result["settings"]["remedy"] == "remove"
    count = n * (2 if removed else 1) + (SEEDS * (n + 1) if fresh else 0)
    which = "ticked" if ticked else "first"
    what = f"{which} pattern" if n == 1 else f"{n} {which} patterns"
    how = f"Retrain without the {what}" if removed else f"Retrain with the {what} relabelled"
    job = jobs.run_button(
        how, "confirm_suspects", args, f"suspects.check.{short(args)}", cost=costs.retrainings(run, count), primary=False,
        icon=":material/model_training:",
    )  # fmt: skip
    jobs.follow(job, key="suspects.check.follow")
