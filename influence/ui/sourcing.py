"""Whole sources on the Suspects page: a column's blocks, what each would change if it were withdrawn, and the way to a selection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.actions import confirm_suspects, sources
from influence.actions.suspects import NEVER
from influence.charts.colours import GREY, GROUPS
from influence.charts.forest import forest
from influence.conditions import either
from influence.data.periods import SPANS
from influence.errors import BadInput
from influence.patterns.blocks import FEW, is_ranged
from influence.registry import attribution, described, queries
from influence.store import Run
from influence.ui import effects, kept, retraining, scored, state, words

DRAWN = 20
"""Blocks in the picture, those of the largest predicted changes; the table holds all."""
LISTED = 5
"""Blocks that were retrained without and are told in a sentence; the table tells all."""
OWN, RANDOM = "without this block", "without as many random rows"
MORE = "more than its size"
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
    st.subheader(f"{words.escaped(result['measured_label'])}, by {words.escaped(result['settings']['column'])}", anchor=False)
    st.markdown(sentence(run, result, table))
    for line in warnings(result, table):
        st.caption(line)
    _chart(run, result, table)
    notes = [confirm_suspects.kept(state.project(), run.id, result["query"], p) for p in table["conditions"]]
    picked = _table(result, table, notes)
    for line in _realised(run, result, table, notes)[:LISTED]:
        st.markdown(line)
    if not picked:
        st.caption("Tick blocks in the table to choose their rows, or to retrain without them.")
        retraining.impossible(run)
        return
    retraining.select(run, table, picked, "block")
    patterns = table["conditions"].iloc[picked].tolist()
    together = [either(patterns)] if 1 < len(patterns) < len(table) else []
    _together(run, result, table.iloc[picked], together)
    retraining.check(run, [*patterns, *together], query, query_set, "remove", "ticked", "block")


def sentence(run: Run, result: dict[str, Any], table: pd.DataFrame) -> str:
    """Say which block's removal is predicted to improve the question most, and whether that is more than its size."""
    now = f"{words.escaped(result['measured_label'])} is {scored.measured(run, result, result['value']['measured'])}."
    first = table.iloc[int(np.argmax([sources.improvement(c, result["better"]) for c in table["change"]]))]
    rows = f"{words.count(int(first['n']), 'row')}, {words.percent(first['share'])}"
    name = f"**{words.escaped(result['settings']['column'])}: {words.escaped(first['block'])}** ({rows})"
    if not result["calibrated"]:
        return f"{now} Of {len(table)} blocks {name} ranks first. These scores rank only; they are in no unit."
    if result["better"] != "neither" and sources.improvement(first["change"], result["better"]) <= 0:
        return f"{now} No block's removal is predicted to improve it."
    moved = f"{words.signed(first['change'])} (95 % {words.interval(first['low'], first['high'])})"
    it = "its smooth version" if effects.differs(result["value"]) else "it"
    usual = words.interval(first["random_low"], first["random_high"])
    size = (
        "The interval contains 0: it may change nothing."
        if _unsure(first)
        else f"Random blocks of as many rows lie from {usual}: this is, as predicted, **{_beside(first)}**."
    )
    return f"{now} Withdrawing {name} is predicted to change {it} by **{moved}**. {size}"


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
    strongest = table.loc[table["change"].abs().idxmax()]
    if result["calibrated"] and _beside(strongest) != MORE and strongest["block"] != table.loc[table["per_row"].abs().idxmax()]["block"]:
        found.append(
            f":material/scale: The change of {words.escaped(strongest['block'])} is the largest because the block is large: "
            "random blocks of as many rows change as much or more."
        )
    if result["rest"]:
        found.append(f"{words.count(result['rest'], 'row')} of rarer or unreadable values are in no block.")
    return found


def _beside(block: pd.Series) -> str:
    """Say whether a block's change is more or less, in its own direction, than those of random blocks of as many rows."""
    way = np.sign(block["change"]) or 1.0
    low, high = sorted((way * block["random_low"], way * block["random_high"]))
    change = way * block["change"]
    return MORE if change > high else "less than its size" if change < low else "no more than its size"


def _unsure(block: pd.Series) -> bool:
    """Whether the interval of a block's change contains 0."""
    return bool(block["low"] <= 0 <= block["high"])


