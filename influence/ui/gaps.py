"""Gaps between groups in words, and the way from each to the rows behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd
import streamlit as st

from influence.registry import attribution
from influence.ui import asking, costs, state, whole, words
from influence.ui.auditing import Audited

SMALL = 30
"""A rate of fewer rows than this has an interval, but a wide one: the sentence says so."""
ASK = "influence.ask"
"""In `st.session_state`: Influence is to score the question at once, since it was asked by a button that says so."""


class Told(NamedTuple):
    """By which gap a metric's groups are told apart, which question asks for the rows behind it, and the sentence about two groups."""

    gap: str
    query: str
    said: str


MEAN = "has a mean {name} of {high} in group **{a}** and of {low} in group **{b}**"
TOLD = {
    "true_positive_rate": Told(
        "equal_opportunity_gap",
        "equal_opportunity_gap",
        "finds {high} of the rows whose {target} truly is “{positive}” in group **{a}** but only {low} in group **{b}**",
    ),
    "selection_rate": Told(
        "demographic_parity_gap",
        "demographic_parity_gap",
        "says “{positive}” of {high} of the rows in group **{a}** but only of {low} in group **{b}**",
    ),
    "false_positive_rate": Told(
        "predictive_equality_gap",
        "predictive_equality_gap",
        "wrongly says “{positive}” of {high} of the rows whose {target} truly is another in group **{a}** but only of {low} in group "
        "**{b}**",
    ),
    "false_negative_rate": Told(
        "equal_opportunity_gap",
        "equal_opportunity_gap",
        "misses {high} of the rows whose {target} truly is “{positive}” in group **{a}** but only {low} in group **{b}**",
    ),
    "accuracy": Told(
        "accuracy_gap", "group_loss_gap", "is right about {high} of the rows in group **{a}** but only about {low} in group **{b}**"
    ),
    "calibration": Told(
        "calibration_gap",
        "calibration_gap",
        "says a probability of “{positive}” that is off by {high} in group **{a}** and by {low} in group **{b}** (positive: too high)",
    ),
    "loss": Told("group_loss_gap", "group_loss_gap", MEAN),
    "mae": Told("group_loss_gap", "group_loss_gap", MEAN),
}
NAMES = {"mae": "absolute error"}
MEANING = {
    "equal_opportunity_gap": "Of the rows that truly are positive, how many more does it find in one group?",
    "demographic_parity_gap": "How much more often does one group get the positive prediction?",
    "predictive_equality_gap": "Of the rows that truly are not positive, how many more does it call so in one group?",
    "equalized_odds_gap": "The larger of the gaps in true and in false positive rate.",
    "accuracy_gap": "How much more often is the model right about one group?",
    "calibration_gap": "How differently does it misjudge the chance per group?",
    "group_loss_gap": "How much worse are its predictions for one group?",
    "worst_group_loss": "The mean loss of the group that it serves worst.",
}
ERRORS = ("loss", "mae")
WORST = {
    "true_positive_rate": "Worst off of {n} groups, with the lowest true positive rate, is",
    "selection_rate": "Least often of {n} groups it says “{positive}” of",
    "accuracy": "Worst off of {n} groups, with the lowest accuracy, is",
    "calibration": "Worst judged of {n} groups, with the calibration furthest from 0, is",
}
HIGHEST = "Worst off of {n} groups, with the highest {name}, is"


def figure(metric: str) -> Callable[[float], str]:
    """Return how a metric's values are said."""
    if metric in ERRORS:
        return words.number
    return (lambda value: f"{words.signed(100 * value, 1)} points") if metric == "calibration" else words.percent


def points(metric: str, value: float) -> str:
    """Return a difference of a metric's values."""
    return words.number(value) if metric in ERRORS else f"{100 * value:.1f} points"


def known(it: Audited, metric: str) -> bool:
    """Whether there are rows enough to say how far the groups are apart by a metric."""
    gap = it.table[(it.table["metric"] == TOLD[metric].gap) & (it.table["group"] == "")].iloc[0]
    return len(it.of(metric).dropna(subset="low")) > 1 and words.known(gap["value"])


