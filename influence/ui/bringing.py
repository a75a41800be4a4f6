"""Bring a model that was trained elsewhere: which files, which data, what is known of it; then one job that checks it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from influence.data.arrays import is_arrays
from influence.errors import BadInput
from influence.exchange import snippets
from influence.jobs import Job
from influence.registry import models
from influence.ui import checks, imaging, jobs, loading, modelfiles, sheets, sources, standing, state, texts, words
from influence.ui.source import Source

AUTO = "auto"
WEIGHTS = ("safetensors", "pt", "pth", "ckpt", "pt2", "zip")
ASKED = "bring.asked"
MODEL = "A record (the folder that recorder.save wrote) or a folder of Hugging Face, zipped; or one file of weights or a graph (.pt2)"
DATA = "The data folder that influence.save_data wrote, zipped"
KINDS = {"arrays": "The arrays it saw", "table": "A table or images"}


def how() -> None:
    """Draw what to add to one's own program, folded."""
    with st.expander("How do I get my model here?", icon=":material/code:"):
        st.markdown(
            "Two calls in your own program write everything that Lethe can use: the data as the model saw it, and the course of its "
            "training. Nothing of your code is brought, and nothing in these files is ever executed. With the record all methods are open; "
            "with weights alone, those that need no recipe."
        )
        left, right = st.columns(2)
        with left:
            st.caption("The training, recorded while it runs")
            st.code(snippets.RECORDER, language="python")
            st.caption("Or a fine-tuning by the Trainer of transformers")
            st.code(snippets.TRAINER, language="python")
        with right:
            st.caption("The data")
            st.code(snippets.DATA, language="python")
            st.caption("A data set that says which row each example is")
            st.code(snippets.PLACES, language="python")
            st.caption("Or only checkpoints, for TracIn and influence functions")
            st.code(snippets.CHECKPOINTS, language="python")
            st.caption("Or the model as a graph, whatever its architecture; x are two or more rows")
            st.code(snippets.GRAPH, language="python")


def model() -> Path | None:
    """Draw the choice of the model's files; return them, or None."""
    return modelfiles.chosen("model", MODEL, WEIGHTS)


def data() -> Source | None:
    """Draw the choice of the data that the model was trained on; return them, or None."""
    kind = st.segmented_control(
        "What it was trained on", list(KINDS), default="arrays", required=True, format_func=KINDS.__getitem__, key="bring.kind",
        help="Its own arrays are safest. Tables and images are prepared as for a training here: that fits only models trained on such "
        "inputs.",
    )  # fmt: skip
    if kind == "arrays":
        found = modelfiles.chosen("data", DATA, ("zip",), arrays=True)
        return Source(str(found), found.name) if found else None
    return sources.choose(images=True)


def has_parts(source: Source) -> bool:
    """Whether data say themselves which column plays which part, as arrays and bundled sets do."""
    return source.bundled or is_arrays(source.data)


def parts(source: Source | None) -> tuple[str, dict[str, Any]] | None:
    """Draw what data hold, and the choice of which column plays which part; return them as the action takes them, or None."""
    if source is None:
        return None
    try:
        if has_parts(source):
            return source.data, _bundled(source) if source.bundled else {}
        source = imaging.column(sheets.choose(source))
        return _images(source) if source.images else _table(source)
    except BadInput as error:
        st.error(words.escaped(error), icon=":material/error:")
        return None


def _bundled(source: Source) -> dict[str, Any]:
    return {"data_set": dict(source.data_set)} | loading.favouring(source, loading.Parts(), source.dataset(), True).given()


def _images(source: Source) -> tuple[str, dict[str, Any]] | None:
    st.subheader("3 Images", anchor=False)
    imaging.preview(source)
    source, chosen, seen = imaging.parts(source)
    if seen is None:
        return None
    st.caption(
        "Pixels are numbers from 0 to 1, (channels, height, width). If your program scaled them otherwise, bring *The arrays it saw*."
    )
    return source.data, loading.favouring(source, chosen, seen, True).given() | {"data_set": dict(source.data_set)}


