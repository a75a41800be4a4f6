"""How true predictions are: measured against really retrained models, beside every place that shows predictions.

Each light is one badge in a row; others that say when not to trust a prediction stand in the same row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
import streamlit as st

from influence.actions import fidelity, preview
from influence.evaluation.fidelity import ROUGHLY, WELL, verdict
from influence.evidence.fidelity import FRESH, RANKS, SAME, SIZE, figures, where
from influence.jobs import Job
from influence.registry import attribution, described
from influence.store import Run
from influence.ui import asking, costs, effects, jobs, kept, smooth, state, words

UNMEASURED = "How true these predictions are was not measured yet"
SHARES = (0.01, 0.1, 0.5)
SUBSETS = (16, 32, 64, 128)
SAID: dict[str, tuple[str, Literal["green", "orange", "red", "gray"], str]] = {
    "well": ("Predicts{} well", "green", ":material/verified:"),
    "roughly": ("Predicts{} roughly", "orange", ":material/rule:"),
    "poorly": ("Predicts{} poorly", "red", ":material/warning:"),
    "unclear": ("Too few retrainings to say for{}", "gray", ":material/help:"),
}
OF = {
    "lds": "This is what scores predict.",
    "lds_measured": "The metric as people read it jumps when a prediction crosses the threshold: small removals are lost in these jumps.",
}
MEANING = f"""
**What is this?** Rows are left out at random, many times over, and each time the model is really trained again. The linear datamodeling
score (**LDS**) is the rank correlation between what the scores predicted for those sets and what happened: 1 means that the order is right,
0 that the scores are no better than chance. The word is one that the whole 95 % interval bears out: *well* if it lies above {WELL:g},
*roughly* above {ROUGHLY:g}, *poorly* below {ROUGHLY:g}; else more retrainings are needed to say.

**{SAME.capitalize()}**: the same training, with those rows' places left empty; this is what scores predict. **{FRESH.capitalize()}**:
trained anew, as next month; chance then limits what any prediction can reach, and the ceiling says how far.
"""


def light(run: Run, query: Mapping[str, Any], method: Mapping[str, Any], key: str, unmeasured: str = UNMEASURED) -> None:
    """Draw how well a method's scores for a question predict retraining, and the button that measures it.

    `query`, `method`: name and settings (`registry.described`). `unmeasured`: what is said before it is measured.
    """
    results = fidelity.kept(state.project(), run.id, query, method)
    reason = str(attribution.make("retraining").unavailable(asking.trained(run.id, str(state.project().path))))
    job = None
    with st.container(horizontal=True, vertical_alignment="center"):
        _badge(results, effects.smooth(run), unmeasured)
        with st.popover("How true is this?", icon=":material/fact_check:", key=f"{key}.about"):
            st.markdown(MEANING)
            _about(results, method)
            if reason:
                st.caption(f":material/block: It cannot be measured here. {words.escaped(reason)}")
            else:
                wanted = _wanted(run, key)
            if results and not reason:
                job = _measure(run, query, method, wanted, key, "Measure again")
    if not results and not reason:
        job = _measure(run, query, method, wanted, key, "Measure")
    checked = smooth.told(run, f"{key}.smooth") if method["name"] == "metagradient" and not reason else None
    for asked, name in ((job, "follow"), (checked, "smooth.follow")):
        if asked is not None and asked.state != "done":
            jobs.follow(asked, key=f"{key}.{name}")


def _badge(results: list[dict[str, Any]], smooth_is: str, unmeasured: str) -> None:
    """Draw the verdict on the smooth value, which scores predict, and on the metric as people read it where that is another."""
    if not results:
        st.badge(unmeasured, icon=":material/help:", color="gray")
        return
    shown = results[0]
    both = shown["lds_measured"] != shown["lds"]
    _verdict(
        shown,
        "lds",
        " the smooth version" if both else " the metric",
        fidelity.in_words(shown),
        f"{OF['lds']} {smooth_is}" if both else OF["lds"],
    )
    if both:
        _verdict(shown, "lds_measured", " the metric as read", fidelity.lds_in_words(shown, "lds_measured"), OF["lds_measured"])


def _verdict(shown: Mapping[str, Any], name: str, of: str, told: str, about: str) -> None:
    said, colour, icon = SAID[verdict(shown[f"{name}_low"], shown[f"{name}_high"])]
    st.badge(f"{said.format(of)} · {words.escaped(told)}", icon=icon, color=colour, help=about)


def of_preview(run: Run, note: Mapping[str, Any], label: str, key: str) -> None:
    """Draw the light of a prepared preview's predictions for one metric."""
    method = described(attribution.make(kept.scores(note["scores"]).method))
    n = preview.retrainings(note)
    rests = f"Calibrated by {n} retrainings; not yet compared with others" if n else UNMEASURED
    light(run, note["queries"][label], method, key, rests)


def labels(note: Mapping[str, Any]) -> list[str]:
    """Return the metrics of a preview that can get better, gaps first."""
    found = [label for label in note["labels"] if note["better"][label] != "neither"]
    return sorted(found, key=lambda label: (not preview.is_gap(label), note["labels"].index(label)))


def table(results: list[dict[str, Any]]) -> pd.DataFrame:
    """Return all measurements as text: a line per figure, a column per share of rows and truth."""
    return pd.DataFrame({where(r): figures(r) for r in results}).rename_axis("figure").reset_index()


def _about(results: list[dict[str, Any]], method: Mapping[str, Any]) -> None:
    if results:
        st.dataframe(table(results), hide_index=True, alt="LDS and slope by share of rows left out and by truth.")
    st.caption(SIZE if asking.in_unit(method["name"]) else RANKS)


def _wanted(run: Run, key: str) -> dict[str, Any]:
    """Draw the choice of what to measure; return those arguments of the job."""
    n = run.body["n"]["train"]
    left, middle, right = st.columns(3)
    shares = left.pills(
        "Left out at a time", [s for s in SHARES if round(s * n)], selection_mode="multi", default=[SHARES[0] if n >= 50 else SHARES[1]],
        format_func=lambda s: f"{100 * s:g} %", key=f"{key}.shares",
    )  # fmt: skip
    truth = middle.segmented_control(
        "Compared with", ["same", "fresh"], default="same", required=True, key=f"{key}.truth",
        format_func=lambda t: SAME if t == "same" else FRESH,
    )  # fmt: skip
    subsets = right.select_slider("Sets of rows", SUBSETS, 32, key=f"{key}.subsets")
    return {"fractions": sorted(shares), "subsets": subsets, "truth": truth}


def _measure(run: Run, query: Mapping[str, Any], method: Mapping[str, Any], wanted: dict[str, Any], key: str, label: str) -> Job | None:
    """Draw the button with its cost; return the job if there is one."""
    asked = {"run": run.id, "query": query["name"], "query_set": query["given"], "method": method["name"], "set": method["given"]}
    return jobs.run_button(
        label, "fidelity", {**asked, **wanted}, f"{key}.measure", cost=cost(run, **wanted) if wanted["fractions"] else "",
        icon=":material/fact_check:", primary=False, disabled=not wanted["fractions"],
    )  # fmt: skip


def cost(run: Run, fractions: list[float], subsets: int, truth: Any) -> str:
    """Say what a measurement costs: what still has to be trained, and how long that takes."""
    seed = (run.body.get("recipe") or {}).get("seed", 0)
    count = fidelity.to_train(state.project(), run.id, run.body["n"]["train"], seed, fractions, subsets, truth)
    if not count:
        return "No training needed: the retrained models are kept. A few seconds"
    return f"{costs.retrainings(run, count)}; they are kept for every question and method"
