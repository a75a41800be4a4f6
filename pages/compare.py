"""Compare: original, unlearned and retrained side by side, on the holdout rows."""

from __future__ import annotations

import streamlit as st

from influence.ui import compared_decisions, compared_inside, compared_metrics, compared_predicted, compared_rows, comparing, jobs, state

ROWS = "Forgotten rows"
PARTS = {
    "Metrics": compared_metrics.metrics,
    "Decisions": compared_decisions.decisions,
    "Representations": compared_inside.representations,
    ROWS: compared_rows.forgotten,
    "Predicted": compared_predicted.changes,
}
state.page("Compare", "Original, unlearned and retrained side by side, measured on the holdout rows.")
state.need_run()
run = comparing.choose()
if run is None:
    st.stop()
args = {"run": run.id, "group": state.group()}
found = comparing.kept_comparison(run)
if found is None:
    if comparing.older(run):
        st.caption("This model was compared by an older version of Lethe. Compare it again.")
    job = jobs.run_button("Compare", "compare", args, "compare.run", cost="A few seconds: each model is measured on all rows")
    jobs.follow(job, key="compare.follow")
    st.stop()
comparing.claim(run)
comparing.untouched(run)
comparing.after_others(run)
comparing.beside(run, found)
part = st.segmented_control(
    "Part",
    list(PARTS),
    default="Metrics",
    required=True,
    label_visibility="collapsed",
    **state.shared("compare.part", lambda part: f"{comparing.part_name(run, 'forgotten').title()} rows" if part == ROWS else part),
)
PARTS[part](run, found)
state.link("verify", "Verify it", ":material/verified:", run=run.id)
state.link("report", "Write the report", ":material/arrow_forward:", run=run.id)
