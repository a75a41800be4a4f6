"""Files of a model, or the arrays it saw: by path, or uploaded and kept as long as somebody needs them."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

import streamlit as st

from influence.data.arrays import is_arrays
from influence.data.read import data_roots, size_limit
from influence.errors import BadInput
from influence.exchange import packed
from influence.jobs import listed
from influence.ui import jobs, sources, state, words

WAYS = ("Upload", "Path")
NO_ARRAYS = (
    "These are no arrays with their columns: data.json, data.npz and columns.parquet. Write them with influence.save_data, or choose "
    "'A table or images' above."
)


def chosen(key: str, label: str, kinds: tuple[str, ...], arrays: bool = False) -> Path | None:
    """Draw the choice of a file or folder; return where it lies, or None. `arrays`: it must be what `save_data` wrote."""
    way = st.segmented_control("From", WAYS, default=WAYS[0], required=True, key=f"bring.{key}.way", label_visibility="collapsed")
    try:
        return _upload(key, label, kinds, arrays) if way == "Upload" else _path(key, arrays)
    except BadInput as error:
        st.error(words.escaped(error), icon=":material/error:")
        return None


def _upload(key: str, label: str, kinds: tuple[str, ...], arrays: bool) -> Path | None:
    """Draw an upload; return where its files lie in the project, named by their content.

    Raises:
        BadInput: they cannot be used; nothing is kept then.
    """
    limit = size_limit() // 1_000_000
    given = st.file_uploader(label, list(kinds), key=f"bring.{key}.file", max_upload_size=limit, help=f"Up to {limit:,} MB.")
    return None if given is None else keep(_folder(), given.name, given.getbuffer(), arrays)


def _path(key: str, arrays: bool) -> Path | None:
    """Draw the choice of a file or folder that this server may read; return it, or None.

    Raises:
        BadInput: there is nothing of this name, or no arrays where these are needed.
    """
    roots = data_roots()
    if not roots:
        st.info("No folder is open for reading by path. Start the server with INFLUENCE_DATA_ROOTS=/your/folder, or upload the files.")
        return None
    given = st.text_input("File or folder", key=f"bring.{key}.path", help=f"Inside {', '.join(map(str, roots))}")
    if not given:
        return None
    found = next((place for root in roots if (place := _inside(root, given))), None)
    if found is None:
        raise BadInput(f"{given[:200]!r} is nothing inside {', '.join(map(str, roots))}. Check the path.")
    if arrays and not is_arrays(found):
        raise BadInput(NO_ARRAYS)
    return found


def _inside(root: Path, given: str) -> Path | None:
    """Return what a name means inside an open folder, or None; no name is a mistake of ours, be it too long or no name at all."""
    try:
        place = (root / given).resolve()
        return place if place.is_relative_to(root.resolve()) and place.exists() else None
    except (OSError, ValueError):
        return None


def keep(folder: Path, name: str, content: memoryview | bytes, arrays: bool = False) -> Path:
    """Write an uploaded file under its content's digest, unpacked if it is a record or a data folder; return its path.

    Raises:
        BadInput: a zip that is neither, or with `arrays` no data folder; nothing is kept then.
    """
    place = folder / hashlib.sha256(content).hexdigest()[:16]
    if not place.is_dir():
        _write(place, name, content, arrays)
    found = next(place.iterdir())
    if arrays and not is_arrays(found):  # it was kept as a model
        raise BadInput(NO_ARRAYS)
    return found


def _write(place: Path, name: str, content: memoryview | bytes, arrays: bool) -> None:
    half = place.parent / f".{secrets.token_hex(6)}"
    half.mkdir(parents=True)
    try:
        file = half / sources.safe(name)
        file.write_bytes(content)
        if packed.is_packed(file):
            whole = packed.unpacked(file, half / secrets.token_hex(6))
            file.unlink()
            file = whole.rename(half / file.stem)
        if arrays and not is_arrays(file):
            raise BadInput(NO_ARRAYS)
        if not place.exists():  # somebody else may have brought the same file at the same time
            half.rename(place)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def tidy(needed: Iterable[str]) -> None:
    """Remove uploads but those among the paths `needed`, and those that jobs read which are under way or may be started again.

    What somebody else has chosen and not asked for yet comes back from their browser's upload when their page is drawn next.
    """
    folder, here = _folder(), jobs.shown("import_model")
    asked = [job for job in listed(state.project(), jobs.LOOKED_AT) if job.action == "import_model" and not job.over]
    asked += [here] if here and here.state != "done" else []
    paths = [Path(path) for path in (*needed, *(str(job.args.get(name, "")) for job in asked for name in ("path", "data")))]
    for place in folder.iterdir() if folder.is_dir() else ():
        if sources.KEPT.fullmatch(place.name) and not any(path.is_relative_to(place) for path in paths):
            shutil.rmtree(place, ignore_errors=True)


def _folder() -> Path:
    return sources.uploads() / "models"
