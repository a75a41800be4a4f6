"""metadata.csv and metadata.jsonl beside images, as Hugging Face's ImageFolder has them: `file_name`, and columns of any name."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from influence.data.read import read_table
from influence.data.schema import plain
from influence.errors import BadInput

NAMES = ("metadata.csv", "metadata.jsonl")
KEY = "file_name"
MOST_BYTES = 200_000_000


def is_metadata(path: str) -> bool:
    """Whether a file is one of these, by its name."""
    return posixpath.basename(path).lower() in NAMES


def joined(table: pd.DataFrame, files: Mapping[str, bytes]) -> pd.DataFrame:
    """Return the table of images with the columns that the files tell of them; a column `label` replaces that of the folders.

    `table`: N rows with `path`. `files`: contents of the files by path; what they name is relative to the folder that they are in.

    Raises:
        BadInput: a file cannot be read, has no `file_name`, or names what is not there or twice.
    """
    if not files:
        return table
    told = pd.concat([_read(path, data) for path, data in sorted(files.items())], ignore_index=True)
    unknown = told.loc[~told["path"].isin(table["path"]), "path"]
    if len(unknown):
        raise BadInput(
            f"The metadata name {unknown.iloc[0]!r}, which is not there ({len(unknown):,} of {len(told):,} names). "
            f"{KEY} must be the path of an image, relative to the folder of the metadata. Correct it."
        )
    twice = told.loc[told["path"].duplicated(), "path"]
    if len(twice):
        raise BadInput(f"The metadata name {twice.iloc[0]!r} twice; one line for each image is needed. Take one out.")
    kept = table.drop(columns=[name for name in told if name != "path" and name in table])
    return plain(kept.merge(told, on="path", how="left"))


def _read(path: str, data: bytes) -> pd.DataFrame:
    with TemporaryDirectory() as folder:  # the one door for tables takes files; the name is one of ours
        file = Path(folder, posixpath.basename(path).lower())
        file.write_bytes(data)
        frame = read_table(file)
    if KEY not in frame:
        raise BadInput(
            f"{path!r} has no column {KEY!r}, which names the image of each line. It has {', '.join(map(repr, frame.columns[:8]))}."
        )
    folder = posixpath.dirname(path)
    names = [posixpath.normpath(posixpath.join(folder, str(name))) for name in frame[KEY]]
    return frame.drop(columns=[KEY, *(["path"] if "path" in frame else [])]).assign(path=pd.Series(names, dtype="str"))
