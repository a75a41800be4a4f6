"""Where a data set comes from: bundled, uploaded, a file or folder in a folder that this server may read, or had by name from elsewhere."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import streamlit as st

from influence.data.arrays import FILES
from influence.data.images import zipped
from influence.data.images.folder import allowed_folder
from influence.data.images.layout import is_image
from influence.data.images.sources import ARCHIVES, find, holds_images
from influence.data.read import allowed_path, data_roots, is_name, read_table, size_limit, suffixes, title
from influence.data.readers.named import BUNDLED, HOW, SKLEARN
from influence.data.split import WORDS
from influence.errors import BadInput
from influence.registry import datasets
from influence.ui import forms, state, uploaded, words
from influence.ui.source import Source
from influence.ui.uploaded import safe

TABS = ("Bundled", "Upload", "Path", "By name")
NAMES = tuple(f"{SKLEARN}{name}" for name in BUNDLED)
LISTED = 500  # files of the open folders in the list
DEEP = 3  # folders below an open one that are looked into


def choose(images: bool = False) -> Source | None:
    """Draw the tabs and return the source chosen in the open one, or None. `images`: whether it may be one of images."""
    found = None
    asks = (_bundle, _upload, _path, _named)
    for tab, ask in zip(st.tabs(TABS, key="source", on_change="rerun", bind="query-params"), asks, strict=True):
        with tab:
            if tab.open:
                found = ask(images)
    return found


def second(like: Source) -> str:
    """Draw the choice of a second file with the test rows, in the way the first was chosen; return its path or ""."""
    found = (
        upload("second", "File with the test rows", False)
        if Path(like.data).is_relative_to(uploads())
        else by_path("second", "File with the test rows", False)
    )
    return str(found) if found else ""


def _bundle(images: bool) -> Source | None:
    name, given = forms.choose(datasets, "load.bundled", "Data set", first="loans")
    return Source(f"bundled:{name}", name, given) if name else None


def _upload(images: bool) -> Source | None:
    found = upload("upload", "A table, or images as .zip or .npz" if images else "A table", images)
    return Source(str(found), found.stem) if found else None


def _path(images: bool) -> Source | None:
    found = by_path("path", "A table, or a folder, .zip or .npz of images" if images else "A table", images)
    return Source(str(found), found.stem) if found else None


def _named(images: bool) -> Source | None:
    name = st.selectbox(
        "A data set by name",
        NAMES,
        index=None,
        accept_new_options=True,
        placeholder="Choose one, or type openml:NAME or hub:datasets/OWNER/NAME",
        help="sklearn: comes with scikit-learn. This server fetches the others from OpenML or Hugging Face's hub: tables, never code.",
        key="load.named",
        persist_state="session",
    )
    if name and not is_name(name):
        st.error(words.escaped(f"{name[:120]!r} names no data. {HOW}"), icon=":material/error:")
        return None
    return Source(name, title(name)) if name else None


def uploads() -> Path:
    """Return the project's folder of uploaded files: a folder per content, named by its digest, with one file."""
    return state.project().path / "uploads"


def upload(key: str, label: str, images: bool) -> Path | None:
    """Draw an upload and the list of files uploaded before; return the chosen file, or None. A refused file leaves nothing behind."""
    limit = size_limit() // 1_000_000
    about = "It stays in the project's folder on this server."
    given = st.file_uploader(label, key=f"load.{key}.file", max_upload_size=limit, help=about)
    st.caption(f"Up to {limit:,} MB. Larger files are read by *{TABS[2]}*; the server's setting INFLUENCE\\_MAX\\_MB raises the limit.")
    if given is not None and st.session_state.get(f"load.{key}.seen") != given.file_id:
        try:
            found = keep(uploads(), given.name, given.getbuffer(), images)
        except BadInput as error:
            st.error(words.escaped(error), icon=":material/error:")
            return None
        st.session_state[f"load.{key}.seen"] = given.file_id
        _choose_kept(key, found.parent.name)
    return _kept(key, images)


