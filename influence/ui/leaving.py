"""Take it with you: what leaves the project is written by a job into its folder `exports/`, and read only when somebody downloads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import streamlit as st

from influence.jobs import Job
from influence.store import Run
from influence.ui import jobs, state, words

MODEL = {
    "safetensors": "Weights and model card",
    "pt2": "and a graph that PyTorch runs alone",
    "record": "and the training, to be followed elsewhere",
}
OPENED = {"huggingface": "For the transformers library"}
"""What else a model of Hugging Face can be written as."""
TABLES = {"csv": "CSV", "parquet": "Parquet"}
MIME = {".zip": "application/zip", ".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}
LARGEST = 1_000_000_000
"""Bytes that a browser is offered; larger files are taken from the folder."""


def offer(run: Run) -> None:
    """Draw the section: the model, and the training data without the rows that were removed from it or are selected."""
    st.subheader("Take it with you", anchor=False)
    if run.parent:
        both = {r.id: r for r in (run, state.project().run(run.parent))}
        names = words.run_names(both.values())
        run = both[st.selectbox("Which model", list(both), format_func=names.__getitem__, key=f"leaving.which.{run.id}")]
    left, right = st.columns(2, gap="large")
    with left:
        _model(run)
    with right:
        _data(run)


def _model(run: Run) -> None:
    st.markdown("**The model**")
    forms = MODEL | (OPENED if run.body["model"]["name"] in OPENED else {})
    form = st.selectbox("What to write", list(forms), format_func=forms.__getitem__, key="leaving.form", persist_state="session")
    st.caption(
        "A folder without code: weights, architecture and preprocessing, and a model card with data, figures, claim and limits. It can be "
        "brought again on *Bring a model*."
    )
    job = jobs.run_button(
        "Write the model", "export_model", {"run": run.id, "format": form}, "leaving.model", icon=":material/archive:", primary=False
    )
    jobs.follow(job, lambda done: _download(done, "leaving.model.file"), key="leaving.model.follow")
    _track(run)


def _track(run: Run) -> None:
    """Draw the way to the MLflow store that this server was started with; no page names another one."""
    store = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not store:
        return
    args = {"run": run.id, "store": store}
    job = jobs.run_button("Write to MLflow", "export_run", args, "leaving.track", icon=":material/lab_profile:", primary=False)
    jobs.follow(job, _tracked, key="leaving.track.follow")


def _tracked(job: Job) -> None:
    """Draw where a run stands in MLflow."""
    done = job.result or {}
    st.caption(words.escaped(f"In MLflow, experiment {done['experiment']}, as run {done['mlflow_run']}."))


def _data(run: Run) -> None:
    st.markdown("**The data without the rows**")
    removed, corrected = len(run.body.get("removed", ())), run.body.get("n_relabelled", 0)
    chosen = None if removed or corrected else state.selection()
    if not removed and not corrected and chosen is None:
        st.caption("This model does without no row, and none is selected: the data are those that were brought.")
        return
    if corrected and not removed:
        st.caption(f"The training rows as Parquet and CSV, with {words.count(corrected, 'corrected label')}, and the list of these.")
    else:
        n = words.count(removed or len(chosen or ()), "removed row" if removed else "selected row")
        st.caption(f"The training rows that are left, as Parquet and CSV, and the list of {n} with rule, score, rank and claim.")
    args: dict[str, Any] = {"run": run.id}
    args |= {"selection": state.project().put_selection(chosen)} if chosen else {}
    job = jobs.run_button("Write the data", "export_data", args, "leaving.data", icon=":material/table:", primary=False)
    jobs.follow(job, lambda done: _download(done, "leaving.data.file"), key="leaving.data.follow")


def scores(run: Run, found: dict[str, Any]) -> None:
    """Draw the way out of kept scores."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control(
            "Scores as a file", list(TABLES), default="csv", required=True, format_func=TABLES.__getitem__, key="leaving.kind"
        )
        args = {"run": run.id, "scores": found["scores"], "kind": kind}
        job = jobs.run_button("Write the scores", "export_scores", args, "leaving.scores", icon=":material/table:", primary=False)
    jobs.follow(job, lambda done: _download(done, "leaving.scores.file"), key="leaving.scores.follow")


def _download(job: Job, key: str) -> None:
    """Draw the download of what a job wrote; it is read when the button is pressed."""
    path = Path((job.result or {}).get("path", ""))
    if not path.is_file():
        st.caption("It was written before, but its file is gone. Write it again.")
        return
    size = path.stat().st_size
    with st.container(horizontal=True, vertical_alignment="center"):
        if size <= LARGEST:
            st.download_button("Download", path.read_bytes, path.name, MIME.get(path.suffix), key=key, icon=":material/download:")
        st.caption(f"{path.name}, {words.size(size)}, in the project's folder `{path.parent.name}`", width="content")