def _table(source: Source) -> tuple[str, dict[str, Any]]:
    st.subheader("3 Columns", anchor=False)
    loading.preview(source.first(loading.PREVIEWED), source.name)
    source.table()  # all of it, so that what is wrong further down is told here
    source = texts.column(source)
    read: dict[str, Any] = {"data_set": dict(source.data_set)} if source.texts else {}
    read |= {"sheet": source.sheet} if isinstance(source, sheets.Sheet) else {}
    return source.data, loading.parts(source, True).given() | read


def known() -> dict[str, Any]:
    """Draw what a person may know of the model; return arguments of the action."""
    left, stated, middle, right, last = st.columns((5, 4, 4, 4, 4))
    kind = left.selectbox(
        "Model", [AUTO, *models.classes], format_func=lambda name: "Found from the weights" if name == AUTO else words.title(name),
        key="bring.model",
    )  # fmt: skip
    settings = stated.text_input(
        "Settings", placeholder="not stated", key="bring.settings",
        help="Of the model, such as activation=relu heads=4. Weights do not tell an activation, attention heads or pooling.",
    )  # fmt: skip
    rates = middle.text_input(
        "Step sizes", placeholder="as in the files", key="bring.rates", help="Of the checkpoints, with commas, or one for all."
    )
    accuracy = right.number_input(
        "Known accuracy", 0.0, 1.0, None, 0.01, "%g", placeholder="not stated", key="bring.accuracy",
        help="What it reached on its test rows where it was trained, from 0 to 1: a difference shows inputs or classes gone wrong.",
    )  # fmt: skip
    name = last.text_input("Name", placeholder="as the data", key="bring.name")
    try:
        given = [float(part) for part in rates.split(",")] if rates.strip() else []
    except ValueError:
        st.error(f"Step sizes are numbers with commas between them; got {words.escaped(rates)}.")
        st.stop()
    return {"model": kind, "set": _settings(settings), "rates": given, "accuracy": accuracy, "name": name}


def _settings(text: str) -> dict[str, str]:
    """Return NAME=VALUE texts as a mapping; say what is none."""
    parts = [part.partition("=") for part in text.split()]
    if not all(name and between and value for name, between, value in parts):
        st.error(f"Settings are NAME=VALUE with blanks between them, such as activation=relu; got {words.escaped(text)}.")
        st.stop()
    return {name: value for name, _, value in parts}


def brought(job: Job) -> None:
    """Draw what was found of a model that was brought, and the way on."""
    result = job.result or {}
    run = state.project().run(str(result["run"]))
    if st.session_state.pop(ASKED, "") == job.id:
        state.show(run=run.id, group="")
        st.rerun()
    said = words.named({**result["model"], "name": words.title(result["model"]["name"])})
    st.success(
        f"{words.escaped(said)} is in the project. {standing.both(run)}",
        icon=":material/check_circle:",
    )
    state.link("audit", "See its groups on Audit", run=run.id, group="")
    checks.told(result["checks"], "bring.checks")


def start(path: Path, data: str, parts: dict[str, Any], given: dict[str, Any]) -> Job | None:
    """Draw the button that checks and brings it all; return its job.

    The job is asked for here and not when the button is clicked: by now the page has seen to it that what was uploaded is there.
    """
    args = {"path": str(path), "data": data, **parts, **given}
    job = jobs.asked("import_model", args)
    with st.container(horizontal=True, vertical_alignment="center"):
        icon = ":material/download:"
        clicked = st.button("Check and bring", key="bring.start", type="primary", icon=icon, disabled=bool(job and not job.over))
        st.caption("Reads, checks, and follows the training once if it was recorded", width="content")
    if clicked:
        job = jobs.get(jobs.submit("import_model", args))
        state.show(job=job.id if job else "")
        st.session_state[ASKED] = job.id if job else ""
    return job
