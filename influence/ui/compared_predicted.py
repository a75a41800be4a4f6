"""Compare's part on predictions: what was predicted for the removed rows beside what came true."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.actions import preview
from influence.actions._effects import SAID as SMOOTH
from influence.charts.agreement import agreement
from influence.store import Run
from influence.ui import comparing, jobs, kept, state, words


def changes(run: Run, found: dict[str, Any]) -> None:
    """Show what was predicted for the removed rows beside what came true."""
    if "change" not in found["tables"]:
        _unpredicted(run, found)
        return
    comparing.trusted(found["runs"]["original"], found["group"], "compare.trust")
    table = kept.table(found["tables"]["change"])
    here = table[table["rows"] == "evaluation"]
    apart = here["label"] == "R²"
    st.plotly_chart(
        agreement(_as_read(here[~apart])),
        key="compare.agreement",
        config={"displayModeBar": False},
        alt="Predicted against realised change of every metric; the table below holds the figures",
    )
    truth = here[here["role"] == "retrained"].dropna(subset=["predicted_measured_low"])  # an approximate method's misses are not the bands'
    inside = truth["measured"].between(truth["predicted_measured_low"], truth["predicted_measured_high"])
    held = (
        f"{int(inside.sum())} of {len(truth)} changes of the retrained model lie within their 95 % bands"
        if len(truth)
        else "No bands to check"
    )
    held += ": one model's, so not so many independent checks"
    without = " The figure leaves out R², which is in no unit." if apart.any() else ""
    st.caption(f"{held} (evaluation rows, n = {len(state.dataset(run).evaluation):,}).{without}")
    st.dataframe(_beside(table, "measured"), hide_index=True)
    smooth = table[table["label"] != table["measured_label"]]
    if len(smooth):
        with st.expander("The same of what scores predict"):
            st.caption(SMOOTH)
            st.dataframe(_beside(smooth, "value"), hide_index=True)


def _as_read(table: pd.DataFrame) -> pd.DataFrame:
    """Return changes of metrics as people read them, by the names of the picture."""
    parts = {f"predicted_{part}": table[f"predicted_measured_{part}"] for part in ("change", "low", "high")}
    return table.assign(label=table["measured_label"], value=table["measured"], **parts)


def _beside(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return one row per metric: what was predicted, and what came true of each model, on evaluation and on holdout rows.

    `kind`: "measured" as people read it, "value" of its smooth version.
    """
    prefix, name = ("predicted_measured_", "measured_label") if kind == "measured" else ("predicted_", "label")
    said = table.assign(
        metric=table[name],
        predicted=[
            f"{words.signed(change)} ({words.interval(low, high)})"
            for change, low, high in zip(*(table[f"{prefix}{part}"] for part in ("change", "low", "high")), strict=True)
        ],
        realised=table[kind].map(words.signed),
        of=table["role"] + ", " + table["rows"] + " rows",
    ).rename(columns={"predicted": "predicted (95 %)"})
    wide = said.pivot_table(index=["metric", "predicted (95 %)"], columns="of", values="realised", aggfunc="first", sort=False)
    return wide.reset_index()


def _unpredicted(run: Run, found: dict[str, Any]) -> None:
    """Say that nothing was predicted; where the preview was prepared since, offer to compare again."""
    if preview.kept(state.project(), found["runs"]["original"], found["group"]) is None:
        st.caption("Nothing was predicted: the preview was not prepared for this model and group column.")
        return
    st.caption("The preview was prepared after this comparison was made.")
    job = jobs.run_button("Compare again", "compare", {"run": run.id, "group": found["group"]}, "compare.again", primary=False)
    jobs.follow(job, key="compare.again.follow")
