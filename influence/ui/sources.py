"""Where a data set comes from: bundled, uploaded, or a file in a folder that this server may read."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from influence.data.dataset import Dataset
from influence.data.read import DELIMITED, PARQUET, allowed_path, data_roots, read_table, size_limit
from influence.data.schema import Column, infer
from influence.errors import BadInput
from influence.registry import datasets
from influence.ui import forms, state, words

TABS = ("Bundled", "Upload", "Path")
LISTED = 500  # files of the open folders in the list
DEEP = 3  # folders below an open one that are looked into


@dataclass(frozen=True)
class Source:
    """Data as the action `train` takes it: a path, or `bundled:NAME` with its settings. `name`: what it is called."""

    data: str
    name: str
    data_set: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stamp(self) -> tuple[Any, ...]:
        """What changes when the content does."""
        if self.bundled:
            return (self.data, *sorted(self.data_set.items()))
        facts = Path(self.data).stat()
        return self.data, facts.st_size, facts.st_mtime_ns

    @property
    def bundled(self) -> bool:
        """Whether it is one of the bundled sets, whose columns have their parts already."""
        return self.data.startswith("bundled:")

    def table(self) -> pd.DataFrame:
        """Return the table, read once per content and shared: do not change it.

        Raises:
            BadInput: it cannot be read.
        """
        return _table(self.data, self.stamp)

    def columns(self) -> list[Column]:
        """Return what each column is."""
        return _columns(self.data, self.stamp)

    def dataset(self) -> Dataset:
        """Return the bundled set."""
        return _bundled(self.data.removeprefix("bundled:"), self.stamp, dict(self.data_set))


@st.cache_resource(show_spinner="Reading the table", max_entries=4)
def _table(path: str, stamp: tuple[Any, ...]) -> pd.DataFrame:
    return read_table(path)


@st.cache_resource(show_spinner="Looking at the columns", max_entries=16)
def _columns(path: str, stamp: tuple[Any, ...]) -> list[Column]:
    return infer(_table(path, stamp))


@st.cache_resource(show_spinner="Making the data set", max_entries=4)
def _bundled(name: str, stamp: tuple[Any, ...], _given: dict[str, Any]) -> Dataset:
    made: Dataset = datasets.make(name, _given)()
    return made


def choose() -> Source | None:
    """Draw the three tabs and return the source chosen in the open one, or None."""
    found = None
    for tab, ask in zip(st.tabs(TABS, key="source", on_change="rerun", bind="query-params"), (_bundle, _upload, _path), strict=True):
        with tab:
            if tab.open:
                found = ask()
    return found


def second(like: Source) -> str:
    """Draw the choice of a second file with the test rows, in the way the first was chosen; return its path or ""."""
    found = (
        upload("second", "File with the test rows")
        if Path(like.data).is_relative_to(uploads())
        else by_path("second", "File with the test rows")
    )
    return str(found) if found else ""


def _bundle() -> Source | None:
    name, given = forms.choose(datasets, "load.bundled", "Data set", first="loans")
    return Source(f"bundled:{name}", name, given) if name else None


def _upload() -> Source | None:
    found = upload("upload", "CSV or Parquet file")
    return Source(str(found), found.stem) if found else None


def _path() -> Source | None:
    found = by_path("path", "CSV or Parquet file")
    return Source(str(found), found.stem) if found else None


def uploads() -> Path:
    """Return the project's folder of uploaded files: a folder per content, named by its digest, with one file."""
    return state.project().path / "uploads"


def upload(key: str, label: str) -> Path | None:
    """Draw an upload and the list of files uploaded before; return the chosen file, or None. A refused file leaves nothing behind."""
    limit = size_limit() // 1_000_000
    about = f"Up to {limit:,} MB. It stays in the project's folder on this server."
    given = st.file_uploader(label, key=f"load.{key}.file", max_upload_size=limit, help=about)
    if given is not None and st.session_state.get(f"load.{key}.seen") != given.file_id:
        try:
            kept = keep(uploads(), given.name, given.getbuffer())
        except BadInput as error:
            st.error(words.escaped(error), icon=":material/error:")
            return None
        st.session_state[f"load.{key}.seen"] = given.file_id
        _choose_kept(key, kept.parent.name)
    return _kept(key)


