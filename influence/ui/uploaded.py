"""Uploaded files: a folder per content, named by its digest, with one file or folder in it; whole or not at all, whoever else keeps it."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from influence.errors import BadInput

PLACE = re.compile(r"[0-9a-f]{16}")
"""What folders of uploaded files are called."""
HALF = re.compile(r"\.[0-9a-f]{12}")
"""What they are called while they are written or removed."""
HOUR = 3600.0
"""Seconds for which an upload stays after a page showed it."""


def safe(name: str) -> str:
    """Return a file name without what could lead out of its folder."""
    return re.sub(r"[^\w.\- ]", "_", Path(name).name).lstrip(".")[-100:] or "table"


def keep(folder: Path, name: str, content: memoryview | bytes, ready: Callable[[Path], None]) -> Path:
    """Write an uploaded file of a safe name under its content's digest, unless it is there; return what lies there.

    `ready` sees to it that the file can be used, and may put a folder in its place.

    Raises:
        BadInput: by `ready`, or somebody removed it at this moment; nothing is kept then.
    """
    place = folder / hashlib.sha256(content).hexdigest()[:16]
    found = touched(place)
    if found is None:
        _write(place, name, content, ready)
        found = touched(place)
    if found is None:
        raise BadInput(f"{name!r} could not be kept in the project's folder. Upload it again.")
    return found


def _write(place: Path, name: str, content: memoryview | bytes, ready: Callable[[Path], None]) -> None:
    half = place.parent / f".{secrets.token_hex(6)}"
    half.mkdir(parents=True)
    _sweep(place.parent)
    try:
        (half / name).write_bytes(content)
        ready(half / name)
        with suppress(OSError):  # somebody else brought the same file at the same time
            os.replace(half, place)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def touched(place: Path) -> Path | None:
    """Return what was uploaded to a folder, which stays for another hour; or None if it is gone."""
    with suppress(OSError):
        os.utime(place)
        return next(place.iterdir(), None)
    return None


def remove(place: Path, seen: float) -> None:
    """Remove an upload's folder that was last touched at `seen`, unless somebody touches it at this moment."""
    gone = place.with_name(f".{secrets.token_hex(6)}")
    with suppress(OSError):  # somebody else removed it, or brought it again
        place.rename(gone)  # nobody finds half of it
        if gone.stat().st_mtime > seen:
            gone.rename(place)
    shutil.rmtree(gone, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what servers left that were ended while they wrote."""
    for half in folder.iterdir():
        with suppress(OSError):  # it is done by now
            if HALF.fullmatch(half.name) and half.stat().st_mtime < time.time() - HOUR:
                shutil.rmtree(half, ignore_errors=True)
