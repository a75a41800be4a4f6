"""What each method that forgets would cost and lets one claim, on the page Plan: told before one commits, with the way to Run."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.actions import _prices
from influence.registry import unlearning
from influence.store import Run
from influence.types import Selection
from influence.ui import claims, costs, forgetting, forms, state, words

UNKNOWN, LEAST = "not counted", "≥ "


def methods(run: Run, selection: Selection) -> None:
    """Draw what each method would cost and lets one claim, a line of which can be ticked, and the way to Run with the ticked method."""
    st.markdown("**What each method would cost, and what may be claimed then**")
    every = costs.offered(run, selection)
    names = forms.asked_for(every, [name for name in every if costs.reservation(name)], "plan.priced")
    if not names:
        return
    table = pd.DataFrame([_line(run, selection, name) for name in names])
    empty = [column for column in table if not (table[column] != "").any()]
    event: Any = st.dataframe(
        table.drop(columns=empty), hide_index=True, height="content", on_select="rerun", selection_mode="single-row",
        key=f"plan.priced.{run.id}.{selection.digest[:12]}", alt="What each method would cost for these rows; tick one to go on with it.",
        column_config={"time": st.column_config.Column(width=105), "rests on": st.column_config.Column(width=265)},
    )  # fmt: skip
    least = " ≥: not all that it does is counted." if table["time"].str.startswith(LEAST).any() else ""
    once = " Whichever other method runs first also retrains the model once, to compare with."
    beside = once if costs.retrains(run, selection) else ""
    more = claims.more(run, selection) if costs.FIRST in names else ""
    where = "as long as things took here" if run.kind == "import" else "on the machine that trained this model"
    st.caption(f"At default settings, {where}.{least}{beside}{more}")
    picked = [names[at] for at in event["selection"]["rows"] if at < len(names)]
    if picked:
        _onwards(picked[0], "Correct these labels" if selection.action == "relabel" else "Unlearn these rows")


def _onwards(name: str, doing: str) -> None:
    """Draw the way to Run with a method chosen there."""
    if st.button(f"{doing} with {words.title(name)}", key="plan.method", icon=":material/arrow_forward:"):
        chosen = {"run.method": name, "run.many": forgetting.ONE, **({"run.method.all": True} if costs.reservation(name) else {})}
        st.session_state.update(chosen)
        state.go("run")


def _line(run: Run, selection: Selection, name: str) -> dict[str, str]:
    cls, project = unlearning.classes[name], state.project()
    told = _prices.price(project, run, project.trained(run.id), state.dataset(run).train, selection, name)
    sign = LEAST if told.least else ""
    return {
        "method": words.title(name),
        "claim": claims.short(run, selection, name),
        "time": UNKNOWN if told.seconds is None else sign + words.duration(told.seconds),
        "share of retraining": UNKNOWN if told.share is None else sign + words.percent(told.share, 0),
        "once per model": _once(_prices.once(project, run, name)),
        "rests on": told.basis or str(getattr(cls, "cost", "")),
    }


def _once(it: _prices.Once) -> str:
    """Return what preparing takes, and what that is for each request so far."""
    if not it.needed:
        return ""
    if it.seconds is None:
        return "not made yet"
    if it.estimated:
        return f"{words.about(it.seconds)} once, not made yet"
    each = f", {words.duration(it.seconds / it.served)} each" if it.served > 1 else ""
    return f"{words.duration(it.seconds)} for {words.count(it.served, 'request')} so far{each}"