def sentence(it: Audited, metric: str) -> str:
    """Return a gap in words: the figures of the two extreme groups with the rows they rest on, and the interval."""
    told, target = TOLD[metric], words.escaped(state.dataset(it.run).target)
    if not known(it, metric):
        return f"There are too few rows to say anything of the {words.title(told.gap).lower()} by {words.escaped(it.group)}."
    gap = it.table[(it.table["metric"] == told.gap) & (it.table["group"] == "")].iloc[0]
    rates = it.of(metric).dropna(subset="low").sort_values("value")
    low, high, say = rates.iloc[0], rates.iloc[-1], figure(metric)
    said = told.said.format(
        high=say(high["value"]), low=say(low["value"]), a=words.escaped(high["group"]), b=words.escaped(low["group"]),
        target=target, positive=words.escaped(it.positive), name=NAMES.get(metric, metric),
    )  # fmt: skip
    clear = "" if gap["low"] > 0 else " The interval reaches zero: the gap may be chance."
    if len(rates) > 2:
        clear += f" It is the largest of the differences between {len(rates)} groups."
    if min(low["n"], high["n"]) < SMALL:
        clear += f" One of the two has fewer than {SMALL} such rows: choose other groups, or more data, before you act on it."
    return (
        f"The model {said}: a gap of **{points(metric, gap['value'])}** (95 % interval {points(metric, gap['low'])} to "
        f"{points(metric, gap['high'])}; n = {int(high['n']):,} and {int(low['n']):,}).{clear}"
    )


def worst(it: Audited, metric: str) -> str:
    """Say which group is worst off, with the interval that allows for having picked it; nothing where the gap says it already."""
    row, groups = it.worst.get(metric), int(it.of(metric)["low"].notna().sum())
    if row is None or groups < 3:
        return ""
    say = figure(metric)
    own = it.of(metric).set_index("group")["value"][row["group"]]
    name = NAMES.get(metric, words.title(metric).lower())
    named = WORST.get(metric, HIGHEST).format(n=groups, name=name, positive=words.escaped(it.positive))
    size, between = "", f"{say(row['low'])} to {say(row['high'])}"
    if metric == "calibration":
        size, between = " of its size", f"{points(metric, row['low'])} to {points(metric, row['high'])}"
    return (
        f"{named} **{words.escaped(row['group'])}**: {say(own)} (95 % interval{size} {between}, which allows for having picked the worst; "
        f"n = {int(row['n']):,})."
    )


def refused(it: Audited, metric: str) -> str:
    """Return why it cannot be asked which rows a gap comes from, "" if it can."""
    usual = it.positive == state.dataset(it.run).evaluation.favourable
    of = {} if usual or TOLD[metric].query == "group_loss_gap" else {"positive": it.positive}
    return asking.refused(it.run, TOLD[metric].query, {"group": it.group, **of})


def why(it: Audited, metric: str) -> None:
    """Draw the button that asks which rows a gap comes from: it leads to Influence, where they are scored at once."""
    told, reason = TOLD[metric], refused(it, metric)
    st.subheader("Is data behind it?", anchor=False)
    st.write("Ask which training rows this gap comes from: each row is scored by what its removal would do to it.")
    if told.gap == "accuracy_gap":
        st.caption("Whether a row is right or wrong has no slope to follow; asked is the gap in the loss, which stands for it.")
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            f"Why? Ask which rows make the {words.title(told.query).lower()}", type="primary", icon=":material/search:", key="audit.why",
            disabled=bool(reason),
        )  # fmt: skip
        name = asking.recommended(it.run)
        if reason or name:
            st.caption(words.escaped(reason) if reason else costs.told(it.run, attribution, name, {}), width="content")
    if pressed:
        st.session_state[ASK] = True
        other = it.positive != state.dataset(it.run).evaluation.favourable
        state.go("influence", query=told.query, **({"positive": it.positive} if other else {}))


def every(it: Audited) -> None:
    """List all gaps with intervals, n and what they mean."""
    shown: pd.DataFrame = it.table[it.table["group"] == ""].copy()
    shown["meaning"] = shown["metric"].map(MEANING)
    shown["metric"] = shown["metric"].map(words.title)
    shown["95 % interval"] = [words.interval(a, b) for a, b in zip(shown["low"], shown["high"], strict=True)]
    st.dataframe(
        shown[["metric", "value", "95 % interval", "n", "meaning"]],
        hide_index=True,
        column_config=whole.shape(shown)
        | {"value": st.column_config.NumberColumn(format="%.3f"), "meaning": st.column_config.TextColumn(width="large")},
        alt="All gaps between groups, with 95 % intervals and n.",
    )
    if it.positive:
        st.caption(f"Rates and gaps speak of the class “{words.escaped(it.positive)}”, and a gap is the largest between two groups.")
