"""Unpack a record or data folder that came as one zip file, without letting the file say where anything is written."""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
from pathlib import Path

from influence.data.images.zipped import BROKEN, SHORT, refuse_long
from influence.data.read import size_limit
from influence.errors import BadInput
from influence.exchange.pt2 import is_graph

KNOWN = re.compile(
    r"(record|data|model|config|(tokenizer|preprocessor|generation)_config|tokenizer|special_tokens_map|added_tokens|vocab)\.json"
    r"|(vocab|merges)\.txt|(course|probe|data)\.npz|columns\.parquet|README\.md|[\w.\- ]{1,120}\.(safetensors|pt|pth|ckpt|pt2)"
)
"""Names that a record, a data folder, a folder of checkpoints or one of Hugging Face has."""
WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt", ".pt2")
WEIGHTS_GROW, ALL_GROW, MOST_FILES = 10, 100, 2000
"""How many times its own size an archive may unpack to, in weights, which hardly shrink, and in all; and into how many files."""
SMALL = 1_000_000
"""Bytes that any archive is taken to have."""
NEEDED = "A zip of the folder that recorder.save or influence.save_data wrote, or of checkpoints, is needed."
FEWER = "Bring fewer checkpoints."


def is_packed(path: Path) -> bool:
    """Whether a file is a zip archive of known names: PyTorch's own files of weights and graphs are zip archives too.

    Raises:
        BadInput: it lists more files than a model can have.
    """
    refuse_long(path, SHORT, FEWER)
    if is_graph(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = [Path(m.filename).name for m in archive.infolist() if not m.is_dir()]
    except BROKEN:
        return False
    return any(KNOWN.fullmatch(name) for name in names)


def unpacked(path: Path, into: Path) -> Path:
    """Write the files of an archive, which lie in one folder of it, into the new folder `into`, and return it; whole or not at all.

    Raises:
        BadInput: it is damaged or too large, holds links or other files, or files from several folders.
    """
    refuse_long(path, SHORT, FEWER)
    half = into.with_name(f".{into.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    try:
        with zipfile.ZipFile(path) as archive:
            for member in _members(archive, path.name, path.stat().st_size):
                _write(archive, member, half / Path(member.filename).name)
        half.rename(into)
    except BadInput:  # a ValueError too
        raise
    except BROKEN as error:
        raise BadInput(f"{path.name!r} is damaged or locked: {' '.join(str(error).split())[:100]}. {NEEDED}") from None
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return into


def _members(archive: zipfile.ZipFile, name: str, packed: int) -> list[zipfile.ZipInfo]:
    files = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
    odd = [m.filename for m in files if not KNOWN.fullmatch(Path(m.filename).name) or stat.S_ISLNK(m.external_attr >> 16)]
    folders = {str(Path(m.filename).parent) for m in files}
    if odd:
        raise BadInput(f"{name!r} holds {odd[0][:80]!r}, which is no part of a model or its data. {NEEDED}")
    if len(folders) != 1:
        raise BadInput(f"{name!r} holds files of {len(folders)} folders; those of one are needed. {NEEDED}")
    _refuse_growth(files, name, packed)
    if len({Path(m.filename).name for m in files}) < len(files):
        raise BadInput(f"{name!r} names a file twice. {NEEDED}")
    return files


def _refuse_growth(files: list[zipfile.ZipInfo], name: str, packed: int) -> None:
    if len(files) > MOST_FILES:
        raise BadInput(f"{name!r} holds {len(files):,} files; at most {MOST_FILES:,} are unpacked. {FEWER}")
    weights = [m for m in files if Path(m.filename).suffix in WEIGHTS]
    for what, parts, growth in (("weights", weights, WEIGHTS_GROW), ("files", files, ALL_GROW)):
        size, most = sum(m.file_size for m in parts), min(growth * max(packed, SMALL), WEIGHTS_GROW * size_limit())
        if size > most:
            raise BadInput(
                f"{name!r} has {packed / 1e6:,.1f} MB and unpacks to {size / 1e6:,.0f} MB of {what}; at most {most / 1e6:,.0f} MB are "
                "unpacked. Bring fewer checkpoints or rows, or give the folder by its path."
            )


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, to: Path) -> None:
    """Write one file, and no more of it than the archive's directory said.

    Raises:
        BadInput: there is more of it.
    """
    left = member.file_size
    with archive.open(member) as source, to.open("xb") as sink:
        while part := source.read(2**20):
            left -= len(part)
            if left < 0:
                raise BadInput(f"{member.filename[:80]!r} is larger than the archive says. {NEEDED}")
            sink.write(part)
