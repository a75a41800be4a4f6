"""What is predicted without some rows, on the page Plan: in a sentence, and every metric; of the current selection first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from influence.actions import confirm_suspects, preview
from influence.errors import BadInput
from influence.store import Run
from influence.types import Selection
from influence.ui import choosing, effects, kept, pinning, state, words

RANKED = "These scores rank only: no change can be predicted. Retrain without the rows on the Run page to see it."


def selected(run: Run, note: dict[str, Any] | None, label: str = "") -> None:
    """Draw the current selection, what is predicted without it as soon as that is prepared, and the way on."""
    st.subheader("Current selection", anchor=False)
    choosing.told()

    def foretold(selection: Selection) -> None:
        if note is not None:
            _preview(run, note, label, selection)

    selection = choosing.review(run, (state.group(), state.dataset(run).target), foretold)
    if selection:
        choosing.rows(run, selection)
        state.link("run", "Unlearn these rows", ":material/arrow_forward:")


def _preview(run: Run, note: dict[str, Any], label: str, selection: Selection) -> None:
    """Show what is predicted for exactly the selected rows, the metric `label` and accuracy first."""
    try:
        found = preview.predicted(note, kept.scores(note["scores"]), selection.ids)
    except BadInput as error:
        st.warning(words.escaped(error), icon=":material/warning:")
        return
    if note["calibration"]:
        changes = {name: {k: e[f"measured_{k}"] for k in ("change", "low", "high")} for name, e in found.items()}
        st.markdown(finding(note, changes, label, len(selection)))
        _retrained(run, note, label, selection)
        metrics(note, changes)
        st.caption(trusted(run, note))
    else:
        st.warning(RANKED, icon=":material/info:")
    pinning.preview(run, state.group(), note["scores"], selection, "selection")


def _retrained(run: Run, note: dict[str, Any], label: str, selection: Selection) -> None:
    """Say what retraining without a pattern's rows did, if Suspects has done it for this metric."""
    pattern = selection.reason.get("conditions", "") if selection.reason.get("rule") == "pattern" else ""
    done = confirm_suspects.kept(state.project(), run.id, note["queries"][label], pattern) if pattern else None
    if done and done["n"] == len(selection):
        result = {"measured_label": note["measured_labels"][label], "calibrated": False, "query": note["queries"][label]}
        st.markdown(effects.realised(run, result, done, f"these {len(selection):,} rows", 0.0))


def finding(note: dict[str, Any], changes: Mapping[str, Mapping[str, Any]], label: str, k: int) -> str:
    """Return in one sentence what removing k rows is predicted to do to the metric asked about, and to accuracy beside it.

    `changes`: of each metric as people read it change, low and high.
    """
    names = [label, *(other for other in note["labels"] if note["measured_labels"][other] in ("Accuracy", "R²") and other != label)]
    rows = words.count(note["n_evaluation"], "evaluation row")
    return f"Predicted without these {words.count(k, 'row')}, on {rows}: " + "; ".join(_moved(note, changes[n], n) for n in names) + "."


def _moved(note: dict[str, Any], change: Mapping[str, Any], label: str) -> str:
    before = note["before"][label]["measured"]
    band = words.interval(before + change["low"], before + change["high"])
    return f"{words.escaped(note['measured_labels'][label])} **{effects.between(before, change['change'])}** (95 % {band})"


def metrics(note: dict[str, Any], changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw every metric as people read it, now and as predicted, on the evaluation rows."""
    rows = []
    for label in note["labels"]:
        before, change = note["before"][label]["measured"], changes[label]
        after = {"predicted": "change", "95 % low": "low", "95 % high": "high"}
        levels = {name: words.number(before + change[of]) for name, of in after.items()}
        rows.append({"metric": note["measured_labels"][label], "now": words.number(before), **levels})
    alt = f"Every metric now and as predicted, on {note['n_evaluation']:,} evaluation rows."
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt=alt)


def trusted(run: Run, note: dict[str, Any]) -> str:
    """Say what predictions rest on, and in which unit errors are."""
    n = next(iter(note["calibration"].values()))["value"]["n"]
    errors = "" if state.dataset(run).train.classes else f" Errors are in the unit of {words.escaped(state.dataset(run).target)}."
    return (
        f"Metrics are predicted through smooth versions; 95 % as {n} retrainings without other rows bear it out. "
        f"{effects.smooth(run)}{errors}{kept.favourable(run)}"
    )
