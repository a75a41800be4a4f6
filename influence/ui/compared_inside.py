"""Compare's part on representations: how alike models see rows, layer by layer, and where rows lie in the last hidden layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.charts.colours import GREY, ROLES
from influence.charts.displaced import displaced
from influence.charts.lines import lines
from influence.store import Run
from influence.ui import comparing, kept, pictures, state, whole, words

FORGOTTEN, MOVED = "Forgotten rows", "Rows that moved most"
PARTS = ("forgotten", "retained", "holdout")
LONG = 30
"""Characters of a layer's name that are shown."""
MOST = 50
"""Rows that moved most."""
MOVING = (
    "Median of how far rows lie from their places under the original, over the whole last hidden layer; 1: the spread of all rows. The "
    "picture shows two directions of it."
)
CKA = """
**CKA** (linear centred kernel alignment) compares what two models make of the same rows in one layer: 1, the same but for a rotation and a
scale; 0, nothing in common. It is the unbiased estimate, with the jackknife's 95 % interval. **Moved**: how far a row lies from its place
under the original, once the layer is turned so that retained rows lie as near their places as they can; 1 is the spread of all rows.
"""


def representations(run: Run, found: dict[str, Any]) -> None:
    """Show layers, then the plane."""
    _layers(run, found)
    _plane(run, found)
    with st.expander("What do these figures mean?", icon=":material/help:"):
        st.markdown(CKA)


def _layers(run: Run, found: dict[str, Any]) -> None:
    table = kept.table(found["tables"]["layers"])
    if table.empty:
        st.caption("These models have no layers in common that each row passes once.")
        return
    pairs = [("original", role) for role in comparing.roles(found, first=False)]
    pairs += [("unlearned", "retrained")] if {"unlearned", "retrained"} <= set(found["runs"]) else []
    names = {pair: f"{comparing.NAMES[pair[0]]} and {comparing.NAMES[pair[1]].lower()}" for pair in pairs}
    told = table.assign(group=[names.get(pair) for pair in zip(table["first"], table["second"], strict=True)]).dropna(subset="group")
    shown = list(dict.fromkeys(told["layer"].map(_short)))
    colours = {names[pair]: ROLES[pair[1]] if pair[0] == "original" else GREY for pair in pairs}
    st.plotly_chart(
        lines(told.assign(along=told["layer"].map(_short)), colours, shown, "layer", "CKA"),
        key="compare.layers", config={"displayModeBar": False},
        alt="CKA of each layer between the models; the table below holds the figures",
    )  # fmt: skip
    well = comparing.well(found, "If forgetting went well, unlearned and retrained are alike in every layer.")
    n, every = int(told["n"].max()), len(state.dataset(run).holdout)
    which = f"all {every:,} holdout rows" if n == every else f"{n:,} of the {every:,} holdout rows, drawn at random"
    st.caption(f"How alike two models see {which} (n = {n:,}), layer by layer, with 95 % intervals over these rows.{well}")
    with st.expander("Read as a table", icon=":material/table_rows:"):
        wide = told.assign(said=[f"{words.number(r.value)} ({words.interval(r.low, r.high)})" for r in told.itertuples()])
        wide = wide.pivot_table(index=["layer", "n"], columns="group", values="said", aggfunc="first", sort=False).reset_index()
        st.dataframe(wide, hide_index=True, column_config=whole.shape(wide), alt="CKA of each layer between the models.")


def _short(layer: str) -> str:
    """Return the end of a long name of a layer, by which layers are told apart."""
    return layer if len(layer) <= LONG else f"…{layer[-LONG:]}"


def _plane(run: Run, found: dict[str, Any]) -> None:
    if "places" not in found["tables"]:
        st.caption("There is no last hidden layer in which all models have each row once.")
        return
    table, others = kept.table(found["tables"]["places"]), comparing.roles(found, first=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        role = st.segmented_control(
            "To", others, default=others[0], required=True, **state.shared("compare.to", comparing.NAMES.__getitem__)
        )
        which = st.segmented_control(
            "Lines for", [FORGOTTEN, MOVED], default=FORGOTTEN, required=True, key="compare.lines",
            format_func=lambda kind: f"{comparing.part_name(run, 'forgotten').title()} rows" if kind == FORGOTTEN else kind,
        )  # fmt: skip
    shown, (left, right) = _shown(table, role, which), st.columns([3, 2], vertical_alignment="center")
    called = {part: comparing.part_name(run, part) for part in PARTS}
    table = table.assign(part=table["part"].map(called))
    with left:
        st.plotly_chart(
            displaced(table, shown, role, comparing.NAMES[role]), key="compare.plane",
            alt=f"Where rows lie in the last hidden layer of the original and of the model {comparing.NAMES[role]}",
        )  # fmt: skip
    middle = table.groupby("part")[[f"moved_{one}" for one in others]].median()
    with right:
        moved = _moved(table, middle, others)
        st.dataframe(moved, hide_index=True, column_config=whole.shape(moved), alt="How far rows moved from the original, in the middle.")
        well = f"If forgetting went well, {called['forgotten']} rows move as under the retrained model."
        st.caption(MOVING + comparing.well(found, well))
    first = table[shown].sort_values(f"moved_{role}", ascending=False)
    with st.expander("Which rows", icon=":material/table_rows:"):
        first = first.head(pictures.PAGE)
        told = first[["id", "part"]].assign(moved=[words.number(m) for m in first[f"moved_{role}"]])
        train = first["part"] != "holdout"
        drawn = _pictures(run, first["id"].to_numpy(), train.to_numpy())
        pictures.table(told, drawn, "The rows drawn with lines, those that moved most first.")


def _shown(table: pd.DataFrame, role: str, which: str) -> np.ndarray:
    """Return the rows that lines are drawn for, (n,) bool."""
    if which == FORGOTTEN:
        return (table["part"] == "forgotten").to_numpy()
    found = np.zeros(len(table), dtype=bool)
    found[np.argsort(-table[f"moved_{role}"].to_numpy(), kind="stable")[:MOST]] = True
    return found


def _moved(table: pd.DataFrame, middle: pd.DataFrame, roles: list[str]) -> pd.DataFrame:
    counts = table["part"].value_counts()
    return pd.DataFrame(
        [
            {"moved": part, **{comparing.NAMES[role].lower(): words.number(middle.loc[part, f"moved_{role}"]) for role in roles},
             "n": int(counts[part])}
            for part in ("forgotten", "relabelled", "retained", "holdout") if part in middle.index
        ]
    )  # fmt: skip


def _pictures(run: Run, ids: np.ndarray, train: np.ndarray) -> list[str] | None:
    """Return pictures of rows of which some are training, some holdout rows."""
    if not pictures.drawable(run):
        return None
    found: dict[int, str] = {}
    for role, which in (("train", train), ("holdout", ~train)):
        if which.any():
            found |= dict(zip(np.flatnonzero(which), pictures.of_run(run, ids[which], role) or [], strict=True))  # type: ignore[arg-type]
    return [found[at] for at in range(len(ids))]
