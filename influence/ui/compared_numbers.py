"""Compare's part on predictions of a number: each row's before and after, and the rows whose prediction moved most."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.charts.colours import ROLES
from influence.charts.pairs import pairs
from influence.data.dataset import Role
from influence.evaluation._tables import of_mean
from influence.store import Run
from influence.ui import comparing, pictures, state, words

WELL = "If forgetting went well, the unlearned model's predictions moved as the retrained one's did."
LISTED = 100
"""Rows that are listed, those whose prediction moved most first."""


def numbers(run: Run, rows: pd.DataFrame, found: dict[str, Any]) -> None:
    """Draw what each other model predicts of the rows beside what the original does, and list those that moved most."""
    others, target = comparing.roles(found, first=False), words.escaped(state.dataset(run).target)
    for column, role in zip(st.columns(len(others)), others, strict=True):
        with column:
            name = comparing.NAMES[role]
            moved = np.abs(rows[f"said_{role}"] - rows["said_original"]).to_numpy()
            between = words.interval(*of_mean(moved, 0.0))
            st.markdown(f"**{name}**: predictions moved by {words.number(float(moved.mean()))} on average (95 %: {between}).")
            st.plotly_chart(
                pairs(rows, "said_original", f"said_{role}", ("Original", name), ROLES[role]), key=f"compare.pairs.{role}",
                config={"displayModeBar": False}, alt=f"Each row's prediction by the original and by the model {name}",
            )  # fmt: skip
    st.caption(
        f"n = {words.count(len(rows), 'row')}; predictions of {target}, in its unit. On the dotted line both models agree."
        + comparing.well(found, WELL)
    )
    _moved_most(run, rows, others)


def _moved_most(run: Run, rows: pd.DataFrame, others: list[str]) -> None:
    far = np.abs(rows[[f"said_{role}" for role in others]].to_numpy() - rows[["said_original"]].to_numpy()).max(1)
    first = rows.iloc[np.argsort(-far, kind="stable")[: pictures.PAGE if pictures.drawable(run) else LISTED]]
    said = {comparing.NAMES[role]: first[f"said_{role}"].map(words.number) for role in ("original", *others)}
    told = first[["id", "group"]].assign(**{"true value": first["target"].map(words.number)}, **said)
    with st.expander("Rows whose prediction moved most", icon=":material/table_rows:"):
        role_of: Role = "holdout" if first["part"].iloc[0] == "holdout" else "train"
        drawn = pictures.of_run(run, first["id"].to_numpy(), role_of)
        pictures.table(told, drawn, "Rows whose prediction moved most, with what each model predicts.")
