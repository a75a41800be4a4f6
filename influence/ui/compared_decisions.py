"""Compare's part on decisions: which predictions differ from the original's, from what to what, and of which rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import streamlit as st

from influence.charts.bubbles import bubbles
from influence.charts.colours import ROLES
from influence.charts.flows import flows
from influence.data.dataset import Role
from influence.evaluation._tables import wilson
from influence.store import Run
from influence.ui import compared_numbers, comparing, kept, pictures, state, whole, words

Draw: TypeAlias = Callable[[pd.DataFrame, str, Sequence[str]], None]
ROWS = 1000
"""Rows without pictures that are listed."""
CLASSES, FLOWS = 6, 8
"""With more classes only what changed is drawn, and of that the largest flows alone; the others are drawn as one."""
PARTS = ("holdout", "forgotten", "retained")
EVERYBODY = "all groups"
WELL = {
    "holdout": "If forgetting went well, the unlearned model decides as the retrained one does.",
    "forgotten": "If forgetting went well, the unlearned model decides on these rows as the retrained one, which never saw them.",
    "retained": "If forgetting went well, few of these change, and the same as under the retrained model.",
}


def decisions(run: Run, found: dict[str, Any]) -> None:
    """Show how decisions flow from the original to each other model, and the rows of one flow."""
    classes = state.dataset(run).train.classes
    rows, draw = _chosen(run, found, len(classes))
    if rows.empty:
        st.caption("There are no such rows.")
        return
    if not classes:
        compared_numbers.numbers(run, rows, found)
        return
    others = comparing.roles(found, first=False)
    for column, role in zip(st.columns(len(others)), others, strict=True):
        with column:
            _change(rows, role)
            draw(rows, role, classes)
    st.caption(f"n = {words.count(len(rows), 'row')}. Coloured: the decision changed.{_well(run, found, rows['part'].iloc[0])}")
    with st.expander("Read as a table", icon=":material/table_rows:"):
        changed = table(rows, others)
        st.dataframe(
            changed,
            hide_index=True,
            column_config=whole.shape(changed),
            alt="How many rows each decision of the original became under each model.",
        )
    _listed(run, rows, others)


def _well(run: Run, found: dict[str, Any], part: str) -> str:
    """Say what one should see of a part's rows if forgetting went well."""
    if part == "forgotten" and comparing.relabelled(run):
        return f" These rows were relabelled, and are judged by their new labels.{comparing.well(found, WELL['holdout'])}"
    return comparing.well(found, WELL[part])


def _chosen(run: Run, found: dict[str, Any], classes: int) -> tuple[pd.DataFrame, Draw]:
    """Draw the choice of rows, group and, of many classes, figure; return the rows and what draws them."""
    table = kept.table(found["tables"]["rows"])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        part = st.segmented_control(
            "Rows", PARTS, default="holdout", required=True, **state.shared("compare.rows", lambda p: comparing.part_name(run, p).title())
        )
        names = [EVERYBODY, *sorted(set(table["group"]) - {""})]
        group = EVERYBODY
        if len(names) > 1:
            group = st.selectbox(
                f"Groups by {words.escaped(found['group'])}", names, key="compare.flow_group", persist_state="session", width=240
            )
        figure = FLOWING
        if classes > 2:
            figure = st.segmented_control("Figure", list(FIGURES), default=FLOWING, required=True, **state.shared("compare.figure"))
    return table[(table["part"] == part) & ((group == EVERYBODY) | (table["group"] == group))], FIGURES[figure]


def _change(rows: pd.DataFrame, role: str) -> None:
    """Say how many decisions a model changes, and how they came out."""
    changed = rows[rows["said_original"] != rows[f"said_{role}"]]
    right, wrong = (int((changed[f"said_{of}"] == changed["target"]).sum()) for of in (role, "original"))
    share, between = len(changed) / len(rows), words.interval(*wilson(len(changed), len(rows)))
    st.markdown(
        f"**{comparing.NAMES[role]}**: {words.count(len(changed), 'prediction')} of {len(rows):,} differ from the original's "
        f"({words.number(share)}; 95 %: {between}); {right:,} became right, {wrong:,} became wrong."
    )


def _flow(rows: pd.DataFrame, role: str, classes: Sequence[str]) -> None:
    """Draw the largest flows; of many classes only those that change."""
    name, many = comparing.NAMES[role], len(classes) > CLASSES
    every = _counts(rows[rows["said_original"] != rows[f"said_{role}"]] if many else rows, role)
    if every.empty:
        return
    shown, rest = largest(every) if many else (every, "")
    st.plotly_chart(
        flows(shown, "Original", name, ROLES[role], rest), key=f"compare.flow.{role}", config={"displayModeBar": False},
        alt=f"How many rows each decision of the original became under {name}; the table below holds the rows",
    )  # fmt: skip


