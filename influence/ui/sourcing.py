"""Whole sources on the Suspects page: a column's blocks, what each would change if it were withdrawn, and the way to a selection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.actions import confirm_suspects, sources
from influence.actions.suspects import NEVER
from influence.charts.colours import GREY, HELPFUL
from influence.charts.forest import forest
from influence.conditions import either
from influence.data.periods import SPANS
from influence.errors import BadInput
from influence.patterns.blocks import FEW, is_ranged
from influence.registry import attribution, described, queries
from influence.store import Run
from influence.ui import kept, retraining, scored, state, words

DRAWN = 20
"""Blocks in the picture, those of the largest predicted changes; the table holds all."""
LISTED = 5
"""Blocks that were retrained without and are told in a sentence; the table tells all."""
OWN, RANDOM = "without this block", "without as many random rows"
BY = {"": "By span", **{name: f"{name.capitalize()}s" for name in SPANS}}


def settings(run: Run) -> dict[str, Any]:
    """Draw the choice of a column and how it is cut; return both."""
    data = state.dataset(run)
    kinds = sources.kinds_of(data)
    names = [name for name in data.train.columns if kinds.get(name) not in (*NEVER, "text") and name != data.target]
    if not names:
        st.info("These rows have no columns by which they could be cut into blocks. Bring a column of sources or dates.")
        st.stop()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        usual = next((name for name in data.audit if name in names), names[0])
        column = st.selectbox(
            "Column", names, index=names.index(usual), key="sources.column", persist_state="session", width=320,
            help="Source, licence, consent, site, annotator, date: each of its values or periods is weighed as a whole.",
        )  # fmt: skip
        by, bins = "", 8
        if kinds.get(column) == "date" or pd.api.types.is_datetime64_any_dtype(data.train.columns[column]):
            by = st.segmented_control("Periods", list(BY), default="", required=True, key="sources.by", format_func=BY.__getitem__)
        elif is_ranged(data.train.columns[column], kinds.get(column, "")) and data.train.columns[column].nunique() > FEW:
            bins = int(st.number_input("Ranges", 2, 24, 8, key="sources.bins", width=140))
    return {"column": column, "by": by or "", "bins": bins}


def found(
    run: Run, query: str, query_set: dict[str, Any], method: str, given: dict[str, Any], chosen: dict[str, Any]
) -> dict[str, Any] | None:
    """Return what the project keeps of these blocks, or None."""
    try:
        asked, scorer = queries.make(query, query_set), attribution.make(method, given)
    except BadInput:
        return None
    return sources.kept(state.project(), run.id, described(asked), described(scorer), chosen)


def results(run: Run, result: dict[str, Any], query: str, query_set: dict[str, Any]) -> None:
    """Show the blocks, and what can be done with those that are ticked."""
    table = kept.table(result["table"])
    st.subheader(f"{words.escaped(result['label'])}, by {words.escaped(result['settings']['column'])}", anchor=False)
    st.markdown(sentence(run, result, table))
    for line in warnings(result, table):
        st.caption(line)
    _chart(result, table)
    notes = [confirm_suspects.kept(state.project(), run.id, result["query"], p) for p in table["conditions"]]
    picked = _table(result, table, notes)
    for line in _realised(result, table, notes)[:LISTED]:
        st.markdown(line)
    at = picked or [int(np.argmax([sources.improvement(c, result["better"]) for c in table["change"]]))]
    retraining.select(run, table, at, "block")
    patterns = table["conditions"].iloc[at].tolist()
    together = [either(patterns)] if 1 < len(patterns) < len(table) else []
    _together(run, result, table.iloc[at], together)
    retraining.check(run, [*patterns, *together], query, query_set, "remove", "ticked" if picked else "most promising", "block")


def sentence(run: Run, result: dict[str, Any], table: pd.DataFrame) -> str:
    """Say which block's removal is predicted to improve the question most, and whether that is more than its size."""
    now = f"{words.escaped(result['measured_label'])} is {scored.measured(run, result)}."
    first = table.iloc[int(np.argmax([sources.improvement(c, result["better"]) for c in table["change"]]))]
    rows = f"{words.count(int(first['n']), 'row')}, {words.percent(first['share'])}"
    name = f"**{words.escaped(result['settings']['column'])}: {words.escaped(first['block'])}** ({rows})"
    if not result["calibrated"]:
        return f"{now} Of {len(table)} blocks {name} ranks first. These scores rank only; they are in no unit."
    if result["better"] != "neither" and sources.improvement(first["change"], result["better"]) <= 0:
        return f"{now} No block's removal is predicted to improve it."
    moved = f"{words.signed(first['change'])} ({words.interval(first['low'], first['high'])})"
    usual = words.interval(first["random_low"], first["random_high"])
    size = (
        f"Random blocks of as many rows lie from {usual}, so this is, as predicted, **no more than its size**."
        if _usual(first)
        else f"Random blocks of as many rows lie from {usual}: this is, as predicted, **more than its size**."
    )
    return f"{now} Withdrawing {name} is predicted to change {words.escaped(result['label'])} by **{moved}**. {size}"


