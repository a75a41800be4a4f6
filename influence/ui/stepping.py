"""The states that a method went through, as far as they are kept: what each was like, and the way back to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from influence.actions import _steps
from influence.store import Run
from influence.ui import jobs, live, state, words

CHOSEN = (
    "Unseen rows, the gap and groups are measured on the holdout: a step that is chosen by them leaves it no longer untouched, which "
    "Compare and the report say."
)


def tidy() -> None:
    """Drop the states that jobs kept which were killed on their way."""
    _steps.sweep(state.project())


def section(made: Run) -> None:
    """Draw the states kept of a run, if there are some: a slider, each state's figures beside the result's, and what can be done."""
    held = _steps.held(state.project(), made.id)
    if not held:
        return
    st.subheader("On the way", anchor=False)
    st.fragment(_section)(made, held)


def _section(made: Run, held: Sequence[Mapping[str, Any]]) -> None:
    by_step = {each["step"]: each for each in held}
    of = held[0]["of"]
    step = st.select_slider("Step", list(by_step), key=f"steps.{made.id}", help=f"Of {of:,}; states are kept at these steps.")
    st.dataframe(
        table(made, by_step[step]),
        hide_index=True,
        height="content",
        alt=f"Figures at step {step} beside the original, the result and the retrained model.",
    )
    args = {"run": made.id, "step": step}
    label = f"Take step {step:,} as the result"
    job = jobs.run_button(
        label, "roll_back", args, f"steps.take.{made.id}", primary=False, icon=":material/undo:", cost="A new run; this one stays as it is"
    )
    jobs.follow(job, _taken, key="steps.take.follow")
    st.caption(CHOSEN)
    label = f"Delete the {words.count(len(held), 'kept step')} ({words.size(_steps.size(state.project(), made.id))})"
    if st.button(label, key="steps.drop", icon=":material/delete:", type="tertiary"):
        _steps.drop(state.project(), made.id)
        st.rerun()


def table(made: Run, at: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row per metric: of the original, at the step, of the result, and of the retrained model."""
    told = made.body.get("references", {})
    models = {
        "original": told.get("original", {}), f"step {at['step']:,}": at["metrics"], "result": made.body.get("live", {}),
        "retrained": told.get("retrained", {}),
    }  # fmt: skip
    names = sorted((name for name in at["metrics"] if name != "test_accuracy"), key=live.rank)
    gap, numeric = made.body.get("watched", {}).get("query", ""), "forget_mae" in at["metrics"]
    relabelled = bool(made.body.get("n_relabelled"))
    return pd.DataFrame(
        [
            {
                "metric": live.named(name, gap, numeric, relabelled),
                **{who: words.number(v[name]) if name in v else "" for who, v in models.items()},
            }
            for name in names
        ]
    )


def _taken(job: Any) -> None:
    new = state.project().run(str(job.result["run"]))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.success(
            f"Step {job.result['step']:,} is now a model of its own: {words.escaped(words.called(new))}.", icon=":material/check_circle:"
        )
        state.link("compare", "Compare it with the other models", run=new.id)
