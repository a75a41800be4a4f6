"""The parts of the Verify page: the button with what it costs, the verdict, and each measure beside the oracles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.actions import _pace, verify
from influence.charts.relearned import relearned
from influence.charts.standing import standing
from influence.jobs import Job
from influence.store import Run
from influence.ui import comparing, jobs, state, whole, words

COUNTS = (24, 64, 128)
RUNS = {0: "this model alone", 12: "12 runs of its method", 24: "24 runs of its method"}
METHOD = "Of a method: train and forget again, each time from another seed. It costs a training and a run of the method each."
BOXES = {
    "inside": (st.success, ":material/check_circle:"),
    "outside": (st.error, ":material/cancel:"),
    "blind": (st.warning, ":material/visibility_off:"),
    "too few": (st.warning, ":material/help:"),
}
ORACLE = (
    "An oracle is this model's recipe trained anew, from a new seed, without the removed rows or old labels: what the model would have "
    "been had it never seen them. No two are equal, so the question is not whether the model equals one, but whether it can be told from "
    "them."
)


def ask(run: Run) -> Job | None:
    """Draw how many oracles to judge by, and the button, or why there can be none; return its job if there is one."""
    st.caption(ORACLE)
    if reason := _refused(run.id, str(state.project().path)):
        st.info(words.escaped(reason), icon=":material/info:")
        state.link("load", "Train a model here")
        return None
    closed = verify.closed(state.project(), run)
    with st.container(horizontal=True):
        count = st.segmented_control("Oracles", COUNTS, default=verify.ORACLES, required=True, key="verify.count")
        runs = st.segmented_control(
            "Judge", list(RUNS), default=0, required=True, format_func=RUNS.__getitem__, key="verify.runs",
            help=closed or METHOD,
            disabled=bool(closed),
        )  # fmt: skip
    runs = 0 if closed else runs
    args = {"run": run.id, "oracles": count, "runs": runs}
    return jobs.run_button("Verify", "verify", args, "verify.run", cost=cost(run, count, runs), icon=":material/verified:")


@st.cache_resource(show_spinner=False, max_entries=32)
def _refused(run: str, _path: str) -> str:
    return verify.refused(state.project(), state.project().run(run))


def cost(run: Run, count: int, runs: int = 0) -> str:
    """Say how many models have to be trained and how long that will take."""
    project = state.project()
    new = max(0, count - verify.held(project, run))
    if runs:
        pace = _pace.estimate(project, run, new + runs)
        about = f", {words.about(pace.seconds)} and what the method takes" if pace else ""
        return f"Up to {words.count(new, 'new oracle')} and {words.count(runs, 'run')} of the method from new originals{about}"
    if not new:
        return "No training: the oracles are kept. A few seconds"
    pace = _pace.estimate(project, run, new)
    about = f", {words.about(pace.seconds)}" if pace else ""
    learn = f"each then learns the {comparing.rows(run)} again, {verify.STEPS} small steps"
    shared = "Kept for every method that forgets the same rows on the same preprocessing"
    return f"{words.count(new, 'new oracle')} to train{about}; {learn}. {shared}"


def verdict(found: dict[str, Any]) -> None:
    """Say the verdict of all measures together, as a box of its colour; a pass that shows nothing is no success."""
    name = "blind" if verify.blind(found) else found["overall"]["verdict"]
    box, icon = BOXES[name]
    box(words.escaped(verify.in_words(found)), icon=icon)


def onward(run: Run, found: dict[str, Any]) -> None:
    """Under a verdict that the model can be told, offer to forget the same rows by another method."""
    label, icon = "Retrain it, or try another method", ":material/restart_alt:"
    if found["overall"]["verdict"] == "outside" and st.button(label, key="verify.onward", icon=icon):
        state.project().choose(state.project().selection(run.body["selection"]))  # Run asks for the rows that are selected
        state.go("run", run=str(run.parent))


def measures(found: dict[str, Any]) -> None:
    """Draw every measure beside the oracles, and the figures as a table."""
    every = [{**each, "label": verify.said_of(each["label"], found)} for each in found["measures"].values()]
    st.plotly_chart(
        standing(every), key="verify.standing", config={"displayModeBar": False},
        alt="Each measure of this model and of the original beside the oracles' values; the table below holds the figures.",
    )  # fmt: skip
    st.caption(
        "Dots: oracles. Band: where at least 95 % of such models lie. Diamond: this model; hollow: the original, which saw the "
        f"{verify.asked(found).gone}. An arrow points where one lies further out."
    )
    _table(dict(zip(found["measures"], every, strict=True)), "oracles, 95 %")
    st.caption(
        f"On {verify.measured_on(found)}; {words.count(found['oracles'], 'oracle')}. The verdict above is of all measures together, "
        f"corrected for how many there are: one alone may lie outside by chance. {words.escaped(verify.original_in_words(found))}"
    )


def method(found: dict[str, Any]) -> None:
    """Show the tests of the method, if it was judged: what its models do beside oracles, and what relabelled ones do."""
    if not found.get("method"):
        return
    st.subheader("The method, not this model alone", anchor=False)
    _table(found["method"], "by chance, 95 %")
    for line in verify.method_in_words(found):
        st.markdown(words.escaped(line))
    st.caption(verify.tested(found))


def _table(every: dict[str, dict[str, Any]], band: str) -> None:
    told = list(every.values())
    beside = [words.band(each["value"], each["null_low"], each["null_high"], each["side"]) for each in told]
    table = pd.DataFrame(
        {
            "measure": [each["label"] + (f", {each['unit']}" if each["unit"] else "") for each in told],
            "value": [value for value, _ in beside],
            **({"original": [words.number(each["original"]) for each in told]} if "original" in told[0] else {}),
            band: [ends for _, ends in beside],
            "as unusual by it alone": [
                f"{verify.as_unusual(each['chance'], len(each['oracles']))} of {len(each['oracles']):,}" for each in told
            ],
            "": [verify.said(name, each) for name, each in every.items()],
        }
    )
    st.dataframe(table, hide_index=True, alt="Each measure with its value, the band of oracles, and how many are as unusual.")


def more(found: dict[str, Any]) -> None:
    """Tell the rest, a tab each: groups before and after, learning the rows again, and the attack at few false alarms."""
    groups, again, attack = st.tabs(["Groups, before and after", "Learning the rows again", "Likelihood-ratio attack at few false alarms"])
    with groups:
        _groups(found)
    with again:
        _again(found)
    with attack:
        attacked = "How many removed rows the likelihood-ratio attack picks out while it is wrong about hardly any row that no model saw:"
        st.markdown(verify.said_of(attacked, found))
        st.markdown("\n".join(f"- {words.escaped(line)}" for line in verify.attack_in_words(found)))


def _groups(found: dict[str, Any]) -> None:
    rows = pd.DataFrame(found["fairness"]["rows"])
    st.markdown(words.escaped(verify.fairness_in_words(found)))
    if rows.empty:
        return
    columns = [column for column in dict.fromkeys(rows["column"]) if column]
    first = columns.index(state.group()) if state.group() in columns else 0
    column = st.selectbox("Groups by", columns, first, key="verify.group") if len(columns) > 1 else next(iter(columns), "")
    rows = rows[rows["column"].isin(["", column])].sort_values("verdict", key=lambda v: v != "outside", kind="stable")
    beside = [words.band(*each) for each in rows[["value", "null_low", "null_high"]].itertuples(index=False)]
    table = pd.DataFrame(
        {
            "figure": rows["metric"].map(words.title),
            "group": rows["group"].where(rows["group"] != "", np.where(rows["column"] == "", "all rows", "all groups")),
            "n": rows["n"],
            "original": rows["original"].map(words.number),
            "this model": [value for value, _ in beside],
            "oracles, 95 %": [ends for _, ends in beside],
            "": rows["verdict"].map(verify.SAID),
        }
    )
    shape = whole.shape(table)
    st.dataframe(
        table, hide_index=True, column_config=shape, alt="Each figure of the original, of this model and of the oracles, on holdout rows."
    )
    st.caption("On holdout rows. The last column is corrected for how many figures there are.")


def _again(found: dict[str, Any]) -> None:
    curves = found["relearned"]
    if not curves:
        st.markdown("Not measured for models that are trained in shards.")
        return
    rows = verify.said_of("removed rows", found)
    only, none = verify.asked(found) == verify.RELABELLED, verify.asked(found) == words.asked(())
    labels = "" if none else ", with their old labels" if only else ", relabelled ones with their old labels"
    st.markdown(
        f"Each model takes the same few, small steps on the {rows} alone{labels}. One in which something of them is left learns them "
        f"faster than models that never saw them. {words.escaped(verify.relearned_in_words(found))}"
    )
    st.plotly_chart(
        relearned(curves, rows), key="verify.relearned", config={"displayModeBar": False},
        alt=f"Loss on {rows} by step of learning them again: this model, the original, and the band of oracles.",
    )  # fmt: skip


def meaning(found: dict[str, Any] | None) -> None:
    """Explain what each measure tells, folded."""
    with st.expander("What do the measures tell, and what do they not?", icon=":material/help:"):
        from influence.registry import method_verification, verification

        if found and verify.asked(found) != words.asked(()):
            st.markdown("What is said of removed rows is of relabelled ones, too, by their old labels.")
        for kind in (verification, method_verification):
            for name, test in kind.classes.items():
                st.markdown(f"**{words.escaped(test.label)}.** {words.escaped(' '.join(kind.explain(name).split()))}")  # type: ignore[attr-defined]
        st.markdown(f"**{verify.RELEARN}.** {verify.RELEARNT}")
        st.markdown(
            "A model that passes behaves on these rows as one that never saw them, as far as these measures see. It is no proof that "
            "nothing of them is left in the weights: only retraining, or a certified method, can claim that."
        )
