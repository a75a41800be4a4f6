"""The parts of the Verify page: the button with what it costs, the verdict, and each measure beside the oracles."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.actions import _pace, verify
from influence.charts.standing import standing
from influence.jobs import Job
from influence.store import Run
from influence.ui import jobs, state, words

COUNTS = (24, 64, 128)
RUNS = {0: "this model alone", 12: "12 runs of its method", 24: "24 runs of its method"}
SAID = {"inside": "as the oracles", "outside": "not as the oracles", "too few": "too few oracles"}
ORACLE = (
    "An oracle is this model's recipe trained anew, from a new seed, without the removed rows: what the model would have been had it never "
    "seen them. No two are equal, so the question is not whether the model equals one, but whether it can be told from them."
)


def ask(run: Run) -> Job | None:
    """Draw how many oracles to judge by, and the button; return its job if there is one."""
    st.caption(ORACLE)
    with st.container(horizontal=True):
        count = st.segmented_control("Oracles", COUNTS, default=verify.ORACLES, required=True, key="verify.count")
        runs = st.segmented_control(
            "Judge", list(RUNS), default=0, required=True, format_func=RUNS.__getitem__, key="verify.runs",
            help="Of a method: train and forget again, each time from another seed. It costs a training and a run of the method each.",
        )  # fmt: skip
    args = {"run": run.id, "oracles": count, "runs": runs}
    return jobs.run_button("Verify", "verify", args, "verify.run", cost=cost(run, count, runs), icon=":material/verified:")


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
    return f"{words.count(new, 'new oracle')} to train{about}; kept for every method that forgets the same rows"


def verdict(found: dict[str, Any]) -> None:
    """Say the verdict of all measures together, as a box of its colour."""
    box = {"inside": st.success, "outside": st.error, "too few": st.warning}[found["overall"]["verdict"]]
    icon = {"inside": ":material/check_circle:", "outside": ":material/cancel:", "too few": ":material/help:"}
    box(words.escaped(verify.in_words(found)), icon=icon[found["overall"]["verdict"]])


def measures(found: dict[str, Any]) -> None:
    """Draw every measure beside the oracles, and the figures as a table."""
    every = list(found["measures"].values())
    st.plotly_chart(
        standing(every), key="verify.standing", config={"displayModeBar": False},
        alt="Each measure of this model beside the oracles' values; the table below holds the figures.",
    )  # fmt: skip
    st.caption("Dots: oracles. Band: where 95 % of them lie. Diamond: this model; an arrow points where it lies further out.")
    _table(every, "oracles, 95 %")
    n = found["n"]
    kinds = (("forget", "removed row"), ("retained", "retained row"), ("unseen", "holdout row"))
    rows = ", ".join(words.count(n[part], name) for part, name in kinds)
    rows += f" (of {found['forgot']:,} removed)" if found["forgot"] > n["forget"] else ""
    st.caption(
        f"On {rows}; {words.count(found['oracles'], 'oracle')}. The verdict above is corrected for how many measures there are: "
        "one measure alone may lie outside by chance."
    )


def method(found: dict[str, Any]) -> None:
    """Show the tests of the method, if it was judged: what its models do beside oracles, and what relabelled ones do."""
    if not found.get("method"):
        return
    st.subheader("The method, not this model alone", anchor=False)
    _table(list(found["method"].values()), "by chance, 95 %")
    st.caption(
        f"{words.count(found['runs'], 'original')}, each trained from its own seed, forgot the same rows by the same method. By chance: "
        "the same figure where it is drawn by lot which models are called oracles; so few models alone make it differ from 0."
    )


def _table(every: list[dict[str, Any]], band: str) -> None:
    table = pd.DataFrame(
        {
            "measure": [each["label"] + (f", {each['unit']}" if each["unit"] else "") for each in every],
            "value": [words.number(each["value"]) for each in every],
            band: [words.interval(each["null_low"], each["null_high"]) for each in every],
            "as unusual": [f"{verify.as_unusual(each['chance'], len(each['oracles']))} of {len(each['oracles']):,}" for each in every],
            "": [SAID[each["verdict"]] for each in every],
        }
    )
    st.dataframe(table, hide_index=True, alt="Each measure with its value, the band of oracles, and how many are as unusual.")


def meaning() -> None:
    """Explain what each measure tells, folded."""
    with st.expander("What do the measures tell, and what do they not?", icon=":material/help:"):
        from influence.registry import method_verification, verification

        for kind in (verification, method_verification):
            for name, test in kind.classes.items():
                st.markdown(f"**{words.escaped(test.label)}.** {words.escaped(' '.join(kind.explain(name).split()))}")  # type: ignore[attr-defined]
        st.markdown(
            "A model that passes behaves on these rows as one that never saw them, as far as these measures see. It is no proof that "
            "nothing of them is left in the weights: only retraining, or a certified method, can claim that."
        )
