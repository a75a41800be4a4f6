"""The parts of the Audit page: sizes, utility, gaps in words, groups as a forest, and a threshold to move."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.charts.colours import of_groups
from influence.charts.forest import forest
from influence.store import Run
from influence.ui import kept, state, words

MEANING = {
    "equal_opportunity_gap": "How many more of the truly favourable cases does it find in one group?",
    "demographic_parity_gap": "How much more often does one group get the favourable prediction?",
    "equalized_odds_gap": "The larger of the gaps in true and in false positive rate.",
    "accuracy_gap": "How much more often is the model right about one group?",
    "calibration_gap": "How differently does it misjudge the chance per group?",
    "group_loss_gap": "How much worse are its predictions for one group?",
    "worst_group_loss": "The mean loss of the group that it serves worst.",
}
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
        left, right = st.columns(2)
        left.dataframe(_counts(dataset, dataset.target, "class"), hide_index=True)
        if group:
            right.dataframe(_counts(dataset, group, group), hide_index=True)


def _counts(dataset: Any, column: str, name: str) -> pd.DataFrame:
    parts = {}
    for role in ("train", "evaluation", "holdout"):
        examples = dataset.split(role)
        if column not in examples.columns or examples.columns[column].nunique() > 20:
            return pd.DataFrame({name: ["many values"], **{r: [len(dataset.split(r))] for r in ("train", "evaluation", "holdout")}})
        values = examples.columns[column]
        parts[role] = values.astype(object).where(values.notna(), "missing").astype(str).value_counts()
    return pd.DataFrame(parts).fillna(0).astype(int).rename_axis(name).reset_index()


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
    st.markdown(sentence(table, main, group))
    shown = found.reset_index()
    shown["meaning"] = shown["metric"].map(MEANING)
    shown["metric"] = shown["metric"].map(words.title)
    shown["95 % interval"] = [words.interval(a, b) for a, b in zip(shown["low"], shown["high"], strict=True)]
    st.dataframe(
        shown[["metric", "value", "95 % interval", "n", "meaning"]],
        hide_index=True,
        column_config={"value": st.column_config.NumberColumn(format="%.3f"), "meaning": st.column_config.TextColumn(width="large")},
    )
    return words.title(main).lower()


def sentence(table: pd.DataFrame, main: str, group: str) -> str:
    """Return the main gap in words, with the rates of the two extreme groups, the interval and n."""
    gap = table[(table["metric"] == main) & (table["group"] == "")].iloc[0]
    metric = RATE_OF.get(main, "loss" if (table["metric"] == "loss").any() else "mae")
    rates = table[(table["metric"] == metric) & (table["group"] != "") & table["low"].notna()].sort_values("value")
    if len(rates) < 2 or not words.known(gap["value"]):
        return f"There are too few rows to say anything of the {words.title(main).lower()} by {words.escaped(group)}."
    low, high = rates.iloc[0], rates.iloc[-1]
    as_text = words.percent if metric != "loss" and metric != "mae" else words.number
    name = {"true_positive_rate": "finds {high} of the truly favourable cases in group **{a}** but only {low} in group **{b}**"}.get(
        metric, "has a mean " + metric.replace("_", " ") + " of {high} in group **{a}** and of {low} in group **{b}**"
    )
    said = name.format(
        high=as_text(high["value"]), low=as_text(low["value"]), a=words.escaped(high["group"]), b=words.escaped(low["group"])
    )
    clear = "" if gap["low"] > 0.01 else " The interval reaches close to zero: the gap may be chance."
    return (
        f"The model {said}: a gap of **{_points(gap['value'], as_text)}** (95 % interval {_points(gap['low'], as_text)} to "
        f"{_points(gap['high'], as_text)}, n = {int(gap['n']):,}).{clear}"
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
    )
    few = rows[rows["low"].isna()]["group"].tolist()
    if few:
        st.caption(f"Grey: too few rows to say ({', '.join(map(words.escaped, few))}).")
    with st.expander("Read as a table"):
        st.dataframe(per_group.drop(columns="better"), hide_index=True)


def threshold(run: Run, group: str) -> None:
    """Let the decision threshold be moved and show the rates that follow, for two classes."""
    classes = state.dataset(run).evaluation.classes
    if len(classes) != 2:
        return
    with st.expander("What if the threshold were another?", icon=":material/tune:"):
        table = kept.table(run.body["predictions"])
        table = table[table["split"] == "evaluation"]
        favourable = classes[-1]
        cut = st.slider(f"Predict “{favourable}” from this probability on", 0.0, 1.0, 0.5, 0.01, key="audit.threshold")
        st.dataframe(rates_at(table, favourable, group, cut), hide_index=True)
        st.caption("Counted on the evaluation rows; the model itself is not changed. Intervals: see the figure above, at 0.5.")


def rates_at(table: pd.DataFrame, favourable: str, group: str, cut: float) -> pd.DataFrame:
    """Return n, confusion counts, selection, true and false positive rate of every group at a threshold."""
    said, real = (table[f"p_{favourable}"] >= cut).to_numpy(), (table["target"] == favourable).to_numpy()
    names = table[group].astype(object).where(table[group].notna(), "missing").astype(str).to_numpy()
    if len(np.unique(names)) > 20:
        names = pd.qcut(table[group], 4, duplicates="drop").astype(str).to_numpy()
    rows = []
    for name in np.unique(names):
        here = names == name
        tp, fp, fn, tn = (int((here & a & b).sum()) for a, b in ((said, real), (said, ~real), (~said, real), (~said, ~real)))
        rates = {
            "selected": _share(tp + fp, here.sum()),
            "true positive rate": _share(tp, tp + fn),
            "false positive rate": _share(fp, fp + tn),
        }
        rows.append({group: name, "n": int(here.sum()), "right yes": tp, "wrong yes": fp, "wrong no": fn, "right no": tn, **rates})
    return pd.DataFrame(rows)


def _share(part: float, whole: float) -> str:
    return words.percent(part / whole) if whole >= 10 else words.TOO_FEW
