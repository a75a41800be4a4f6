"""Retraining without the rows of patterns, on the page Suspects: the button, what it realised, and the way to a selection."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.actions._scored import short
from influence.repeatable import no_recipe
from influence.store import Run
from influence.ui import asking, choosing, costs, jobs, state, words

SEEDS = 3
"""Fresh seeds with which one can retrain too."""


def select(run: Run, table: pd.DataFrame, picked: list[int], noun: str = "pattern") -> None:
    """Draw the button that makes the rows of the ticked patterns the selection."""
    how = st.session_state.get("suspects.how", next(iter(choosing.HOW)))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        many = int(table.iloc[picked[0]]["n"]) if len(picked) == 1 else None
        what = f"Choose these {many:,} rows" if many else f"Choose the rows of {len(picked)} {noun}s"
        args = (run, table.iloc[picked]["conditions"].tolist(), how)
        st.button(what, key="suspects.choose", icon=":material/checklist:", on_click=_chosen, args=args)
        st.selectbox("Then", list(choosing.HOW), key="suspects.how", label_visibility="collapsed", width=260)


def _chosen(run: Run, patterns: list[str], how: str) -> None:
    choosing.find_any(run, "pattern", [{"conditions": pattern} for pattern in patterns], None, how)


def impossible(run: Run) -> bool:
    """Say so where a model cannot be trained again."""
    reason = no_recipe(asking.trained(run.id, str(state.project().path)), "Retraining", "another model")
    if reason:
        st.caption(words.escaped(reason))
    return bool(reason)


def check(run: Run, patterns: list[str], query: str, query_set: dict[str, Any], remedy: str, which: str, noun: str = "pattern") -> None:
    """Draw the button that retrains without the rows of patterns, or with them relabelled; or why this model cannot be retrained."""
    if impossible(run):
        return
    fresh = st.toggle(
        f"With {SEEDS} new seeds too", key="suspects.fresh", persist_state="session",
        help="New first weights and a new order of rows, as somebody would get who trains again next month; with the spread over seeds.",
    )  # fmt: skip
    args = {
        "run": run.id, "query": query, "query_set": query_set, "patterns": patterns, "remedy": remedy, "seeds": SEEDS if fresh else 0,
    }  # fmt: skip
    n, removed = len(patterns), remedy == "remove"
    count = n * (2 if removed else 1) + (SEEDS * (n + 1) if fresh else 0)
    what = f"{which} {noun}" if n == 1 else f"{n} {which} {noun}s"
    how = f"Retrain without the {what}" if removed else f"Retrain with the {what} relabelled"
    job = jobs.run_button(
        how, "confirm_suspects", args, f"suspects.check.{short(args)}", cost=costs.retrainings(run, count), primary=False,
        icon=":material/model_training:",
    )  # fmt: skip
    jobs.follow(job, key="suspects.check.follow")
