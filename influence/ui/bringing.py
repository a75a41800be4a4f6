"""Bring a model that was trained elsewhere: which files, which data, what is known of it; then one job that checks it all."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from pathlib import Path
from typing import Any

import streamlit as st

from influence.data.arrays import is_arrays
from influence.data.read import data_roots, size_limit
from influence.errors import BadInput
from influence.exchange import packed, snippets
from influence.jobs import Job
from influence.registry import models
from influence.ui import checks, jobs, loading, sheets, sources, standing, state, texts, words

AUTO = "auto"
WEIGHTS = ("safetensors", "pt", "pth", "ckpt", "pt2", "zip")
WAYS = ("Upload", "Path")
MODEL = "A record (the folder that recorder.save wrote) or a folder of Hugging Face, zipped; or one file of weights or a graph (.pt2)"
DATA = "The data folder that influence.save_data wrote, zipped"
KINDS = {"arrays": "The arrays it saw", "table": "A table"}


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
    return _chosen("model", MODEL, WEIGHTS)


def data() -> tuple[str, dict[str, Any]] | None:
    """Draw the choice of the data that the model was trained on; return it with what is chosen of it, as the action takes them."""
    kind = st.segmented_control(
        "What it was trained on", list(KINDS), default="arrays", required=True, format_func=KINDS.__getitem__, key="bring.kind",
        help="Its own arrays are safest. A table is prepared as for a training here: that fits only models trained on such inputs.",
    )  # fmt: skip
    if kind == "arrays":
        found = _chosen("data", DATA, ("zip",))
        if found is None:
            return None
        if not is_arrays(found):
            st.error(
                "These are no arrays with their columns: data.json, data.npz and columns.parquet. Write them with influence.save_data."
            )
            return None
        return str(found), {}
    try:
        return _table()
    except BadInput as error:
        st.error(words.escaped(error), icon=":material/error:")
        return None


def _table() -> tuple[str, dict[str, Any]] | None:
    """Draw the choice of a table and of its parts.

    Raises:
        BadInput: it cannot be read.
    """
    source = sources.choose()
    if source is None:
        return None
    if source.bundled:
        return source.data, {}
    source = texts.column(sheets.choose(source))
    read: dict[str, Any] = {"data_set": dict(source.data_set)} if source.texts else {}
    read |= {"sheet": source.sheet} if isinstance(source, sheets.Sheet) else {}
    return source.data, loading.parts(source).given() | read


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
        "Known accuracy", 0.0, 1.0, None, 0.01, placeholder="not stated", key="bring.accuracy",
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


def _chosen(key: str, label: str, kinds: tuple[str, ...]) -> Path | None:
    way = st.segmented_control("From", WAYS, default=WAYS[0], required=True, key=f"bring.{key}.way", label_visibility="collapsed")
    return _upload(key, label, kinds) if way == "Upload" else _path(key)


def _upload(key: str, label: str, kinds: tuple[str, ...]) -> Path | None:
    """Draw an upload; return where its files lie in the project, named by their content."""
    limit = size_limit() // 1_000_000
    given = st.file_uploader(label, list(kinds), key=f"bring.{key}.file", max_upload_size=limit, help=f"Up to {limit:,} MB.")
    if given is None:
        return None
    try:
        return keep(state.project().path / "uploads" / "models", given.name, given.getbuffer())
    except BadInput as error:
        st.error(words.escaped(error), icon=":material/error:")
        return None


def keep(folder: Path, name: str, content: memoryview | bytes) -> Path:
    """Write an uploaded file under its content's digest, unpacked if it is a record or a data folder; return its path.

    Raises:
        BadInput: a zip that is neither; nothing is kept then.
    """
    place = folder / hashlib.sha256(content).hexdigest()[:16]
    if place.is_dir():
        return next(place.iterdir())
    half = folder / f".{secrets.token_hex(6)}"
    half.mkdir(parents=True)
    try:
        file = half / sources.safe(name)
        file.write_bytes(content)
        if packed.is_packed(file):
            whole = packed.unpacked(file, half / secrets.token_hex(6))
            file.unlink()
            whole.rename(half / file.stem)
        if not place.exists():  # somebody else may have brought the same file at the same time
            half.rename(place)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return next(place.iterdir())


def _path(key: str) -> Path | None:
    """Draw the choice of a file or folder that this server may read; return it, or None."""
    roots = data_roots()
    if not roots:
        st.info("No folder is open for reading by path. Start the server with INFLUENCE_DATA_ROOTS=/your/folder, or upload the files.")
        return None
    given = st.text_input("File or folder", key=f"bring.{key}.path", help=f"Inside {', '.join(map(str, roots))}")
    if not given:
        return None
    found = [place for root in roots if (place := (root / given).resolve()).is_relative_to(root.resolve()) and place.exists()]
    if not found:
        st.error(f"{words.escaped(given)} is nothing inside {words.escaped(', '.join(map(str, roots)))}.", icon=":material/error:")
        return None
    return found[0]


def brought(job: Job) -> None:
    """Draw what was found of a model that was brought, and the way on."""
    result = job.result or {}
    run = state.project().run(str(result["run"]))
    if st.session_state.pop("bring.start.asked", "") == job.id:
        state.show(run=run.id, group="")
        st.rerun()
    said = words.named({**result["model"], "name": words.title(result["model"]["name"])})
    st.success(
        f"{words.escaped(said)} is in the project. On holdout rows: {standing.headline(run)}.",
        icon=":material/check_circle:",
    )
    state.link("audit", "See its groups on Audit", run=run.id, group="")
    checks.told(result["checks"], "bring.checks")


def start(path: Path, data: str, parts: dict[str, Any], given: dict[str, Any]) -> Job | None:
    """Draw the button that checks and brings it all; return its job."""
    args = {"path": str(path), "data": data, **parts, **given}
    cost = "Reads, checks, and follows the training once if it was recorded"
    return jobs.run_button("Check and bring", "import_model", args, "bring.start", cost=cost, icon=":material/download:")
