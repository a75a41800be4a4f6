"""What the Audit page looks at: by which columns, of which class, on how many rows; and the figures of all rows together."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.actions import _measures
from influence.actions._kept_outputs import kept_outputs
from influence.data.dataset import ROLES
from influence.data.periods import is_dated
from influence.errors import BadInput
from influence.evaluation.fairness import BETTER, by_group, worst_group
from influence.groups import MOST, Groups, columns_of, group_name
from influence.store import Run
from influence.types import Examples
from influence.ui import kept, state, whole, words

VALUES = 20
"""Columns with more groups than these are not told one by one, and form groups only if they were named with the data."""
FIRST = {True: "true_positive_rate", False: "mae"}
"""What is shown first, of classes and of numbers."""


@dataclass(frozen=True)
class Audited:
    """What was found of a run's groups: `table` as `fairness` makes it, the `worst` group and the figure of all rows by metric.

    `positive`: the class of which rates speak, "" for a numeric target.
    """

    run: Run
    group: str
    positive: str
    table: pd.DataFrame
    worst: dict[str, dict[str, Any]]
    overall: dict[str, float]

    @property
    def metrics(self) -> list[str]:
        """Return what is known of each group, what is shown first in front."""
        found = [name for name in BETTER if name in set(self.table["metric"])]
        return sorted(found, key=lambda name: name not in FIRST.values())

    def of(self, metric: str) -> pd.DataFrame:
        """Return one metric's rows per group, missing values last."""
        return self.table[(self.table["metric"] == metric) & (self.table["group"] != "")]


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
        for place, column, kind in ((left, dataset.target, "target"), (right, group, "group")):
            if column:
                table = _counts(run, column)
                place.dataframe(table, hide_index=True, column_config=whole.shape(table), alt=f"Rows by role and {kind}.")


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
    """Show the overall figures with intervals and n, those of the rows held out beside them."""
    table, held = kept.table(run.body["utility"]), run.body["metrics"].get("intervals", {})
    for column, row in zip(st.columns(max(3, len(table))), table.to_dict("records"), strict=False):
        column.metric(words.title(row["metric"]), words.number(row["value"]), border=True)
        column.caption(
            f"95 % {words.interval(row['low'], row['high'])}, n = {row['n']:,} evaluation rows  \n"
            f"Holdout: {words.figure(held.get(row['metric']))}"
        )


@st.cache_resource(show_spinner=False, max_entries=32)
def columns(dataset: str, _run: Run, along: bool = False) -> tuple[str, ...]:
    """Return the columns that can form groups of these data, those that were named for it first.

    `along`: those that a figure can be followed along, also dates, and none that has one value alone.
    """
    data = state.dataset(_run)
    table, named = data.evaluation.columns, _measures.group_columns(data)
    first = [name for name in named if name in table and (not along or table[name].nunique(dropna=False) > 1)]
    return (*first, *(name for name in table if name not in (*named, data.target) and _divides(table[name], along)))


def ordered(values: pd.Series) -> bool:
    """Whether a line may go from one part of a column to the next: numbers and dates, not names."""
    return (pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)) or is_dated(values)


def _divides(values: pd.Series, dates: bool) -> bool:
    several = values.nunique(dropna=False)
    if several < 2:
        return False
    return several <= VALUES or pd.api.types.is_numeric_dtype(values) or (dates and is_dated(values))


@st.cache_resource(show_spinner=False, max_entries=32)
def dated(dataset: str, names: tuple[str, ...], _run: Run) -> str:
    """Return the first of these columns that holds dates, or is called a year; "" if none does."""
    table = state.dataset(_run).evaluation.columns
    return next((name for name in names if is_dated(table[name]) or str(name).lower() == "year"), "")


def choose(run: Run, group: str) -> str:
    """Draw the choices of the columns that form groups and of the class of which rates speak; return the class, "" for a numeric target."""
    rows = state.dataset(run).evaluation
    left, right = st.columns([2, 1])
    now = list(columns_of(rows, group)) if group else []
    st.session_state["audit.columns"] = now
    left.multiselect(
        "Compare groups by", list(dict.fromkeys((*columns(run.dataset, run), *now))), max_selections=MOST, key="audit.columns",
        on_change=_grouped, args=(rows,), placeholder="Choose a column",
        help=f"One column of the data, or up to {MOST} at once. Numbers are cut into bins of like size.",
    )  # fmt: skip
    wanted = st.query_params.get("positive", "")
    positive = wanted if wanted in rows.classes else rows.favourable
    if rows.classes:
        st.session_state["audit.positive"] = positive
        right.selectbox(
            "Rates speak of the class", rows.classes, key="audit.positive", on_change=_spoken_of, args=(rows,),
            help=f"Chosen with the data: {rows.favourable}. Another one is looked at here alone; nothing changes.",
        )  # fmt: skip
    return positive


def _grouped(rows: Examples) -> None:
    chosen = st.session_state["audit.columns"]
    state.show(group=group_name(rows, chosen) if chosen else "")


def _spoken_of(rows: Examples) -> None:
    chosen = st.session_state["audit.positive"]
    state.show(positive="" if chosen == rows.favourable else chosen)


def audited(run: Run, group: str, positive: str) -> Audited:
    """Return what is found of the groups; where they cannot be compared, say so and end the page."""
    try:
        return _audited(run.body["predictions"], run.dataset, group, positive, run)
    except BadInput as error:
        st.info(f"Groups by {words.escaped(group)} cannot be compared. {words.escaped(error)}", icon=":material/info:")
        st.stop()


def logits(run: Run) -> np.ndarray:
    """Return outputs for the evaluation rows that make the run's kept predictions, (M, C)."""
    return _logits(run.body["predictions"], run)


@st.cache_resource(show_spinner=False, max_entries=4)
def _logits(predictions: str, _run: Run) -> np.ndarray:
    return kept_outputs(kept.table(predictions), state.dataset(_run), "evaluation")


@st.cache_resource(show_spinner=False, max_entries=64)
def _audited(predictions: str, dataset: str, group: str, positive: str, _run: Run) -> Audited:
    data, outputs, found = state.dataset(_run), logits(_run), kept.groups(dataset, "evaluation", group, _run)
    families = by_group(outputs, data.evaluation, found, positive)
    table = _kept(_run, group, positive, families)
    if table is None:
        table = _measures.audited(outputs, data, "evaluation", group, positive)
    worst = [worst_group(metric, found, family) for metric, family in families.items()]
    picked = _measures.in_units(pd.DataFrame([row for row in worst if row]), data).to_dict("records") if any(worst) else []
    everybody = by_group(outputs, data.evaluation, Groups(("",), np.zeros(len(data.evaluation), dtype=np.int64)), positive)
    overall = pd.DataFrame({"metric": list(everybody), "value": [float(f.values[0]) for f in everybody.values()]})
    overall = _measures.in_units(overall.assign(low=0.0, high=0.0), data).set_index("metric")["value"]
    return Audited(_run, group, positive, table, {str(row["metric"]): row for row in picked}, overall.to_dict())


def _kept(run: Run, group: str, positive: str, metrics: Collection[str]) -> pd.DataFrame | None:
    """Return the table that was made with the run, if it says of the same class all that is measured today."""
    digest = run.body["audit"].get(group)
    table = kept.table(digest) if digest and positive == state.dataset(run).evaluation.favourable else None
    return table if table is not None and set(metrics) <= set(table["metric"]) else None