def largest(every: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the largest flows and, where two or more are left, these as one flow, with what that is called (else "")."""
    others = every.iloc[FLOWS:]
    if len(others) < 2:
        return every, ""
    rest = f"{len(others):,} others"
    last = pd.DataFrame([{"before": rest, "after": rest, "rows": int(others["rows"].sum())}])
    return pd.concat([every.iloc[:FLOWS], last], ignore_index=True), rest


def table(rows: pd.DataFrame, roles: list[str]) -> pd.DataFrame:
    """Return a line per decision that changed: from what to what, and how many rows did so under each model; the most common first."""
    parts = [_counts(rows[rows["said_original"] != rows[f"said_{role}"]], role).assign(role=comparing.NAMES[role]) for role in roles]
    long = pd.concat(parts, ignore_index=True)
    wide = long.pivot_table(index=["before", "after"], columns="role", values="rows", aggfunc="sum", fill_value=0)
    wide = wide.reindex(columns=[comparing.NAMES[role] for role in roles], fill_value=0).astype(int)
    wide = wide.loc[wide.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    return wide.reset_index().rename(columns={"before": "original", "after": "now"})


def _bubbles(rows: pd.DataFrame, role: str, classes: Sequence[str]) -> None:
    """Draw every pair of decisions, those that stayed on the diagonal."""
    st.plotly_chart(
        bubbles(_counts(rows, role), _present(rows, role, classes), ("Original", comparing.NAMES[role]), ROLES[role]),
        key=f"compare.bubbles.{role}", config={"displayModeBar": False},
        alt=f"How many rows have each pair of decisions by the original and by {comparing.NAMES[role]}; the table below holds the rows",
    )  # fmt: skip


def _present(rows: pd.DataFrame, role: str, classes: Sequence[str]) -> list[str]:
    """Return the classes in which one of both models puts a row, in their order."""
    here = {*rows["said_original"], *rows[f"said_{role}"]}
    return [name for name in classes if name in here]


FLOWING = "Flows"
FIGURES: dict[str, Draw] = {FLOWING: _flow, "Bubbles": _bubbles}


def _counts(rows: pd.DataFrame, role: str) -> pd.DataFrame:
    """Return how many rows became what: before, after, rows; the largest first."""
    found = rows.groupby(["said_original", f"said_{role}"]).size().reset_index(name="rows")
    return found.set_axis(["before", "after", "rows"], axis=1).sort_values("rows", ascending=False, kind="stable")


def _listed(run: Run, rows: pd.DataFrame, roles: list[str]) -> None:
    """Draw the choice of one flow that changes a decision, and its rows with how each model decides."""
    ways = {}
    for role in roles:
        for flow in _counts(rows[rows["said_original"] != rows[f"said_{role}"]], role).itertuples():
            said = f"{comparing.NAMES[role]}: {flow.before} → {flow.after} ({words.count(int(flow.rows), 'row')})"
            ways[said] = (role, flow.before, flow.after)
    if not ways:
        return
    role, before, after = ways[st.selectbox("Rows whose decision changed", list(ways), key="compare.flow")]
    chosen = rows[(rows["said_original"] == before) & (rows[f"said_{role}"] == after)]
    chosen = chosen.iloc[np.argsort(-np.abs(np.exp(-chosen["loss_original"]) - np.exp(-chosen[f"loss_{role}"])), kind="stable")]
    first = chosen.head(pictures.PAGE if pictures.drawable(run) else ROWS)
    role_of: Role = "holdout" if first["part"].iloc[0] == "holdout" else "train"
    pictures.table(_told(first, ["original", *roles]), pictures.of_run(run, first["id"].to_numpy(), role_of), "Rows whose decision changed")
    more = f" The first {len(first):,} of {len(chosen):,}." if len(chosen) > len(first) else ""
    st.caption(f"Beside each decision, the probability of the true class; rows for which it changed most come first.{more}")


def _told(rows: pd.DataFrame, roles: list[str]) -> pd.DataFrame:
    """Return rows with each model's decision and what it gave the true class."""
    said = {
        comparing.NAMES[role]: [
            f"{one} ({words.percent(float(np.exp(-loss)))})" for one, loss in zip(rows[f"said_{role}"], rows[f"loss_{role}"], strict=True)
        ]
        for role in roles
    }
    return rows[["id", "target", "group"]].assign(**said).rename(columns={"target": "true class"})