def keep(folder: Path, name: str, content: memoryview | bytes) -> Path:
    """Write an uploaded file under its content's digest if it can be read as a table; return its path.

    Raises:
        BadInput: it cannot be read as a table; nothing is kept then.
    """
    place = folder / hashlib.sha256(content).hexdigest()[:16]
    if place.is_dir():
        return next(place.iterdir())
    half = folder / f".{secrets.token_hex(6)}"
    half.mkdir(parents=True)
    try:
        file = half / safe(name)
        file.write_bytes(content)
        read_table(file)
        with suppress(OSError):  # somebody else brought the same file at the same time
            os.replace(half, place)
    finally:
        shutil.rmtree(half, ignore_errors=True)
        with suppress(OSError):  # it holds other files
            folder.rmdir()
    return next(place.iterdir())


def safe(name: str) -> str:
    """Return a file name without what could lead out of its folder."""
    return re.sub(r"[^\w.\- ]", "_", Path(name).name).lstrip(".")[-100:] or "table"


def _choose_kept(key: str, digest: str) -> None:
    st.query_params[key] = digest
    st.session_state[f"load.{key}.kept"] = digest


def _kept(key: str) -> Path | None:
    """Draw the list of uploaded files, newest first, at the one in the address."""
    folder = uploads()
    places = sorted((p for p in folder.glob("[!.]*") if p.is_dir()), key=lambda p: -p.stat().st_mtime) if folder.is_dir() else []
    files = {p.name: next(p.iterdir()) for p in places}
    if not files:
        return None
    wanted = st.query_params.get(key) or st.session_state.get(f"load.{key}.kept")
    if wanted in files:
        _choose_kept(key, wanted)  # so that coming back finds it again
    st.session_state[f"load.{key}.choice"] = wanted if wanted in files else None
    picked = st.selectbox(
        "Uploaded file",
        list(files),
        index=None,
        format_func=lambda digest: f"{files[digest].name} ({words.size(files[digest].stat().st_size)})",
        placeholder="Choose a file that was uploaded before",
        key=f"load.{key}.choice",
        on_change=lambda: _choose_kept(key, st.session_state[f"load.{key}.choice"] or ""),
    )
    return files[picked] if picked else None


def by_path(key: str, label: str) -> Path | None:
    """Draw the choice of a file in the folders that this server may read; return it, or None."""
    roots = data_roots()
    if not roots:
        st.info("No folder is open for reading by path. Start the server with INFLUENCE_DATA_ROOTS=/your/folder, or upload the file.")
        return None
    name = st.selectbox(
        label,
        listed(roots),
        index=None,
        accept_new_options=True,
        placeholder="Choose a file, or type its path",
        help=f"Inside {', '.join(map(str, roots))}",
        key=f"load.{key}.path",
        persist_state="session",
    )
    try:
        return allowed_path(name, roots) if name else None
    except BadInput as error:
        st.error(words.escaped(error), icon=":material/error:")
        return None


def listed(roots: tuple[Path, ...]) -> list[str]:
    """Return tables in the open folders, as paths relative to them, sorted; at most a few hundred."""
    kinds = {*DELIMITED, *PARQUET} - {""}
    found: list[str] = []
    for root in roots:
        for folder, below, names in os.walk(root):
            depth = len(Path(folder).relative_to(root).parts)
            below[:] = sorted(b for b in below if not b.startswith(".")) if depth < DEEP else []
            found += [str(Path(folder, name).relative_to(root)) for name in sorted(names) if Path(name).suffix.lower() in kinds]
            if len(found) >= LISTED:
                return found[:LISTED]
    return found
