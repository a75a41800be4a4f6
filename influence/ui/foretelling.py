"""What is predicted without some rows, on the page Plan: in a sentence, and every metric; of the current selection first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.actions import _effects, confirm_suspects, preview
from influence.errors import BadInput
from influence.store import Run
from influence.types import Selection
from influence.ui import choosing, effects, kept, naming, pinning, priced, remaining, requesting, state, whochanges, whole, words

RANKED = "These scores rank only: no change can be predicted. Unlearn the rows on the Run page to see it."
CALIBRATED = "Suspects adds up scores; here retraining has calibrated the sum."
RELABELLED = "Predictions here are of removals. Retrain on the Run page to see what the new labels do."
AGAINST = "The metric and its smooth version are predicted to go opposite ways: do not remove rows by this."
CHOSEN = {
    "budget": "to reach a target", "duplicates": "as copies", "helps_nobody": "as rows that help nobody", "outliers": "as outliers",
    "pattern": "by a pattern", "polygon": "by an outline on the map", "rows": "by hand", "top_k": "by rank", "where": "by a condition",
    "ids given": "by their ids",
}  # fmt: skip
"""How rows came to be selected, by the rule that found them."""
LEAST = 3
"""Classes of which one can go whole: a model needs two to tell apart."""
SHORT = 8
"""Characters of a digest."""


def selected(run: Run, note: dict[str, Any] | None, label: str = "") -> None:
    """Draw the current selection, what is predicted without it as soon as that is prepared, and the way on."""
    st.subheader("Current selection", anchor=False)
    choosing.told()

    def foretold(selection: Selection) -> None:
        st.caption(provenance(selection))
        if note is not None and remaining.left(run, selection):
            _preview(run, note, label, remaining.still(run, selection))

    selection = choosing.review(run, (state.group(), state.dataset(run).target), foretold)
    if selection is None:
        _whole_class(run)
    naming.by_ids(run)
    if selection is not None:
        choosing.rows(run, selection)
        if requesting.nothing_left(run, selection):
            return
        priced.methods(run, remaining.still(run, selection))
        requesting.returning(run, selection, "plan.back")
        state.link("run", "Correct these labels" if selection.action == "relabel" else "Unlearn these rows", ":material/arrow_forward:")


def _whole_class(run: Run) -> None:
    """Draw the choice of a class to forget as a whole, and say where other conditions are."""
    made = state.dataset(run)
    seen = made.train.y[~np.isin(made.train.ids, run.body.get("removed", []))]
    there = [name for at, name in enumerate(made.train.classes) if (seen == at).any()]
    if 0 < len(there) < LEAST:
        st.caption(
            f"A whole class cannot be forgotten here: of {words.escaped(made.target)} one class would remain, and a model needs two."
        )
    elif there:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            name = st.selectbox("Forget a whole class", there, key=f"plan.class.{run.id}", width=260)
            n = int((seen == made.train.classes.index(name)).sum())
            given = {"column": made.target, "is_": "equal to", "value": name}
            st.button(
                f"Select its {words.count(n, 'row')}", key="plan.class.select", icon=":material/checklist:", on_click=choosing.find,
                args=(run, "where", given, None, "Replace the selection"),
            )  # fmt: skip
    st.caption("Rows by any other condition: on Influence, below Choose rows; patterns and whole sources: on Suspects.")


def _preview(run: Run, note: dict[str, Any], label: str, selection: Selection) -> None:
    """Show what is predicted for exactly the selected rows, the metric `label` and accuracy first."""
    if selection.action == "relabel":
        st.info(RELABELLED, icon=":material/info:")
        return
    try:
        found = preview.predicted(note, kept.scores(note["scores"]), selection.ids)
    except BadInput as error:
        st.warning(words.escaped(error), icon=":material/warning:")
        return
    who = whochanges.found(run, selection)
    said = whochanges.finding(who, kept.table(who["metrics"]), note["queries"][label]) if who else ""
    if who and said:  # one removal has one prediction: the one that holds for a new model, too
        st.markdown(said)
        _retrained(run, note, label, selection)
        whochanges.shown(run, who)
    elif note["calibration"]:
        changes = {name: {k: e[f"measured_{k}"] for k in ("change", "low", "high")} for name, e in found.items()}
        st.markdown(finding(run, note, changes, label, len(selection)))
        if selection.reason.get("rule") == "pattern":
            st.caption(CALIBRATED)
        if against(note, found[label]["change"], found[label]["measured_change"], label):
            st.warning(AGAINST, icon=":material/warning:")
        _retrained(run, note, label, selection)
        metrics(run, note, changes)
        st.caption(trusted(run, note, len(selection)))
    else:
        st.warning(RANKED, icon=":material/info:")
    if not (who and said):
        whochanges.ask(run, selection)
    pinning.preview(run, state.group(), note["scores"], selection, "selection")


def provenance(selection: Selection) -> str:
    """Say in one line what chose the rows, from which data, and when."""
    reason, digest = selection.reason, str(selection.reason.get("dataset", ""))
    chosen = state.project().chosen_at(digest)
    rule = str(reason.get("rule", "rows"))
    how = "in several steps" if "of" in reason else CHOSEN.get(rule, f"by the rule {words.title(rule)}")
    parts = [f"Chosen {how}", *([f"scores {str(reason['scores'])[:SHORT]}"] if reason.get("scores") else [])]
    parts += [f"data {digest[:SHORT]}"] if digest else []
    return words.escaped(" · ".join([*parts, *([words.ago(chosen)] if chosen else [])]))


def against(note: Mapping[str, Any], smooth: float | None, read: float | None, label: str) -> bool:
    """Whether the smooth version of a metric and the metric as people read it are predicted to go opposite ways."""
    apart = effects.differs(note["before"][label])
    return bool(apart and smooth is not None and read is not None and smooth * read < 0)


def _retrained(run: Run, note: dict[str, Any], label: str, selection: Selection) -> None:
    """Say what retraining without a pattern's rows did, if Suspects has done it for this metric."""
    pattern = selection.reason.get("conditions", "") if selection.reason.get("rule") == "pattern" else ""
    done = confirm_suspects.kept(state.project(), run.id, note["queries"][label], pattern) if pattern else None
    if done and done["n"] == len(selection):
        result = {"measured_label": note["measured_labels"][label], "calibrated": False, "query": note["queries"][label]}
        st.markdown(effects.realised(run, result, done, f"these {len(selection):,} rows", 0.0))


