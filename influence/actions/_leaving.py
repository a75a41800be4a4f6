"""Where exports go: to the path that a command names, or into the project's folder `exports/`, from which a page offers them."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from influence.files import whole_file, whole_folder
from influence.store import Project

EXPORTS = "exports"


@contextmanager
def leaving(project: Project, out: str, name: str) -> Iterator[Path]:
    """Lend out a folder to fill, which becomes the new folder `out`, or if that is "", `name`.zip in the project; whole or not at all.

    Yields:
        The folder.
    """
    if out:
        with whole_folder(Path(out)) as half:
            yield half
        return
    home = project.path / EXPORTS
    home.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=home) as half:
        yield Path(half)
        whole_file(place(project, out, f"{name}.zip"), lambda file: _zip(Path(half), file, name))


def place(project: Project, out: str, name: str) -> Path:
    """Return where an export stands, or will stand: `out`, or `name` in the project."""
    return Path(out) if out else project.path / EXPORTS / name


def _zip(folder: Path, file: Path, name: str) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"{name}/{path.name}")
