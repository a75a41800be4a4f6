"""Run's middle part: which rows go, by which method at what cost, the run as it happens, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from influence import jobs as queue
from influence.actions._oracles import ROWS
from influence.actions._refit import REFITTED
from influence.actions._requests import requests
from influence.errors import BadInput
from influence.jobs import Job
from influence.registry import queries, unlearning
from influence.store import Run
from influence.types import Selection
from influence.ui import claims, comparing, costs, forms, jobs, lanes, live, racing, remaining, requesting, standing, state, stepping, words

ONE, SEVERAL = "One method", "Race several"
REMOVES = "It only removes rows."
ATTACK = (
    " Above 0.5, its loss tells the {rows} from unseen ones; less than the retrained model's is no success either: those rows "
    "stand out. Grey: where chance lies (95 %) for rows like unseen ones."
)


def start(run: Run, selection: Selection) -> None:
    """Draw what is to be forgotten and how, and the button that starts it."""
    if not rows(run, selection):
        return
    requesting.returning(run, selection, "run.back")
    selection = remaining.still(run, selection)
    many = SEVERAL == st.segmented_control(
        "How many methods", [ONE, SEVERAL], default=ONE, required=True, key="run.many", label_visibility="collapsed"
    )
    relabel = selection.action == "relabel"
    left, right = st.columns([2, 1], gap="medium")
    with right:
        query = gap(run)
    chosen = state.project().put_selection(selection)  # the rows shown here, whatever is selected when the job's turn comes
    if many:
        with left:
            racing.start(run, {"run": run.id, "group": state.group(), "query": query, "selection": chosen})
        return
    with left:
        name, given = method(run, relabel)
    if name:
        args = {"run": run.id, "method": name, "set": given, "group": state.group(), "query": query, "selection": chosen}
        label = "Start correcting labels" if relabel else "Start unlearning"
        no = claims.refused(run, selection, name, given)
        jobs.run_button(label, "unlearn", args, "run.start", cost=costs.whole(run, name, selection, given), disabled=no)
        st.caption(claims.line(run, selection, name, given))


def elsewhere(run: Run) -> None:
    """Say whose it is, with the way there, if another model's job is under way or stands in the address."""
    job = jobs.shown("unlearn")
    if job is None or job.args.get("run") == run.id:
        return
    try:
        other = state.project().run(str(job.args.get("run")))
    except BadInput:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        what = "The job in the address was" if job.over else "The job under way is"
        st.caption(f"{what} asked of another model, {words.escaped(words.run_name(other))}.", width="content")
        state.link("run", "See it there", run=other.id, group="", job=job.id)


def rows(run: Run, selection: Selection) -> bool:
    """Draw which rows are to go: how many of how many, and why; return whether there are any that the model was trained on."""
    try:
        state.dataset(run).train.mask(selection.ids)
    except BadInput:
        st.warning("The selected rows belong to other data. Select rows of this model's training data on Plan.", icon=":material/warning:")
        state.link("plan", "Change the rows on Plan")
        return False
    if requesting.nothing_left(run, selection):
        state.link("plan", "Choose other rows on Plan")
        return False
    total, n = remaining.seen(run), len(selection)
    why = words.escaped(selection.reason.get("words", selection.reason.get("rule", "picked by hand"))).rstrip(".")
    done = f"will be {words.asked((selection.action,)).done}"
    part = remaining.partly(run, selection)
    whole = f"**{words.count(n, 'row')}** of {total:,} training rows ({words.percent(n / total)}) {done}: {why}."
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"{part} They {done}. Selected: {why}." if part else whole, width="content")
        state.link("plan", "Change them on Plan")
    return True


def method(run: Run, relabel: bool) -> tuple[str, dict[str, Any]]:
    """Draw the choice among the methods that are open to the model and can do it; return its id and settings, or ("", {})."""
    trained = state.project().trained(run.id)

    def closed(made: Any) -> str:
        return REMOVES if relabel and not getattr(made, "relabels", False) else str(made.unavailable(trained))

    hidden = ("guard", *(("preprocessing",) if relabel else ()))  # watched groups are guarded; other labels leave the inputs as they are
    return forms.choose(unlearning, "run.method", "How", closed, first=costs.FIRST, hidden=hidden)


def gap(run: Run) -> str:
    """Draw the choice of the gap to watch, if there are groups; return the query's id or ""."""
    if not state.group():
        return ""
    classes = bool(run.body.get("metrics", {}).get("accuracy") is not None)
    names = [name for name in queries.classes if name.endswith("_gap") and (classes or name in standing.GAPS[1:])]
    usual = standing.GAPS[0] if classes else standing.GAPS[1]
    start = names.index(usual) if usual in names else 0
    about = "On holdout rows while the model forgets. Methods that watch the retained rows watch its 12 largest groups, too."
    label = f"Gap to watch, by {words.escaped(state.group())}"
    return st.selectbox(label, names, index=start, format_func=words.title, key="run.gap", help=about, persist_state="session") or ""


def tried(run: Run, selection: Selection | None, job: Job | None) -> list[lanes.Lane]:
    """Return the methods that were asked to forget the rows of the job that is shown, else the selected ones."""
    of = str(job.args.get("selection") or "") if job else ""
    if not of and selection is not None:
        of = state.project().put_selection(remaining.still(run, selection))
    return lanes.found(run, of) if of else []


def race(run: Run, found: Sequence[lanes.Lane]) -> None:
    """Draw several methods side by side, and one of those that are over from near."""
    first = found[0]
    racing.board(run, str(first.job.args["selection"]) if first.job else str(first.run.body["selection"]))  # type: ignore[union-attr]
    chosen = racing.closer(found)
    if chosen:
        closer(chosen)


