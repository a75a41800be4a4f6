"""Files by content: each is named by the SHA-256 of its bytes, is written whole or not at all, and never changes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from influence.errors import BadInput

Part: TypeAlias = bytes | memoryview
Suffix: TypeAlias = Literal["json", "npy", "parquet", "safetensors"]
SUFFIXES: tuple[Suffix, ...] = ("json", "npy", "parquet", "safetensors")
FORGOTTEN = 3600.0  # seconds after which a half-written file can have no living writer
_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_digest(value: object) -> bool:
    """Return whether `value` could name an object."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


class Objects:
    """The folder of objects: `<2 hex>/<digest>.<suffix>`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, suffix: Suffix, parts: Sequence[Part]) -> str:
        """Keep the bytes of `parts`, one after the other, and return their digest; an object that exists is not written again."""
        hashed = hashlib.sha256()
        for part in parts:
            hashed.update(part)
        digest = hashed.hexdigest()
        path = self._place(digest, suffix)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, parts)
        return digest

    def path(self, digest: str, suffix: Suffix) -> Path:
        """Return where an object lies.

        Raises:
            BadInput: there is none of this digest and kind.
        """
        if not is_digest(digest):
            raise BadInput(f"{str(digest)[:80]!r} is no digest; objects are named by 64 hexadecimal digits.")
        path = self._place(digest, suffix)
        if not path.exists():
            raise BadInput(f"The project has no {suffix} object {digest[:12]}…; it was deleted, or belongs to another project.")
        return path

    def find(self, digest: str) -> Path | None:
        """Return where the object of this digest lies, whatever its kind, or None."""
        return next((path for suffix in SUFFIXES if (path := self._place(digest, suffix)).exists()), None)

    def drop(self, digest: str) -> None:
        """Delete the object of this digest, if there is one; whoever calls this has seen that nothing else names it."""
        path = self.find(digest)
        if path is not None:
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what killed writers left behind."""
        for path in self.folder.glob("*/.*.half"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > FORGOTTEN:
                    path.unlink()

    def _place(self, digest: str, suffix: Suffix) -> Path:
        return self.folder / digest[:2] / f"{digest}.{suffix}"


def intact(path: Path) -> bool:
    """Return whether a file's bytes are those that its name promises."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == path.stem


def _write(path: Path, parts: Sequence[Part]) -> None:
    half = path.with_name(f".{path.stem[:12]}.{os.getpid()}.{secrets.token_hex(4)}.half")
    try:
        with half.open("xb", buffering=0) as file:
            for part in parts:
                _write_all(file.fileno(), memoryview(part))
            os.fsync(file.fileno())
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name must outlive a power cut, too
    finally:
        os.close(folder)


def _write_all(file: int, part: memoryview) -> None:
    while len(part):
        part = part[os.write(file, part) :]
