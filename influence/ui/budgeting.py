"""The part of the Plan page that goes from a target to rows: the fewest that reach it, the frontier, and models really retrained."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.actions import preview
from influence.charts.frontier import ANY, frontier
from influence.evidence import budget as told
from influence.jobs import Job
from influence.store import Run
from influence.types import Selection
from influence.ui import choosing, costs, foretelling, jobs, state, words

SEEDS = 3
RETRAININGS = 20 + 2 * SEEDS
"""Calibrating ones, the first time a question is asked, and those that check the rows found."""
SHARE, R2 = "accuracy", "R²"
"""What is spared: of classes, and of a numeric target."""
SPARED = ("accuracy_margin", "accuracy")
"""Questions that a budget spares: they have no budget of their own."""


def from_target(run: Run, note: dict[str, Any], label: str) -> None:
    """Draw the choice of target and loss for the metric chosen above, the job, and what it found."""
    if not note["calibration"]:  # scores that only rank reach no target
        return
    st.subheader("From a target to rows", anchor=False)
    spared = SHARE if state.dataset(run).train.classes else R2
    if note["queries"][label]["name"] in SPARED:
        st.caption(f"A budget spares {spared} and needs scores in the metric's own unit: choose a gap or an error above.")
        return
    read, now = note["measured_labels"][label], note["before"][label]["measured"]
    st.markdown(f"Which are the fewest rows without which {words.escaped(read)}, now {words.number(now)}, reaches a target?")
    job = _ask(run, note, label, spared)
    jobs.follow(job, on_done=lambda job: _found(job, foretelling.counts(run, note)[label]), key="budget.follow")


def _ask(run: Run, note: dict[str, Any], label: str, spared: str) -> Job | None:
    now, least = note["before"][label]["measured"], preview.limits(note, label)
    higher = note["better"][label] == "higher"
    left, right = st.columns(2)
    kept = {name: state.shared(f"budget.{run.id}.{label}.{name}") for name in ("target", "loss")}  # by them the job is found again
    target = left.number_input("Target", *_within(least), value=_first(now, higher, least[1]), step=0.005, format="%.4f", **kept["target"])
    if spared == SHARE:
        may = right.number_input(
            "Accuracy may fall by, points", 0.0, 100.0, 0.3, 0.1, help="0.3 points: from 85.9 % to 85.6 %", **kept["loss"]
        )
    else:
        may = 100 * right.number_input("R² may fall by", 0.0, 1.0, 0.003, 0.001, format="%.3f", **kept["loss"])
    query = note["queries"][label]
    args = {
        "run": run.id, "query": query["name"], "query_set": query["given"], "target": target, "max_accuracy_loss": round(may / 100, 6),
        "seeds": SEEDS,
    }  # fmt: skip
    cost = f"At most {costs.retrainings(run, RETRAININGS)}; fewer for another target"
    return jobs.run_button("Find the fewest rows", "budget", args, "budget.find", cost=cost, primary=False, icon=":material/savings:")


def _within(limits: tuple[float, float]) -> tuple[float | None, float | None]:
    low, high = limits
    return (low if abs(low) < float("inf") else None, high if abs(high) < float("inf") else None)


def _first(now: float, higher: bool, most: float) -> float:
    """Return a first target, a quarter of the way to the best that there is: where predictions still reach most of the time."""
    return round(now + 0.25 * (min(most, 2 * now) - now) if higher else 0.75 * now, 4)


def _found(job: Job, n: int) -> None:
    result = job.result or {}
    st.markdown(told.finding(result, words.escaped))
    st.caption(f"{told.fewest(result)} {words.escaped(told.spared(result))} Evaluation rows, n = {n:,}.")
    points = _points(result)
    read = result["predicted"][result["question"]]["measured_label"]
    spared = R2 if result["spared"]["label"] == R2 else SHARE
    picture = frontier(points, result["taken"], result["target"], f"{read}, predicted", spared)
    alt = f"{read} predicted by rows removed, for several losses of {spared}; {len(result['ids']):,} rows reach {result['target']:g}."
    st.vega_lite_chart(picture, key="budget.frontier", alt=alt)
    with st.expander("Read as a table"):
        st.dataframe(points, hide_index=True, alt="The curves above as figures.")
    if result["retrained"]:
        st.markdown(words.escaped(told.kept(result)))
        head, cells = told.retrained(result)
        st.dataframe(pd.DataFrame(cells, columns=head), hide_index=True, alt="What models measure that were really retrained.")
    choosing.replacing(len(result["ids"]), "budget.use", on_click=_use, args=(result,))


def _points(result: dict[str, Any]) -> pd.DataFrame:
    table = pd.DataFrame(result["frontier"])
    of = (lambda x: f"{x:.4f}") if result["spared"]["label"] == R2 else (lambda x: f"{100 * x:.2f} points")
    allowed = [ANY if pd.isna(x) else of(x) for x in table["allowed"]]
    return table.assign(allowed=allowed).reset_index(drop=True)


def _use(result: dict[str, Any]) -> None:
    state.project().choose(Selection(tuple(result["ids"]), "remove", result["reason"]))
