"""Whether a training is smooth enough for the metagradient, in the row of the trust light; told only where it was measured."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from influence.actions import smoothness
from influence.jobs import Job
from influence.store import Run
from influence.ui import costs, jobs, state, words

COLOURS: dict[str, Literal["green", "orange", "red"]] = {"smooth": "green", "between": "orange", "rough": "red"}
MEANING = (
    "Empirical metasmoothness: do the weights go on in the same direction when rows lose the second half of their weight as when they lost "
    "the first? 1: all do, as the metagradient assumes; 0: noise. Mean over random sets of rows, with its 95 % interval."
)


def told(run: Run, key: str) -> Job | None:
    """Draw what was measured of a run; or, where nothing was, the button that measures it, and return its job if there is one."""
    found = smoothness.kept(state.project(), run.id)
    if not found:
        return jobs.run_button(
            "Check smoothness",
            "smoothness",
            {"run": run.id},
            key,
            cost=cost(run),
            icon=":material/show_chart:",
            primary=False,
            help=MEANING,
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        said = words.escaped(smoothness.in_words(found[0]))
        st.badge(f"Smoothness {said}", icon=":material/show_chart:", color=COLOURS[found[0]["word"]], help=MEANING)
        st.caption(words.escaped(found[0]["verdict"]), width="content")
    return None


def cost(run: Run) -> str:
    """Say what a measurement costs, from the seconds that one training of this run took; they are made one after another."""
    count, took = smoothness.trainings(), costs.training_seconds(run)
    about = f", {words.about(count * took)}" if took else ""
    return f"{words.count(count, 'training')}{about}: can the metagradient be trusted here?"
