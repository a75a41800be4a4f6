"""The parts of the Audit page: sizes, utility, gaps in words, groups as a forest, and a threshold to move."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.charts.colours import of_groups
from influence.charts.forest import forest
from influence.data.dataset import ROLES
from influence.registry import evaluation
from influence.store import Run
from influence.types import Examples
from influence.ui import kept, state, words

MEANING = {
    "equal_opportunity_gap": "Of the rows that truly are positive, how many more does it find in one group?",
    "demographic_parity_gap": "How much more often does one group get the positive prediction?",
    "equalized_odds_gap": "The larger of the gaps in true and in false positive rate.",
    "accuracy_gap": "How much more often is the model right about one group?",
    "calibration_gap": "How differently does it misjudge the chance per group?",
    "group_loss_gap": "How much worse are its predictions for one group?",
    "worst_group_loss": "The mean loss of the group that it serves worst.",
}
NAMED = {"mae": "absolute error"}
GAP_OF = {"selection_rate": "demographic_parity_gap", "true_positive_rate": "equal_opportunity_gap", "false_positive_rate": ""}
VALUES = 20
"""Columns with more groups than these are not told one by one."""
SMALL = 30
"""A rate of fewer rows than this has an interval, but a wide one: the sentence says so."""

RATE_OF = {"equal_opportunity_gap": "true_positive_rate", "demographic_parity_gap": "selection_rate", "accuracy_gap": "accuracy"}


def question(run: Run) -> str:
    """Return the query that asks for the gap first looked at."""
    return "equal_opportunity_gap" if state.dataset(run).evaluation.classes else "group_loss_gap"


def sizes(run: Run, group: str) -> None:
    """Show how many rows there are by role, class and group: whatever follows rests on them."""
    dataset = state.dataset(run)
    with st.expander(f"Rows: {len(dataset.train):,} training, {len(dataset.evaluation):,} evaluation, {len(dataset.holdout):,} holdout"):
        st.caption(
            "Questions are asked of the evaluation rows; what a removal achieved is measured on the holdout rows, which no question sees."
        )
        removed = len(run.body.get("removed", ()))
        if removed:
            st.caption(f"This model was made without {words.count(removed, 'row')} of the training rows counted here.")
        left, right = st.columns(2)
        left.dataframe(_counts(run, dataset.target), hide_index=True, alt="Rows by role and target.")
        if group:
            right.dataframe(_counts(run, group), hide_index=True, alt="Rows by role and group.")


def _counts(run: Run, column: str) -> pd.DataFrame:
    parts: dict[str, pd.Series] = {}
    for role in ROLES:
        found = kept.groups(run.dataset, role, column, run)
        parts[role] = pd.Series(found.counts(), index=list(found.names))
    table = pd.DataFrame(parts).fillna(0).astype(int)
    table = table[(table > 0).any(axis=1)]
    if len(table) > VALUES:
        table = pd.DataFrame(table.sum()).T.set_axis([f"{len(table):,} values"])
    table.insert(0, f"{column} is", table.index)
    return table


def utility(run: Run) -> None:
    """Show the overall figures with intervals and n."""
    table = kept.table(run.body["utility"])
    for column, row in zip(st.columns(max(3, len(table))), table.to_dict("records"), strict=False):
        column.metric(words.title(row["metric"]), words.number(row["value"]), border=True)
        column.caption(f"95 % {words.interval(row['low'], row['high'])}, n = {row['n']:,}")


def _table(run: Run, group: str) -> pd.DataFrame:
    digest = run.body["audit"].get(group)
    if digest is None:
        st.info(f"Groups by {words.escaped(group)} cannot be compared: fewer than two have ten evaluation rows.", icon=":material/info:")
        st.stop()
    return kept.table(digest)


def gaps(run: Run, group: str) -> str:
    """Say the main gap in one sentence, list the others; return the main gap's name."""
    table = _table(run, group)
    found = table[table["group"] == ""].set_index("metric")
    main = question(run)
    st.markdown(sentence(table, main, group, state.dataset(run).target, state.dataset(run).evaluation.favourable))
    shown = found.reset_index()
    shown["meaning"] = shown["metric"].map(MEANING)
    shown["metric"] = shown["metric"].map(words.title)
    shown["95 % interval"] = [words.interval(a, b) for a, b in zip(shown["low"], shown["high"], strict=True)]
    st.dataframe(
        shown[["metric", "value", "95 % interval", "n", "meaning"]],
        hide_index=True,
        column_config={"value": st.column_config.NumberColumn(format="%.3f"), "meaning": st.column_config.TextColumn(width="large")},
    )
    if kept.favourable(run):
        st.caption(f"{kept.favourable(run).strip()} It is chosen with the data; a question on Influence can name another class.")
    return words.title(main).lower()


