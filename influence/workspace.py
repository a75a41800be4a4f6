"""Where costly state is kept and found again: curvature factors, kernels of gradients, a half-finished walk.

A finished folder has a manifest of the sizes of its files, and nobody writes into it any more; one without is unfinished, and whoever makes
it goes on from what is there. State is a function of its key: two that ask for the same key get the same folder, and where the two are
processes at work at the same time (a command and the app's worker), one makes it while the other waits.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from influence.digest import digest
from influence.errors import BadInput

MANIFEST = "manifest.json"
LOCKS = "locks"
MEMORY = 2048
"""MiB if nothing else is said: the same on every machine, since what fits at a time decides the order of sums and with it the last bits;
and little enough for a laptop that holds the data, a browser and this."""


def allowed() -> int:
    """Return how much memory a computation may take at a time, in MiB: what `INFLUENCE_MEMORY` says.

    Raises:
        BadInput: it is no such number.
    """
    given = os.environ.get("INFLUENCE_MEMORY") or str(MEMORY)
    if not (given.isascii() and given.isdecimal() and int(given)):
        raise BadInput(f"INFLUENCE_MEMORY is {given!r}; it must be a whole number of MiB from 1. Correct or unset it.")
    return int(given)


class Workspace:
    """A folder for costly state, and how much memory a computation may take at a time (MiB; by default what is `allowed`).

    Without a folder it is a temporary one, gone with this object.
    """

    def __init__(self, folder: str | Path | None = None, memory: float | None = None) -> None:
        self.memory: float = allowed() if memory is None else memory
        if folder is None:
            folder = tempfile.mkdtemp(prefix="lethe-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.folder = Path(folder)

    def place(self, name: str, key: Any) -> Path:
        """Return where the state of this key lies, or would lie."""
        return self.folder / name / digest(key)[:32]

    def kept(self, name: str, key: Any, make: Callable[[Path], None]) -> Path:
        """Return the finished folder of this key. If there is none, `make` fills it, and is handed what an interrupted call left there.

        `name` says what it is, for people who look into the folder. `key`: settings that matter, digests of what it was computed from, and
        a version; anything that `influence.digest` can describe.
        """
        folder = self.place(name, key)
        if not finished(folder):
            with self.alone(name, key):
                if not finished(folder):  # whoever held the lock may have made it
                    folder.mkdir(parents=True, exist_ok=True)
                    make(folder)
                    _finish(folder)
        return folder

    @contextmanager
    def alone(self, name: str, key: Any) -> Iterator[None]:
        """Work on what belongs to this key while no other process does: it waits, and a process that dies lets go.

        The lock is a file of its own in `locks/`, which stays: one that is removed could be held twice.

        Yields:
            Nothing.
        """
        path = self.folder / LOCKS / f"{name} {digest(key)[:32]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def finished(folder: Path) -> bool:
    """Whether a folder is whole: it has a manifest, and all its files have the sizes named there."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == file["size"] for name, file in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _finish(folder: Path) -> None:
    """Write the manifest, whole or not at all."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST and not path.name.endswith(".tmp"))
    files = {path.relative_to(folder).as_posix(): {"size": path.stat().st_size} for path in paths}
    temporary = folder / f"{MANIFEST}.tmp"
    temporary.write_text(json.dumps(files, indent=1, sort_keys=True), encoding="utf-8")
    os.replace(temporary, folder / MANIFEST)
