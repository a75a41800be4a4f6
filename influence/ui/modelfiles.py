"""Files of a model, or the arrays it saw: by path, or uploaded and kept as long as somebody needs them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import streamlit as st

from influence.data.arrays import is_arrays
from influence.data.read import data_roots, size_limit
from influence.errors import BadInput
from influence.exchange import packed
from influence.jobs import listed
from influence.ui import jobs, sources, state, uploaded, words

WAYS = ("Upload", "Path")
MOST = 50  # of the largest uploads: so much of the disk may be taken by what no job under way reads
ARGUMENT = {"model": "path", "data": "data"}  # of a job, by what is chosen
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
    if given is None:
        _say_gone(ARGUMENT[key])
        return None
    seen, found = st.session_state.get(f"bring.{key}.seen", ("", None))
    found = uploaded.touched(found.parent) if found and seen == given.file_id else None  # its digest takes a while
    found = found or keep(_folder(), given.name, given.getbuffer(), arrays)
    st.session_state[f"bring.{key}.seen"] = given.file_id, found
    return found


def _say_gone(argument: str) -> None:
    """Say so if the refused job on the page cannot be started again, as what was uploaded for it is gone."""
    job = jobs.shown("import_model")
    path = Path(str(job.args.get(argument, ""))) if job and job.over and job.state != "done" else Path()
    if path.is_relative_to(_folder()) and not path.exists():
        said = f"{words.escaped(path.name)} is no longer on this server. To start again, upload it again first."
        st.warning(said, icon=":material/upload_file:")


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
        BadInput: a zip that is neither or lists too much, or with `arrays` no data folder; nothing is kept then.
    """
    found = uploaded.keep(folder, uploaded.safe(name), content, lambda file: _unpack(file, arrays))
    if arrays and not is_arrays(found):  # it was kept as a model
        raise BadInput(NO_ARRAYS)
    return found


def _unpack(file: Path, arrays: bool) -> None:
    if packed.is_packed(file):
        whole = packed.unpacked(file, file.with_name(secrets.token_hex(6)))
        file.unlink()
        file = whole.rename(file.with_name(file.stem))
    if arrays and not is_arrays(file):
        raise BadInput(NO_ARRAYS)


def tidy(needed: Iterable[str]) -> None:
    """Remove uploads that no page showed for an hour, and those not shown for longest where all are larger than `MOST` uploads.

    What lies at the paths `needed`, or can be started again from here, is shown now; what jobs under way read stays in any case.
    """
    here = jobs.shown("import_model")
    asked = [job for job in listed(state.project(), jobs.LOOKED_AT) if job.action == "import_model" and not job.over]
    asked += [here] if here and here.state != "done" else []
    paths = [Path(path) for path in (*needed, *(str(job.args.get(name, "")) for job in asked for name in ARGUMENT.values()))]
    used = {place for place in _places() if any(path.is_relative_to(place) for path in paths)}
    for place in used:
        uploaded.touched(place)
    room, now = MOST * size_limit(), time.time()
    for place, seen in sorted(_places().items(), key=lambda item: -item[1]):
        room -= _size(place)
        if place not in used and (room < 0 or seen < now - uploaded.HOUR):
            uploaded.remove(place, seen)


def _places() -> dict[Path, float]:
    """Return the folders of uploads, and when each was touched last."""
    found: dict[Path, float] = {}
    for place in _folder().iterdir() if _folder().is_dir() else ():
        with suppress(OSError):  # it is gone by now
            if uploaded.PLACE.fullmatch(place.name):
                found[place] = place.stat().st_mtime
    return found


def _size(place: Path) -> int:
    with suppress(OSError):  # it is gone by now
        return sum(file.stat().st_size for file in place.rglob("*"))
    return 0


def _folder() -> Path:
    return sources.uploads() / "models"