def closer(lane: lanes.Lane) -> None:
    """Draw what came of one method."""
    if lane.again:
        st.caption(lane.note)
    if lane.job:
        jobs.follow(lane.job, result, curves, key="run")
    elif lane.run:
        outcome(lane.run, state.group())


def curves(job: Job) -> None:
    """Draw what a job has measured so far: a chart per panel with a sentence below, and all of it as a table.

    Of a job that is over one line says what was never measured, and why.
    """
    found = live.read(queue.metrics(state.project(), job.id))
    (removed, unseen), relabelled = sizes(job), asked(job).action == "relabel"
    shown = live.panels(found, str(job.args.get("query") or ""), str(job.args.get("group") or state.group()), removed, unseen, relabelled)
    if not shown:
        return
    drawn = [panel for panel in shown if not job.over or live.drawable(found, panel)]
    if drawn:
        st.caption(
            f"Dotted: the original model{_before(job)}. {racing.dashed(found, relabelled)}{measured_on(removed, unseen, relabelled)}"
        )
    half = [panel for panel in drawn if not panel.wide]
    for place in range(0, len(half), 2):
        for column, panel in zip(st.columns(2), half[place : place + 2], strict=False):
            with column:
                _drawn(found, panel, job.over, relabelled)
    for panel in (panel for panel in drawn if panel.wide):
        _drawn(found, panel, job.over, relabelled)
    if without := [panel.title for panel in shown if panel not in drawn]:
        st.caption(f"No curve of {words.escaped('; '.join(without))}: {_why_none(job, bool(drawn))}")
    with st.expander("Read as a table", icon=":material/table_rows:", key=f"live.table.{job.id}", on_change="rerun") as opened:
        if opened.open:
            st.dataframe(live.table(found, shown), hide_index=True, alt="The values of the curves, step by step")


def _before(job: Job) -> str:
    """Return what stands as the original of a further request, in words; "" of a first one."""
    run = state.project().run(str(job.args["run"])) if job.args.get("run") else None
    return ", which here is the model before this request, itself made by unlearning" if run and run.kind == "unlearn" else ""


def _why_none(job: Job, others: bool) -> str:
    """Return why a job that is over measured nothing, or, where there are `others`, not all that can be."""
    if job.state != "done":
        return "it stopped before its first measurement."
    if not others:
        return "this model was kept from before, so that nothing was measured on the way. What it comes to is on Compare."
    if (job.args.get("set") or {}).get("preprocessing") == REFITTED:
        return "its inputs were made anew, and are not those of the models beside it."
    return "this method does not measure it."


def _drawn(found: live.Curves, panel: live.Panel, over: bool, relabelled: bool) -> None:
    told = live.sentence(found, panel, over)
    st.altair_chart(live.chart(found, panel), key=f"live.{panel.title}", alt=f"{panel.title}: {told}")
    attack = ATTACK.format(rows=live.called(relabelled)["forget_loss"].lower())
    st.caption(told + (attack if panel.title == live.ATTACK else ""))


def asked(job: Job) -> Selection:
    """Return the rows that a job was asked to have forgotten; none if they are not known."""
    chosen = job.args.get("selection")
    return state.project().selection(chosen) if chosen else Selection(())


def sizes(job: Job) -> tuple[int, int]:
    """Return how many rows a job removes, and how many holdout rows there are."""
    run = state.project().run(str(job.args["run"])) if job.args.get("run") else state.current_run()
    rows = asked(job)
    return (remaining.left(run, rows), run.body.get("n", {}).get("holdout", 0)) if run else (len(rows), 0)


def measured_on(removed: int, unseen: int, relabelled: bool = False) -> str:
    """Return on how many rows the curves are measured."""
    rows = f"the {words.count(removed, 'row')} to forget" if removed else "the rows to forget"
    rows = f"the {words.count(removed, 'relabelled row')} by their old labels" if relabelled else rows
    return f"Measured on {words.count(unseen, 'holdout row')}, {rows}, and up to {ROWS:,} retained rows; intervals are on Compare."


def result(job: Job) -> None:
    """Draw what came of it, and the way on."""
    made = state.project().run(str((job.result or {})["run"]))
    outcome(made, str(job.args.get("group") or state.group()))


def outcome(made: Run, group: str) -> None:
    """Draw what came of a run that was made to forget, the states it went through, and the way on."""
    found = made.body
    before, once = state.project().run(made.parent), costs.prepared(found)
    sentences = [f"The model {words.became(found)} is ready after {words.duration(found.get('seconds'))}{once and f'; {once}'}."]
    name, old = standing.gap_of(before, group)
    if name:
        new = standing.gap_of(made, group)[1]
        sentences.append(
            f"{words.title(name)}: {words.figure(old)} before, {words.figure(new)} after. {standing.turned(before, made, group)}".rstrip()
        )
    sentences.append(f"{standing.headline(before)} before; {standing.headline(made)} after.")
    st.success("  \n".join(sentences), icon=":material/check_circle:")
    relabel, why = bool(found.get("n_relabelled")), str(found.get("claim_note", ""))
    level = words.claim(str(found.get("claim", "")), requests(state.project(), made))
    st.caption(f"Claim: {level.name}. {level.meaning} {why}{claims.higher(before, found['method']['name'], why, relabel)}")
    if relabel:
        st.caption("Figures of the relabelled rows are by the labels that they had: what the model should no longer say of them.")
    with st.container(horizontal=True):
        state.link("compare", "Compare it with the other models", run=made.id)
        state.link("verify", "Verify it", run=made.id)
    comparing.after_others(made)
    stepping.section(made)