def finding(run: Run, note: dict[str, Any], changes: Mapping[str, Mapping[str, Any]], label: str, k: int) -> str:
    """Return in one sentence what removing k rows is predicted to do to the metric asked about, and to accuracy beside it.

    `changes`: of each metric as people read it change, low and high. Each has the evaluation rows that it rests on.
    """
    n = counts(run, note)
    names = [label, *(other for other in note["labels"] if note["measured_labels"][other] in ("Accuracy", "R²") and other != label)]
    told = "; ".join(_moved(note, changes[name], name, n[name]) for name in names)
    return f"Predicted without these {words.count(k, 'row')}, on evaluation rows: {told}."


def _moved(note: dict[str, Any], change: Mapping[str, Any], label: str, n: int) -> str:
    before = note["before"][label]["measured"]
    band = f"95 % {words.interval(before + change['low'], before + change['high'])}; " if words.known(change["low"]) else ""
    return f"{words.escaped(note['measured_labels'][label])} **{effects.between(before, change['change'])}** ({band}n = {n:,})"


def metrics(run: Run, note: dict[str, Any], changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw every metric as people read it, now and as predicted, with the evaluation rows that it rests on."""
    rows, n = [], counts(run, note)
    for label in note["labels"]:
        before, change = note["before"][label]["measured"], changes[label]
        after = {"predicted": "change", "95 % low": "low", "95 % high": "high"}
        levels = {name: words.number(before + change[of]) if words.known(change[of]) else "" for name, of in after.items()}
        rows.append({"metric": note["measured_labels"][label], "n": n[label], "now": words.number(before), **levels})
    alt = "Every metric now and as predicted, with the evaluation rows that it rests on."
    table = pd.DataFrame(rows)
    st.dataframe(table, hide_index=True, column_config=whole.shape(table), alt=alt)


def counts(run: Run, note: dict[str, Any]) -> dict[str, int]:
    """Return how many evaluation rows each metric of a preview rests on: a gap of rates on those of its kind alone."""
    return _counts(run, note, f"{run.id}/{note['group']}/{note['scores']}")


@st.cache_resource(show_spinner=False, max_entries=32)
def _counts(_run: Run, _note: dict[str, Any], identity: str) -> dict[str, int]:
    return _effects.counted(state.project(), _run, state.dataset(_run), _note)


def trusted(run: Run, note: dict[str, Any], k: int) -> str:
    """Say what predictions without k rows rest on, and in which unit errors are."""
    rests = preview.unbanded(note, k) or f"95 % as {preview.retrainings(note)} retrainings without other rows bear it out."
    return f"Metrics are predicted through smooth versions. {rests} {effects.smooth(run)}{kept.units(run)}{kept.favourable(run)}"
