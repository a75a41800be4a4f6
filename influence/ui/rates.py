"""One figure of every group: as a forest, along a column, and as a table."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from influence.actions import _measures
from influence.charts.colours import GROUPS, of_groups
from influence.charts.forest import forest
from influence.charts.lines import lines
from influence.charts.reliability import reliability as reliability_chart
from influence.data.periods import periods_of
from influence.evaluation import over, reliability
from influence.groups import Groups, columns_of
from influence.store import Run
from influence.ui import auditing, gaps, kept, state, whole, words
from influence.ui.auditing import Audited

GREYED = 8
"""So many groups with too few rows stand in the forest, by name and without a mark; more are only counted."""
DRAWN = 6
"""So many groups, the largest, are drawn as lines."""
MEANT = {"calibration": " (mean probability minus share that is observed)"}
PLAIN = {"displayModeBar": False}
NAMED = {name: st.column_config.NumberColumn(label, format="%.3f") for name, label in {"low": "95 % low", "high": "95 % high"}.items()} | {
    "value": st.column_config.NumberColumn(format="%.3f")
}
"""How the ends of intervals are called in tables."""
METRIC, FIRST = "audit.metric", "audit.first"
"""In `st.session_state`: the figure that is shown, and the one that stood there at first."""


def choose(it: Audited) -> str:
    """Draw the choice of the figure that is told and drawn, at first one of which the groups have rows enough; return it."""
    usual = [metric for metric in (it.metrics[0], "accuracy", *it.metrics) if metric in it.metrics]
    first = next((metric for metric in usual if gaps.known(it, metric)), usual[0])
    if st.session_state.get(METRIC) == st.session_state.get(FIRST) != first and METRIC not in st.query_params:
        st.session_state.pop(METRIC, None)  # nobody chose what was first of other groups
    st.session_state[FIRST] = first
    metric = st.segmented_control(
        "Show", it.metrics, default=first, required=True, label_visibility="collapsed", **state.shared(METRIC, words.title)
    )
    return str(metric) if metric in it.metrics else first


def within(metric: str) -> tuple[float, float] | None:
    """Return the ends of what a metric can be; None where it has none."""
    return None if metric in gaps.ERRORS else (-1.0, 1.0) if metric == "calibration" else (0.0, 1.0)


def drawn(it: Audited, metric: str) -> None:
    """Draw one figure per group with its interval, beside that of all rows."""
    rows, title = it.of(metric), words.title(metric)
    few = rows[rows["low"].isna()]
    if len(columns_of(state.dataset(it.run).evaluation, it.group)) > 1:
        rows = rows.sort_values("value", kind="stable")  # of one column the order of its values says more
    shown = pd.concat([rows.dropna(subset="low"), few.head(GREYED)])
    st.plotly_chart(
        forest(
            shown,
            colours(it),
            axis=f"{title}{MEANT.get(metric, '')}, with 95 % intervals; dotted: all rows",
            line=it.overall[metric],
            within=within(metric),
        ),
        key="audit.forest",
        config=PLAIN,
        alt=f"{title} of each group with 95 % intervals; the table below holds the same figures.",
    )
    if len(few):
        more = f" {words.count(len(few) - GREYED, 'such group')} more not shown." if len(few) > GREYED else ""
        st.caption(
            f"Not drawn: {words.count(len(few), 'group')} with fewer than ten rows of the kind that is counted, too few to say.{more}"
        )


def colours(it: Audited) -> dict[str, str]:
    """Return a colour per group, the same on every page; one for all where there are more groups than colours."""
    names = list(dict.fromkeys(it.table["group"][it.table["group"] != ""]))
    return of_groups(names) if len(names) <= len(GROUPS) else dict.fromkeys(names, GROUPS[0])


def table(it: Audited) -> None:
    """List all figures of all groups."""
    shown = it.table[it.table["group"] != ""].drop(columns="better")
    st.dataframe(
        shown.assign(metric=shown["metric"].map(words.title)),
        hide_index=True,
        column_config=NAMED | whole.shape(shown),
        alt="All figures of all groups with 95 % intervals and n.",
    )


def along(it: Audited, metric: str) -> None:
    """Let a column be chosen and draw the figure along it: by period of a date, by bin of a number, by value."""
    data, own = state.dataset(it.run), columns_of(state.dataset(it.run).evaluation, it.group)
    offered = [name for name in auditing.columns(it.run.dataset, it.run, along=True) if name not in own]
    if not offered:
        st.caption("There is no other column that these data could be followed along.")
        return
    first = auditing.dated(it.run.dataset, tuple(offered), it.run)
    column = st.selectbox("Along", offered, index=offered.index(first) if first else 0, **state.shared("audit.along"))
    parts, found = _along(it.run.body["predictions"], it.run.dataset, it.group, it.positive, column, it.run)
    shown = data_of(found, metric, it)
    here = shown.dropna(subset="low")
    if not len(here):
        st.caption(f"In no part of {words.escaped(column)} a group has the ten rows that an interval needs.")
        return
    st.plotly_chart(
        lines(
            here,
            _apart(shown),
            parts.names,
            x=column,
            y=words.title(metric),
            joined=auditing.ordered(data.evaluation.columns[column]),
            within=within(metric),
        ),
        key="audit.along.chart",
        config=PLAIN,
        alt=f"{words.title(metric)} of each group by {column}, with 95 % intervals; the table below holds the figures.",
    )
    st.caption(_drawn_of(found, shown, here, len(data.evaluation)))
    with st.expander("Read these as a table"):
        st.dataframe(
            shown.drop(columns=["metric", "better"]),
            hide_index=True,
            column_config=NAMED | whole.shape(shown),
            alt="The figure by group and part, with intervals and n.",
        )


def _drawn_of(found: pd.DataFrame, shown: pd.DataFrame, here: pd.DataFrame, rows: int) -> str:
    """Say what a picture along a column rests on, and what it leaves out."""
    missing = len(shown) - len(here)
    said = f"{rows:,} evaluation rows; each point with its own 95 % interval and n. "
    said += f"{words.count(missing, 'point')} not drawn: fewer than ten rows. " if missing else ""
    left_out = found["group"].nunique() - shown["group"].nunique()
    return said + (f"Drawn are the {DRAWN} largest groups of {found['group'].nunique():,}." if left_out else "")


def data_of(found: pd.DataFrame, metric: str, it: Audited) -> pd.DataFrame:
    """Return one metric's cells of the largest groups."""
    sizes = kept.groups(it.run.dataset, "evaluation", it.group, it.run)
    largest = sorted(zip(sizes.counts(), sizes.names, strict=True), key=lambda part: -part[0])[:DRAWN]
    return found[(found["metric"] == metric) & found["group"].isin([name for _, name in largest])]


