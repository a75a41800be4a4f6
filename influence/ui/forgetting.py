"""Run's middle part: which rows go, by which method at what cost, the run as it happens, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from influence import jobs as queue
from influence.errors import BadInput
from influence.jobs import Job
from influence.registry import queries, unlearning
from influence.store import Run
from influence.types import Selection
from influence.ui import forms, jobs, live, standing, state, words

FIRST = "retrain"
"""The honest baseline is offered first."""


def start(run: Run, selection: Selection) -> None:
    """Draw what is to be forgotten and how, and the button that starts it."""
    if not rows(run, selection):
        return
    left, right = st.columns([2, 1], gap="medium")
    with left:
        name, given = method(run)
    with right:
        query = gap(run)
    if name:
        chosen = state.project().put_selection(selection)  # the rows shown here, whatever is selected when the job's turn comes
        args = {"run": run.id, "method": name, "set": given, "group": state.group(), "query": query, "selection": chosen}
        jobs.run_button("Start unlearning", "unlearn", args, "run.start", cost=cost(run, name))


def rows(run: Run, selection: Selection) -> bool:
    """Draw which rows are to go: how many of how many, and why; return whether they are rows of this model's data."""
    try:
        state.dataset(run).train.mask(selection.ids)
    except BadInput:
        st.warning("The selected rows belong to other data. Select rows of this model's training data on Plan.", icon=":material/warning:")
        state.link("plan", "Change the rows on Plan")
        return False
    total = run.body["n"]["train"] - len(run.body.get("removed", ()))
    why = words.escaped(selection.reason.get("words", selection.reason.get("rule", "picked by hand"))).rstrip(".")
    with st.container(horizontal=True, vertical_alignment="center"):
        share = words.percent(len(selection) / total)
        st.markdown(
            f"**{words.count(len(selection), 'row')}** of {total:,} training rows ({share}) will be removed: {why}.", width="content"
        )
        state.link("plan", "Change them on Plan")
    return True


def method(run: Run) -> tuple[str, dict[str, Any]]:
    """Draw the choice among the methods that are open to the model; return its id and settings, or ("", {})."""
    trained = state.project().trained(run.id)
    return forms.choose(unlearning, "run.method", "How", lambda made: str(made.unavailable(trained)), first=FIRST)


def gap(run: Run) -> str:
    """Draw the choice of the gap to watch, if there are groups; return the query's id or ""."""
    if not state.group():
        return ""
    classes = bool(run.body.get("metrics", {}).get("accuracy") is not None)
    names = [name for name in queries.classes if name.endswith("_gap") and (classes or name in standing.GAPS[1:])]
    usual = standing.GAPS[0] if classes else standing.GAPS[1]
    start = names.index(usual) if usual in names else 0
    label, about = f"Gap to watch, by {words.escaped(state.group())}", "Measured on holdout rows while the model forgets."
    return st.selectbox(label, names, index=start, format_func=words.title, key="run.gap", help=about, persist_state="session") or ""


def cost(run: Run, name: str) -> str:
    """Return what a method costs on this model, in words."""
    told = str(getattr(unlearning.classes[name], "cost", "")).rstrip(".")
    beside = "" if name == FIRST else " For comparison the model is retrained as well, once."
    return f"{told}. Training took {words.duration(run.body.get('seconds'))} in all.{beside}"


def curves(job: Job) -> None:
    """Draw what a job has measured so far: a chart per panel with a sentence below, and all of it as a table."""
    found = live.read(queue.metrics(state.project(), job.id))
    shown = live.panels(found, str(job.args.get("query") or ""), str(job.args.get("group") or state.group()))
    if not shown:
        return
    dashed = "Dashed: the model retrained without the rows. " if found.references.get("retrained") else ""
    st.caption(f"Dotted: the original model. {dashed}{measured_on(job)}")
    for place in range(0, len(shown), 2):
        for column, panel in zip(st.columns(2), shown[place : place + 2], strict=False):
            with column:
                told = live.sentence(found, panel)
                st.altair_chart(live.chart(found, panel), key=f"live.{panel.title}", alt=f"{panel.title}: {told}")
                st.caption(told)
    with st.expander("Read as a table", icon=":material/table_rows:", key=f"live.table.{job.id}", on_change="rerun") as opened:
        if opened.open:
            st.dataframe(live.table(found, shown), hide_index=True, alt="The values of the curves, step by step")


def measured_on(job: Job) -> str:
    """Return on how many rows the curves are measured."""
    run = state.project().run(str(job.args["run"])) if job.args.get("run") else state.current_run()
    n = run.body.get("n", {}).get("holdout", 0) if run else 0
    return f"Measured on {words.count(n, 'holdout row')}, the rows to forget, and up to 4,096 retained rows; intervals are on Compare."


def result(job: Job) -> None:
    """Draw what came of it, and the way on."""
    found: Mapping[str, Any] = job.result or {}
    made = state.project().run(str(found["run"]))
    before = state.project().run(made.parent)
    sentences = [
        f"The model without {words.count(int(found.get('n_removed', 0)), 'row')} is ready after {words.duration(found.get('seconds'))}."
    ]
    group = str(job.args.get("group") or state.group())
    name, old = standing.gap_of(before, group)
    if name:
        new = standing.gap_of(made, group)[1]
        sentences.append(f"{words.title(name)}: {words.figure(old)} before, {words.figure(new)} after.")
    sentences.append(f"{standing.headline(before)} before; {standing.headline(made)} after.")
    st.success("  \n".join(sentences), icon=":material/check_circle:")
    level = words.claim(str(found.get("claim", "")))
    st.caption(f"Claim: {level.name}. {level.meaning} {found.get('claim_note', '')}")
    state.link("compare", "Compare it with the other models", run=before.id)