def sentence(table: pd.DataFrame, main: str, group: str, target: str, favourable: str) -> str:
    """Return the main gap in words: the rates of the two extreme groups with the rows they rest on, and the interval.

    `favourable`: the class of which rates speak, "" for a numeric target.
    """
    gap = table[(table["metric"] == main) & (table["group"] == "")].iloc[0]
    metric = RATE_OF.get(main, "loss" if (table["metric"] == "loss").any() else "mae")
    rates = table[(table["metric"] == metric) & (table["group"] != "") & table["low"].notna()].sort_values("value")
    if len(rates) < 2 or not words.known(gap["value"]):
        return f"There are too few rows to say anything of the {words.title(main).lower()} by {words.escaped(group)}."
    low, high = rates.iloc[0], rates.iloc[-1]
    as_text = words.percent if metric != "loss" and metric != "mae" else words.number
    truly = f"of the rows whose {words.escaped(target)} truly is “{words.escaped(favourable)}” " if favourable else ""
    name = {"true_positive_rate": "finds {high} " + truly + "in group **{a}** but only {low} in group **{b}**"}.get(
        metric, "has a mean " + NAMED.get(metric, metric.replace("_", " ")) + " of {high} in group **{a}** and of {low} in group **{b}**"
    )
    said = name.format(
        high=as_text(high["value"]), low=as_text(low["value"]), a=words.escaped(high["group"]), b=words.escaped(low["group"])
    )
    clear = "" if gap["low"] > 0 else " The interval reaches zero: the gap may be chance."
    if len(rates) > 2:
        clear += f" It is the largest of the differences between {len(rates)} groups."
    if min(low["n"], high["n"]) < SMALL:
        clear += f" One of the two has fewer than {SMALL} such rows: choose other groups, or more data, before you act on it."
    return (
        f"The model {said}: a gap of **{_points(gap['value'], as_text)}** (95 % interval {_points(gap['low'], as_text)} to "
        f"{_points(gap['high'], as_text)}; n = {int(high['n']):,} and {int(low['n']):,}).{clear}"
    )


def _points(value: float, as_text: Any) -> str:
    return f"{100 * value:.1f} points" if as_text is words.percent else words.number(value)


def groups(run: Run, group: str) -> None:
    """Draw one rate per group with its interval."""
    table = _table(run, group)
    per_group = table[table["group"] != ""]
    metrics = list(dict.fromkeys(per_group["metric"]))
    first = RATE_OF.get(question(run), metrics[0])
    metric = st.segmented_control(
        "Show",
        metrics,
        default=first if first in metrics else metrics[0],
        format_func=words.title,
        key="audit.metric",
        label_visibility="collapsed",
    )
    rows = per_group[per_group["metric"] == (metric or metrics[0])]
    title = words.title(metric or metrics[0])
    st.plotly_chart(
        forest(rows, of_groups(per_group["group"].tolist()), axis=f"{title}, with 95 % intervals"),
        key="audit.forest",
        config={"displayModeBar": False},
        alt=f"{title} of each group with 95 % intervals; the table below holds the same figures.",
    )
    few = rows[rows["low"].isna()]["group"].tolist()
    if few:
        st.caption(f"Not drawn: too few rows to say ({', '.join(map(words.escaped, few))}).")
    with st.expander("Read as a table"):
        st.dataframe(per_group.drop(columns="better"), hide_index=True, alt="All rates of all groups with 95 % intervals and n.")


def threshold(run: Run, group: str) -> None:
    """Let the decision threshold be moved and show the rates that follow, for two classes."""
    examples = state.dataset(run).evaluation
    if len(examples.classes) != 2:
        return
    with st.expander("What if the threshold were another?", icon=":material/tune:"):
        table = kept.table(run.body["predictions"])
        favourable = examples.favourable
        p = table[f"p_{favourable}"][(table["split"] == "evaluation").to_numpy()].to_numpy()
        cut = st.slider(f"Predict “{favourable}” from this probability on", 0.0, 1.0, 0.5, 0.01, key="audit.threshold")
        st.dataframe(rates_at(p, examples, group, cut), hide_index=True, alt="Rates of each group at this threshold.")
        st.caption(f"Of the {len(p):,} evaluation rows, each with n and its 95 % interval; the model itself is not changed.")


def rates_at(p: np.ndarray, examples: Examples, group: str, cut: float) -> pd.DataFrame:
    """Return the rates of every group and their largest gaps, as text, where the favourable class is predicted from a probability on.

    `p`: (M,) probability of that class. Measured as everywhere else: the outputs are those whose largest is what the threshold says.
    """
    outputs = [p < cut, p >= cut] if examples.favourable == examples.classes[-1] else [p >= cut, p < cut]
    table = evaluation.make("fairness", {"group": group})(np.column_stack(outputs).astype(float), examples)
    said = {
        (r.group, r.metric): f"{words.percent(r.value)} ({_between(r.low, r.high)}), n = {int(r.n):,}" for r in table.itertuples()
    }  # fmt: skip
    names = list(dict.fromkeys(table["group"][table["metric"] == "selection_rate"]))
    rows = [{group: name, **{words.title(m): said[name, m] for m in GAP_OF}} for name in names]
    gaps = {words.title(m): said.get(("", gap), "") for m, gap in GAP_OF.items()}
    return pd.DataFrame([*rows, {group: "largest gap", **gaps}])


def _between(low: float, high: float) -> str:
    return f"{words.percent(low)} to {words.percent(high)}" if words.known(low) and words.known(high) else words.TOO_FEW
