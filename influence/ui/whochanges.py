"""Who else changes without the selected rows, on the page Plan: every metric of every group, and the predictions that move most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st
from scipy import stats

from influence.actions import _anew, who_changes
from influence.charts.colours import GREY, ROLES
from influence.charts.forest import forest
from influence.evaluation.fairness import BETTER
from influence.evidence import anew
from influence.repeatable import no_recipe
from influence.store import Run
from influence.types import Selection, as_places
from influence.ui import asking, costs, jobs, kept, pictures, rails, state, texts, whole, words

SHOWN = 50
"""Rows that move most which are listed."""
COLOURS = {"now": GREY, "predicted": ROLES["unlearned"]}


def found(run: Run, selection: Selection) -> dict[str, Any] | None:
    """Return what was predicted without these rows, or None."""
    return who_changes.kept(state.project(), run, selection.ids, state.group())


def ask(run: Run, selection: Selection) -> None:
    """Draw the button that predicts it, with its cost, or say why it cannot be."""
    reason = no_recipe(asking.trained(run.id, str(state.project().path)), "Predicting who else changes", "a model that was trained here")
    if reason:
        st.caption(words.escaped(reason))
        return
    missing = _anew.missing(state.project(), run.id)
    cost = f"{costs.retrainings(run, missing)}, once for this model" if missing else "A few seconds: the retrained models are kept"
    args = {"run": run.id, "group": state.group(), "ids": [i.item() if hasattr(i, "item") else i for i in selection.ids]}
    job = jobs.run_button(
        "See who else changes", "who_changes", args, "plan.who", cost=cost, primary=False, icon=":material/groups:"
    )  # fmt: skip
    if job is not None and not (job.over and job.state == "done"):
        jobs.follow(job, key="plan.who.follow")


def beside_chance(run: Run, note: Mapping[str, Any], label: str, predicted: float) -> str:
    """Say between what a metric lies by chance alone, and whether the predicted level lies outside; "" where no models tell it."""
    place = who_changes.place_of(note["queries"][label], bool(state.dataset(run).train.classes))
    table = _by_chance(run, run.id, state.group(), _anew.held(state.project(), run.id))
    own = table[(table["metric"] == place[0]) & (table["group"] == place[1])] if place else table.head(0)
    if own.empty or not words.known(own["sd"].iloc[0]):
        return ""
    n, mean = int(own["n"].iloc[0]), float(own["mean"].iloc[0])
    half = float(stats.t.ppf(0.95, n - 1)) * float(own["sd"].iloc[0]) * (1 + 1 / n) ** 0.5  # of one more such model
    now = float(note["before"][label]["measured"]) if "measured" in note["before"][label] else mean
    outside = "lies outside" if abs(predicted - mean) > half else "is no further than chance goes"
    if abs(now - mean) > half:
        outside += f", as this model does with all rows ({words.number(now)})"
    return (
        f"With all rows, {words.count(n, 'model')} from new seeds lie around {words.number(mean)}, nine in ten between "
        f"{words.number(mean - half)} and {words.number(mean + half)}: the predicted {words.number(predicted)} {outside}."
    )


@st.cache_resource(show_spinner=False, max_entries=16)
def _by_chance(_run: Run, id: str, group: str, held: int) -> pd.DataFrame:
    return who_changes.by_chance(state.project(), _run, group)


def finding(note: Mapping[str, Any], metrics: pd.DataFrame, query: Mapping[str, Any]) -> str:
    """Return in one sentence what is predicted of the metric of a query, and of accuracy; "" if the table does not hold it."""
    own = who_changes.place_of(query, "accuracy" in set(metrics["metric"]))
    names = [place for place in (own, ("accuracy", ""), ("r2", "")) if place]
    rows = [row for at in dict.fromkeys(names) for row in metrics.to_dict("records") if (row["metric"], row["group"]) == at]
    if not rows or own != (rows[0]["metric"], rows[0]["group"]):
        return ""
    told = "; ".join(f"{name(row)} {_level(row)}" for row in rows)
    return f"Predicted for a model trained anew without these {words.count(note['n'], 'row')}: {told}."


def name(row: Mapping[str, Any]) -> str:
    """Return what a line of the table is called."""
    return words.title(row["metric"]) + (f", {words.escaped(row['group'])}" if row["group"] else "")


def _level(row: Mapping[str, Any]) -> str:
    if anew.uncertain(row):
        return f"is {words.number(row['now'])} now; **{anew.UNCERTAIN}** what it becomes (90 % {words.interval(row['low'], row['high'])})"
    return f"**{words.number(row['now'])} → {words.number(row['value'])}** (90 % {words.interval(row['low'], row['high'])})"


def shown(run: Run, note: Mapping[str, Any]) -> None:
    """Draw the metrics by group with their intervals, as bars and as a table, and the rows that move most."""
    metrics = kept.table(note["metrics"])
    told = table(metrics)
    st.dataframe(
        told,
        hide_index=True,
        column_config=whole.shape(told),
        alt="Every metric of every group, now and as predicted, with 90 % intervals.",
    )
    if any(anew.uncertain(row) for row in metrics.to_dict("records")):
        st.caption(anew.NEEDS)
    grouped = metrics[metrics["group"] != ""]
    if len(grouped):
        kinds = [metric for metric in BETTER if metric in set(grouped["metric"])]
        metric = st.selectbox("Show by group", kinds, **state.shared("plan.who.metric", words.title))
        st.plotly_chart(
            forest(_pairs(grouped[grouped["metric"] == metric]), COLOURS, by="name", colour="when", axis=words.title(str(metric))),
            key="plan.who.forest", config={"displayModeBar": False},
            alt=f"{words.title(str(metric))} by group, now and as predicted with its 90 % interval; the table above holds the figures.",
        )  # fmt: skip
    st.caption(
        f"90 %: one model trained anew from another seed, on these {words.count(note['n_evaluation'], 'evaluation row')}. Rests on "
        f"{note['seeds']} trainings with new seeds and {note['without']} without other rows. "
        f"{anew.ALLOWS} By chance, SD: how far models from new seeds, with all rows, lie apart, as one standard deviation."
    )
    _moved(run, kept.table(note["moved"]), note["seeds"])


def table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the metrics as text: of all rows and gaps first, then of groups."""
    rows = [
        {"metric": words.title(row["metric"]), "group": row["group"] or "all", "n": row["n"], "now": words.number(row["now"]),
         "predicted": "" if anew.uncertain(row) else words.number(row["value"]), "90 % low": words.number(row["low"]),
         "90 % high": words.number(row["high"]), "change": anew.change(row),
         "by chance, SD": words.number(row["chance"])}
        for row in sorted(metrics.to_dict("records"), key=lambda row: row["group"] != "")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _pairs(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return two lines per group: now, and as predicted with its interval."""
    rows = metrics.assign(name=metrics["group"])
    now = rows.assign(when="now", value=rows["now"], low=rows["now"], high=rows["now"])
    return pd.concat([now, rows.assign(when="predicted")], ignore_index=True)


def _moved(run: Run, moved: pd.DataFrame, seeds: int) -> None:
    """List the evaluation rows that are predicted to move most, with their pictures, texts or columns."""
    st.markdown(f"**{_flips(moved)}**")
    first, examples = moved.head(SHOWN), state.dataset(run).evaluation
    data = examples.columns.iloc[as_places(first["id"].to_numpy(), examples.ids)].reset_index(drop=True)
    column = texts.column_of(state.dataset(run))
    data = texts.readable(data[[column]]) if column else data.iloc[:, : rails.WIDE]
    told = first.rename(
        columns={"says": "says now", "says_then": "predicted", "p": "its probability", "p_then": "then",
                 "flips": f"another class, of {seeds} seeds", "flips_by_chance": "the same with all rows"}
    )  # fmt: skip
    clash = {c: f"{c} (data)" for c in data if c in told}
    both = pd.concat([told.reset_index(drop=True), data.rename(columns=clash)], axis=1)
    pictures.table(
        both, pictures.of_run(run, first["id"].to_numpy(), "evaluation"), "The evaluation rows that are predicted to move most.",
        {label: rails.NUMBER(label, format="%.3f") for label in ("its probability", "then")},
    )  # fmt: skip


def _flips(moved: pd.DataFrame) -> str:
    if "p" not in moved:
        return "Predictions that move most"
    n = int((moved["says"] != moved["says_then"]).sum())
    more = " or more" if n == len(moved) and n else ""
    return f"Predictions that move most: {n:,}{more} of the evaluation rows change class"