def _chart(run: Run, result: dict[str, Any], table: pd.DataFrame) -> None:
    shown = table.loc[sorted(table["change"].abs().nlargest(DRAWN).index)]
    own = shown.assign(value=shown["change"], of=OWN)
    usual = shown.assign(value=shown["random"], low=shown["random_low"], high=shown["random_high"], of=RANDOM)
    both = pd.concat([own, usual], ignore_index=True)
    smooth = effects.differs(result["value"])
    axis = f"predicted change{' of its smooth version' if smooth else ''}" if result["calibrated"] else "summed score (rank only)"
    st.plotly_chart(
        forest(both, {OWN: GROUPS[0], RANDOM: GREY}, "block", "of", axis, line=0.0), key="sources.chart", config={"displayModeBar": False},
        alt=f"Blocks of {result['settings']['column']} by {axis}, beside random blocks; the table below holds the same figures.",
    )  # fmt: skip
    order = f"in order ({result['cut']})" if result["ordered"] else "the largest improvement first"
    st.caption(
        f"{words.count(len(table), 'block')}, {order}. Lines of a block: the 95 % interval over the choice of training rows; of random "
        "rows: where 95 % of random blocks of as many rows lie, for all blocks together."
        + (f" {effects.now(run, result)}" if smooth else "")
    )


def _table(result: dict[str, Any], table: pd.DataFrame, notes: list[dict[str, Any] | None]) -> list[int]:
    """Draw the table and return the places of the ticked blocks."""
    number, text, share = st.column_config.NumberColumn, st.column_config.TextColumn, result["share_of"]
    shown = table[["block", "n"] if any(notes) else ["block", "n", "share"]].copy()
    if any(notes):
        shown = shown.assign(**{role: [effects.became(note, role) for note in notes] for role in effects.ROLES})
    shown = pd.concat([shown, table[["change", "low", "high"]]], axis=1).assign(
        size=[against(block) for _, block in table.iterrows()],
        random=[words.interval(a, b) for a, b in zip(table["random_low"], table["random_high"], strict=True)],
        label=table["label"], loss=table["loss"],
    )  # fmt: skip
    smooth = ", smooth" if effects.differs(result["value"]) else ""
    event = st.dataframe(
        shown, hide_index=True, on_select="rerun", selection_mode="multi-row", key=f"sources.table.{result['table'][:12]}",
        alt="Blocks of training rows with their number, what retraining did, and the predicted change with its interval.",
        column_config={
            "n": number("rows", format="localized", width=52), "share": number("share", format="percent", width=65),
            "holdout": text("holdout, retrained", width=125, help=result["measured_label"]),
            "evaluation": text("evaluation, retrained", width=140, help=result["measured_label"]),
            "change": number(f"predicted{smooth}" if result["calibrated"] else "summed score", format="%.3g"),
            "low": number("95 % low", format="%.3g", width=75), "high": number("95 % high", format="%.3g", width=75),
            "size": "as predicted", "random": "random blocks, 95 %",
            "label": number(f"share of {share}", format="percent") if share else number("mean target", format="%.3g"),
            "loss": number("mean loss now" if share else "mean squared error now", format="%.3g"),
        },
    )  # fmt: skip
    return [i for i in event["selection"]["rows"] if i < len(table)]


def against(block: pd.Series) -> str:
    """Say whether a block's predicted change is more than nothing, and more than that of random blocks of its size."""
    return "interval contains 0" if _unsure(block) else _beside(block)


def _realised(run: Run, result: dict[str, Any], table: pd.DataFrame, notes: list[dict[str, Any] | None]) -> list[str]:
    """Say of each block that was retrained without what that did."""
    return [
        effects.realised(run, result, note, f"{words.escaped(result['settings']['column'])}: {words.escaped(row.block)}", row.change)
        for row, note in zip(table.itertuples(), notes, strict=True)
        if note
    ]


def _together(run: Run, result: dict[str, Any], chosen: pd.DataFrame, patterns: list[str]) -> None:
    """Say what the ticked blocks are predicted to change together, and what retraining without them all did."""
    if not patterns or not result["calibrated"]:
        return
    note = confirm_suspects.kept(state.project(), run.id, result["query"], patterns[0])
    total, low, high = sources.together(chosen, result["n"])
    rows = f"the {len(chosen)} ticked blocks together ({int(chosen['n'].sum()):,} rows)"
    if note:
        st.markdown(effects.realised(run, result, note, rows, total))
        return
    it = "the smooth version" if effects.differs(result["value"]) else words.escaped(result["measured_label"])
    st.markdown(f"Without {rows}, {it} is predicted to change by {words.signed(total)} (95 % {words.interval(low, high)}).")
