"""What the groups' rates would be if the positive class were predicted from another probability on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from influence.registry import evaluation
from influence.types import Examples
from influence.ui import kept, state, words
from influence.ui.auditing import Audited

GAP_OF = {
    "selection_rate": "demographic_parity_gap",
    "true_positive_rate": "equal_opportunity_gap",
    "false_positive_rate": "predictive_equality_gap",
}
"""The rates that a threshold moves, and the gap of each."""


def threshold(it: Audited) -> None:
    """Let the threshold be moved and show the rates that follow, for two classes; a move redraws this part alone."""
    if len(state.dataset(it.run).evaluation.classes) == 2:
        st.fragment(_threshold)(it)
    else:
        st.caption("A threshold decides between two classes; here the likeliest of several is predicted, or a number.")


def _threshold(it: Audited) -> None:
    rows = state.dataset(it.run).evaluation
    table = kept.table(it.run.body["predictions"])
    p = table[f"p_{it.positive}"][(table["split"] == "evaluation").to_numpy()].to_numpy()
    cut = st.slider(f"Predict “{it.positive}” from this probability on", 0.0, 1.0, 0.5, 0.01, **state.shared("audit.threshold"))
    st.dataframe(rates_at(p, rows, it.group, cut, it.positive), hide_index=True, alt="Rates of each group at this threshold.")
    st.caption(f"Of the {len(p):,} evaluation rows, each with n and its 95 % interval; the model itself is not changed.")


def rates_at(p: np.ndarray, rows: Examples, group: str, cut: float, positive: str = "") -> pd.DataFrame:
    """Return the rates of every group and their largest gaps, as text, where a class is predicted from a probability on.

    `p`: (M,) probability of that class, by default the favourable one. Measured as everywhere else: the larger of two outputs says what the
    threshold says.
    """
    first = (positive or rows.favourable) == rows.classes[0]
    outputs = np.column_stack([p >= cut, p < cut] if first else [p < cut, p >= cut]).astype(float)
    table = evaluation.make("fairness", {"group": group, "positive": positive})(outputs, rows)
    said = {
        (r.group, r.metric): f"{words.percent(r.value)} ({_between(r.low, r.high)}), n = {int(r.n):,}" for r in table.itertuples()
    }  # fmt: skip
    names = list(dict.fromkeys(table["group"][table["metric"] == "selection_rate"]))
    lines = [{group: name, **{words.title(m): said[name, m] for m in GAP_OF}} for name in names]
    gaps = {words.title(m): said[("", gap)] for m, gap in GAP_OF.items()}
    return pd.DataFrame([{group: "largest gap", **gaps}, *lines])


def _between(low: float, high: float) -> str:
    return f"{words.percent(low)} to {words.percent(high)}" if words.known(low) and words.known(high) else words.TOO_FEW