def _apart(table: pd.DataFrame) -> dict[str, str]:
    """Return colours by which the few groups that are drawn are told apart."""
    return of_groups(table["group"].tolist())


@st.cache_resource(show_spinner=False, max_entries=32)
def _along(predictions: str, dataset: str, group: str, positive: str, column: str, _run: Run) -> tuple[Groups, pd.DataFrame]:
    data = state.dataset(_run)
    parts, groups = periods_of(data.evaluation, column), kept.groups(dataset, "evaluation", group, _run)
    return parts, _measures.in_units(over.over(auditing.logits(_run), data.evaluation, groups, parts, positive), data)


def calibration(it: Audited) -> None:
    """Draw what was predicted beside what was observed, per group in bins of its own."""
    table = _reliable(it.run.body["predictions"], it.run.dataset, it.group, it.positive, it.run)
    sizes = table.groupby("group")["n"].sum().sort_values(ascending=False)
    shown = table[table["group"].isin(sizes.index[:DRAWN])]
    numeric = not it.positive
    target = state.dataset(it.run).target
    x = f"Mean predicted {target}" if numeric else f"Mean probability of “{it.positive}” that the model says"
    y = f"Mean observed {target}" if numeric else f"Share that truly is “{it.positive}”"
    st.plotly_chart(
        reliability_chart(shown, _apart(shown), x=x, y=y, within=None if numeric else (0.0, 1.0)), key="audit.reliability", config=PLAIN,
        alt="What was observed against what was predicted, by group, with 95 % intervals; the table below holds the figures.",
    )  # fmt: skip
    few = int(shown["low"].isna().sum())
    st.caption(
        "On the dotted line predictions are as they should be; below it they are too high. Each group's rows stand in up to "
        f"{reliability.BINS} bins of like size by prediction, each with its 95 % interval and n."
        + (f" {words.count(few, 'bin')} not drawn: fewer than ten rows." if few else "")
        + (f" Drawn are the {DRAWN} largest groups of {len(sizes):,}." if len(sizes) > DRAWN else "")
    )
    with st.expander("Read these as a table"):
        st.dataframe(
            shown.drop(columns="bin"),
            hide_index=True,
            column_config=NAMED | whole.shape(shown),
            alt="Predicted and observed by group and bin, with intervals and n.",
        )


@st.cache_resource(show_spinner=False, max_entries=32)
def _reliable(predictions: str, dataset: str, group: str, positive: str, _run: Run) -> pd.DataFrame:
    data = state.dataset(_run)
    groups = kept.groups(dataset, "evaluation", group, _run)
    table = reliability.reliability(auditing.logits(_run), data.evaluation, groups, positive)
    target = data.encoding.get("target", {})
    if data.evaluation.classes or target.get("kind") != "number":
        return table
    numbers = ["predicted", "value", "low", "high"]
    return table.assign(**{name: table[name] * target["sd"] + target["mean"] for name in numbers})
