"""Compare's part on predictions: what was predicted for the removed rows beside what came true."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.actions import preview
from influence.actions._comparison import as_read
from influence.actions._effects import smooth_said
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
    read = as_read(table)
    here = read[read["rows"] == "evaluation"]
    apart = here["label"] == "R²"
    st.plotly_chart(
        agreement(here[~apart]),
        key="compare.agreement",
        config={"displayModeBar": False},
        alt="Predicted against realised change of every metric; the table below holds the figures",
    )
    truth = here[here["role"] == "retrained"].dropna(subset=["predicted_low"])  # an approximate method's misses are not the bands'
    held = (
        f"{int(within(truth).sum())} of {len(truth)} changes of the retrained model lie within their 95 % bands"
        if len(truth)
        else "No bands to check"
    )
    held += ": one model's, so not so many independent checks"
    without = " The figure leaves out R², which is in no unit." if apart.any() else ""
    st.caption(f"{held} (evaluation rows, n = {len(state.dataset(run).evaluation):,}).{without}{_pairs(read)}")
    st.dataframe(beside(read), hide_index=True, alt="What was predicted of every metric, and what came true of each model.")
    smooth = table[table["label"] != table["measured_label"]]
    if len(smooth):
        with st.expander("The same of what scores predict"):
            st.caption(smooth_said(state.dataset(run)))
            st.dataframe(beside(smooth), hide_index=True, alt="What scores predicted, and what came true of each model.")


def within(rows: pd.DataFrame) -> pd.Series:
    """Return whether what came true lies in the 95 % band of what was predicted."""
    return rows["value"].between(rows["predicted_low"], rows["predicted_high"])


def _pairs(read: pd.DataFrame) -> str:
    """Say how gaps are read, and what the intervals beside them are, where there are some."""
    if not read["low"].notna().any():
        return ""
    return " Of a gap: the first group minus the second, with its 95 % interval over rows. A band foretells evaluation rows alone."


def beside(table: pd.DataFrame) -> pd.DataFrame:
    """Return one line per metric: what was predicted, whether the retrained model bore it out, and what came true of each model.

    `table`: columns label, role, rows, value, predicted_change, predicted_low, predicted_high, and perhaps low and high of the value.
    """
    lines = []
    for label, own in table.groupby("label", sort=False):
        first = own.iloc[0]
        names = {"predicted": "predicted_change", "95 % low": "predicted_low", "95 % high": "predicted_high"}
        line = {"metric": label, **{name: _signed(first[of]) for name, of in names.items()}}
        truth = own[(own["role"] == "retrained") & (own["rows"] == "evaluation")].dropna(subset=["predicted_low"])
        line["retrained within"] = "" if truth.empty else "yes" if within(truth).iloc[0] else "no"
        for row in sorted(own.to_dict("records"), key=lambda row: row["role"] != "retrained"):
            interval = f" ({_signed(row['low'])} to {_signed(row['high'])})" if words.known(row.get("low")) else ""
            line[f"{row['role']}, {row['rows']} rows"] = _signed(row["value"]) + interval
        lines.append(line)
    found = pd.DataFrame(lines).fillna("")
    return found if (found["retrained within"] != "").any() else found.drop(columns="retrained within")


def _signed(value: float) -> str:
    return words.signed(value) if words.known(value) else ""


def _unpredicted(run: Run, found: dict[str, Any]) -> None:
    """Say that nothing was predicted, and why; where the preview was prepared since, offer to compare again."""
    original = state.project().run(found["runs"]["original"])
    if comparing.relabelled(run):
        st.caption("Predictions are of removals; these rows were relabelled.")
        return
    if preview.kept(state.project(), original.id, found["group"]) is None:
        why = "the preview was not prepared for this model and group column."
        if original.parent:
            why = "predictions are there only for a model trained by its recipe, and this request followed an earlier one."
        st.caption(f"Nothing was predicted: {why}")
        return
    st.caption("The preview was prepared after this comparison was made.")
    job = jobs.run_button("Compare again", "compare", {"run": run.id, "group": found["group"]}, "compare.again", primary=False)
    jobs.follow(job, key="compare.again.follow")