def warnings(result: dict[str, Any], table: pd.DataFrame) -> list[str]:
    """Say which blocks are so large that their sums stretch, or matter for their size alone, and what is in no block."""
    found = []
    large = table[table["share"] > sources.LARGE]
    if len(large):
        names = ", ".join(words.escaped(name) for name in large["block"].head(6)) + (" and others" if len(large) > 6 else "")
        found.append(
            f":material/open_in_full: More than a tenth of the rows: {names}. Sums of single rows' scores stretch that far; the real "
            "change is often several times larger. Retrain to see."
        )
    strongest, dense = table.loc[table["change"].abs().idxmax()], table.loc[table["per_row"].abs().idxmax()]
    if result["calibrated"] and _usual(strongest) and dense["block"] != strongest["block"]:
        found.append(
            f":material/scale: The change of {words.escaped(strongest['block'])} is the largest because the block is large: it lies among "
            f"those of random blocks of as many rows. Per row, {words.escaped(dense['block'])} does most."
        )
    if result["rest"]:
        found.append(f"{words.count(result['rest'], 'row')} of rarer or unreadable values are in no block.")
    return found


def _usual(block: pd.Series) -> bool:
    """Whether a block's change lies among those of random blocks of as many rows."""
    return bool(block["random_low"] <= block["change"] <= block["random_high"])


def _chart(result: dict[str, Any], table: pd.DataFrame) -> None:
    shown = table.loc[sorted(table["change"].abs().nlargest(DRAWN).index)]
    own = shown.assign(value=shown["change"], of=OWN)
    usual = shown.assign(value=shown["random"], low=shown["random_low"], high=shown["random_high"], of=RANDOM)
    both = pd.concat([own, usual], ignore_index=True)
    axis = f"predicted change of {result['label']}" if result["calibrated"] else "summed score (rank only)"
    st.plotly_chart(
        forest(both, {OWN: HELPFUL, RANDOM: GREY}, "block", "of", axis, line=0.0), key="sources.chart", config={"displayModeBar": False},
        alt=f"Blocks of {result['settings']['column']} by {axis}, beside random blocks; the table below holds the same figures.",
    )  # fmt: skip
    order = f"in order ({result['cut']})" if result["ordered"] else "the largest improvement first"
    st.caption(
        f"{words.count(len(table), 'block')}, {order}. Lines of a block: the 95 % interval over the choice of training rows; of random "
        "rows: where 95 % of random blocks of as many rows lie, for all blocks together. Summed scores of single rows."
    )


def _table(result: dict[str, Any], table: pd.DataFrame, notes: list[dict[str, Any] | None]) -> list[int]:
    """Draw the table and return the places of the ticked blocks."""
    change = [_real(note, "same", "holdout") for note in notes]
    shown = table.drop(columns=["conditions", "random"]).assign(
        size=["no more than its size" if _usual(block) else "more than its size" for _, block in table.iterrows()],
        realised=[_real(note, "same", "evaluation") for note in notes], holdout=change,
        other=[_real(note, "random", "holdout") for note in notes], became=[retraining.became(note) for note in notes],
        fresh=[retraining.fresh(note) for note in notes],
    )  # fmt: skip
    number, share = st.column_config.NumberColumn, result["share_of"]
    figures = {
        "change": "predicted change", "low": "low", "high": "high", "random_low": "random blocks, low", "random_high": "high ",
        "realised": "realised, evaluation", "holdout": "realised, holdout", "other": "random rows, holdout", "loss": "mean loss now",
    }  # fmt: skip
    event = st.dataframe(
        shown[["block", "n", "share", "change", "low", "high", "per_row", "random_low", "random_high", "size", "label", "loss", "realised",
               "holdout", "became", "other", "fresh"]],
        hide_index=True, on_select="rerun", selection_mode="multi-row", key=f"sources.table.{result['table'][:12]}",
        alt="Blocks of training rows with their number, predicted change with interval, and what retraining realised.",
        column_config={
            "n": "rows", "share": number("share of rows", format="percent"), "per_row": number("per row", format="%.2e"),
            "size": "predicted, against random blocks", "fresh": "realised, new seeds, holdout",
            "became": f"{result['measured_label']}, holdout",
            "label": number(f"share of {share}", format="percent") if share else number("mean target", format="%.3g"),
            **{name: number(title, format="%.3g") for name, title in figures.items()},
        },
    )  # fmt: skip
    return [i for i in event["selection"]["rows"] if i < len(table)]


def _real(note: dict[str, Any] | None, truth: str, role: str, kind: str = "value") -> float | None:
    told = (note or {}).get(truth, {}).get(role)
    return None if told is None else float(told[kind]["change"])


def _realised(result: dict[str, Any], table: pd.DataFrame, notes: list[dict[str, Any] | None]) -> list[str]:
    """Say of each block that was really withdrawn what it changed, beside as many random rows."""
    return [
        f"**Really retrained without {words.escaped(block)}**, once: {words.escaped(result['measured_label'])} on the holdout rows "
        f"{retraining.became(note)}; as many random rows change it by {words.signed(_real(note, 'random', 'holdout', 'measured'))}."
        for block, note in zip(table["block"], notes, strict=True)
        if retraining.became(note)
    ]


def _together(run: Run, result: dict[str, Any], chosen: pd.DataFrame, patterns: list[str]) -> None:
    """Say what the ticked blocks are predicted to change together, and what retraining without them all did."""
    if not patterns or not result["calibrated"]:
        return
    note = confirm_suspects.kept(state.project(), run.id, result["query"], patterns[0])
    real = _real(note, "same", "holdout")
    said = f"; really, in one retraining, on the holdout rows {words.signed(real)}" if real is not None else ""
    total, low, high = sources.together(chosen, result["n"])
    found = f"predicted {words.signed(total)} ({words.interval(low, high)})"
    st.markdown(f"The {len(chosen)} ticked blocks together, {int(chosen['n'].sum()):,} rows: {found}{said}.")
