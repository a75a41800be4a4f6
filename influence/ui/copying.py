"""Copies on the Suspects page: clusters of rows that are equal or nearly so, with their labels, also across the split."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.actions import duplicates
from influence.finders.duplicates import WORDS
from influence.store import Run
from influence.ui import choosing, jobs, kept, pictures, remaining, scored, state, texts, words

ROWS = 200
"""Rows of clusters that are listed."""
CLUSTERS = 20
"""Clusters of images that are drawn."""
NAMES = {
    "copies": "All but the first of each cluster", "all": "All that have copies", "conflicting": "Those of clusters with differing labels",
    "across": "Those that copy an evaluation or holdout row",
}  # fmt: skip
assert set(NAMES) == set(WORDS)


def section(run: Run) -> None:
    """Draw the setting, what was found, and the ways to a selection."""
    distance = st.select_slider(
        "Largest distance between copies", [0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3], 0.0, key="copies.distance",
        persist_state="session", format_func=lambda d: "0: equal in every input" if d == 0 else f"{d:g}",
        help="Root mean square over the encoded inputs (pixels from 0 to 1); of texts the share of runs of three tokens that differ.",
    )  # fmt: skip
    found = duplicates.kept(state.project(), run.dataset, distance)
    if found is None:
        price = "Seconds" if distance == 0 else "Seconds to a minute; of many rows some are looked at for near copies"
        args = {"run": run.id, "distance": distance}
        job = jobs.run_button("Look for copies", "duplicates", args, "copies.look", cost=price, icon=":material/content_copy:")
        jobs.follow(job, key="copies.follow")
        return
    st.markdown(sentence(found))
    remaining.without(run)
    if found["clusters"]:
        _listed(run, found)
        _choose(run, found)


def sentence(found: dict[str, Any]) -> str:
    """Say what was found, in one sentence or two."""
    near = f" within a distance of {found['distance']:g}" if found["distance"] else ", equal in every input"
    if not found["clusters"]:
        return f"Among {sum(found['n'].values()):,} rows of all roles there are **no copies**{near}."
    copied = ", ".join(
        f"{n:,} of {words.count(found['n'][role], role + ' row')} ({words.percent(n / max(1, found['n'][role]))})"
        for role, n in found["copied"].items()
    )
    few = found["distance"] and found["searched"] < found["different"]
    bound = f" Near copies were looked for among {found['searched']:,} of {found['different']:,} different rows." if few else ""
    return (
        f"**{words.count(found['clusters'], 'cluster')}** of copies{near}; {words.count(found['in_training'], 'training row')} of "
        f"{found['n']['train']:,} have a copy in training. **{found['conflicting']:,}** clusters hold differing labels. Across the split: "
        f"{copied} copy a training row{'; if they are copies, figures on them flatter the model' if found['across'] else ''}.{bound} "
        "Equal rows may still be two people."
    )


def _listed(run: Run, found: dict[str, Any]) -> None:
    rows = kept.table(found["rows"]).head(ROWS)
    data = state.dataset(run)
    told = []
    for role, part in rows.groupby("role"):
        of = data.split(role)
        at = pd.Index(of.ids).get_indexer(pd.Index(part["id"].astype(of.ids.dtype) if of.ids.dtype.kind in "iu" else part["id"]))
        told.append(of.columns.drop(columns=data.target, errors="ignore").iloc[at].set_index(part.index))
    columns = texts.readable(pd.concat(told).loc[rows.index])
    drawn = _drawn(run, rows)
    if drawn:
        _pictured(rows, drawn)
    shown = scored.beside(rows, columns)
    st.dataframe(
        pictures.beside(shown, drawn), hide_index=True, height=360, key=f"copies.rows.{found['rows'][:12]}", **pictures.look(drawn),
        alt="Rows that have copies, cluster by cluster, with role, id and label.",
        column_config={**texts.shape(data), **({pictures.COLUMN: pictures.shape()} if drawn else {}), "conflicting": "labels differ",
                       "across": "across the split"},
    )  # fmt: skip
    st.caption(f"The first {len(rows):,} rows of clusters; those across the split first, then those with differing labels.")


def _pictured(rows: pd.DataFrame, drawn: list[str]) -> None:
    """Draw the clusters, each with its labels and some of its images."""
    every = list(rows.assign(drawn=drawn).groupby("cluster", sort=False))[:CLUSTERS]
    labels = [", ".join(map(str, part["label"].unique())) for _, part in every]
    first = pd.DataFrame({"cluster": [name for name, _ in every], "rows": [len(part) for _, part in every], "labels": labels})
    pictures.lines(first, [part["drawn"].tolist() for _, part in every], "Clusters of copies with some of their images.", "copies.pictured")


def _drawn(run: Run, rows: pd.DataFrame) -> list[str] | None:
    if not pictures.drawable(run):
        return None
    found = pd.Series("", index=rows.index)
    for role, part in rows.groupby("role"):
        found[part.index] = pictures.of_run(run, part["id"].to_numpy(), role) or [""] * len(part)
    return found.tolist()


def _choose(run: Run, found: dict[str, Any]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        which = st.selectbox("Training rows", list(NAMES), format_func=NAMES.__getitem__, key="copies.which", width=360)
        how = st.selectbox("Then", list(choosing.HOW), key="copies.how", width=260)
        args = (run, "duplicates", {"distance": found["distance"], "which": which}, kept.scores(found["scores"]), how)
        st.button("Choose these rows", key="copies.choose", icon=":material/checklist:", on_click=choosing.find, args=args)