def keep(folder: Path, name: str, content: memoryview | bytes, images: bool = False) -> Path:
    """Write an uploaded file under its content's digest if it can be read as a table, or as images where these are wanted; return its path.

    Raises:
        BadInput: it cannot be read; nothing is kept then.
    """
    try:
        return uploaded.keep(folder, safe(name), content, lambda file: _read(file, images))
    finally:
        with suppress(OSError):  # it holds other files
            folder.rmdir()


def _read(file: Path, images: bool) -> None:
    try:
        find(file) if images and holds_images(file) else read_table(file, size_limit())
    except BadInput:
        _refuse_arrays(file)
        raise


def _refuse_arrays(file: Path) -> None:
    """Refuse the zip of a folder that `save_data` wrote, whose arrays are for the model that saw them.

    Raises:
        BadInput: it is one.
    """
    try:
        held = {Path(member.filename).name for member in zipped.members(file, most=zipped.SHORT)}
    except BadInput:
        return
    if held.issuperset(FILES):
        raise BadInput(f"{file.name!r} is what influence.save_data wrote. Bring it on Bring a model, as the arrays that a model saw.")


def _choose_kept(key: str, digest: str) -> None:
    st.query_params[key] = digest
    st.session_state[f"load.{key}.kept"] = digest


def _kept(key: str, images: bool) -> Path | None:
    """Draw the list of uploaded files, newest first, at the one in the address."""
    folder = uploads()
    places = [p for p in folder.iterdir() if uploaded.PLACE.fullmatch(p.name)] if folder.is_dir() else []
    files = {p.name: next(p.iterdir()) for p in sorted(places, key=lambda p: -p.stat().st_mtime)}
    files = files if images else {digest: file for digest, file in files.items() if not holds_images(file)}
    if not files:
        return None
    wanted = st.query_params.get(key) or st.session_state.get(f"load.{key}.kept")
    if wanted in files:
        _choose_kept(key, wanted)  # so that coming back finds it again
    st.session_state[f"load.{key}.choice"] = wanted if wanted in files else None
    names = words.distinct({digest: f"{file.name} ({words.size(file.stat().st_size)})" for digest, file in files.items()})
    picked = st.selectbox(
        "Uploaded file",
        list(files),
        index=None,
        format_func=names.__getitem__,
        placeholder="Choose a file that was uploaded before",
        key=f"load.{key}.choice",
        on_change=lambda: _choose_kept(key, st.session_state[f"load.{key}.choice"] or ""),
    )
    return files[picked] if picked else None


def by_path(key: str, label: str, images: bool) -> Path | None:
    """Draw the choice of a file, or a folder of images, in the folders that this server may read; return it, or None."""
    roots = data_roots()
    if not roots:
        st.info("No folder is open for reading by path. Start the server with INFLUENCE_DATA_ROOTS=/your/folder, or upload the file.")
        return None
    name = st.selectbox(
        label,
        listed(roots, images),
        index=None,
        accept_new_options=True,
        placeholder="Choose one, or type its path",
        help=f"Inside {', '.join(map(str, roots))}",
        key=f"load.{key}.path",
        persist_state="session",
    )
    try:
        return _allowed(name, roots, images) if name else None
    except BadInput as error:
        st.error(words.escaped(error), icon=":material/error:")
        return None


def _allowed(name: str, roots: tuple[Path, ...], images: bool) -> Path:
    try:
        return allowed_path(name, roots)
    except BadInput:
        if images and any((root / name).is_dir() for root in roots if "\0" not in name):
            return allowed_folder(name, roots)
        raise


def listed(roots: tuple[Path, ...], images: bool = False) -> list[str]:
    """Return tables in the open folders, and archives and folders of images, as paths relative to them; at most a few hundred."""
    kinds = set(suffixes()) - {""} | (set(ARCHIVES) if images else set())
    found: list[str] = []
    for root in roots:
        for folder, below, names in os.walk(root):
            place = Path(folder).relative_to(root)
            below[:] = sorted(b for b in below if not b.startswith(".")) if len(place.parts) < DEEP else []
            found += [str(place / name) for name in sorted(names) if os.path.splitext(name)[1].lower() in kinds]
            if images and place.parts and any(map(is_image, names)):
                holder = place.parent if place.parent.name.lower() not in WORDS else place.parent.parent
                found += [str(holder)] if str(holder) not in found else []
            if len(found) >= LISTED:
                return found[:LISTED]
    return found
