"""A folder of tables, as Hugging Face's data sets lie: one file or many for each part, the part told by the name of file or folder."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from influence.data.readers import Asked, File, readers, refuse_large
from influence.data.readers import read as read_file
from influence.errors import BadInput

PART = "split"
PARTS = ("train", "training", "evaluation", "eval", "validation", "valid", "val", "dev", "holdout", "test", "testing")
"""What parts are called, as in a split column (`influence.data.split`)."""
TOLD = ("dataset_infos.json", "dataset_dict.json", "state.json", "dataset_info.json", "config.json", "package.json")
"""JSON files that describe data and are none."""
MOST_FILES = 10_000
NEEDED = "Choose a CSV or Parquet file in it, or a folder of such files."


def tables_in(folder: Path) -> list[Path]:
    """Return the files of a folder, however deep, that are called as tables, sorted.

    Raises:
        BadInput: there are too many.
    """
    ends = tuple(s for reader in readers() for s in reader.SUFFIXES if s not in ("", ".txt"))
    found: list[Path] = []
    for place, below, names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        found += [Path(place) / n for n in names if n.lower().endswith(ends) and not n.startswith(".") and n not in TOLD]
        if len(found) > MOST_FILES:
            raise BadInput(f"{folder.name!r} holds more than {MOST_FILES:,} tables. Choose a folder with fewer.")
    return sorted(file for file in found if file.is_file())  # a pipe would be waited for


def read(folder: Path, asked: Asked, files: list[Path] | None = None) -> pd.DataFrame:
    """Return the tables of a folder, one below the other; where they are parts of a set, the column `split` says which.

    `files`: which of its tables; all if None. Those of no known part are left out where others have one, and a note says so.

    Raises:
        BadInput: there is no table, one lies elsewhere or is damaged, or they differ in their columns.
    """
    files = tables_in(folder) if files is None else files
    if not files:
        raise BadInput(f"{folder.name!r} is a folder without tables; a file is needed. {NEEDED}")
    parts = {file: part_of(file.relative_to(folder)) for file in files}
    used = sorted((f for f in files if parts[f] or not any(parts.values())), key=lambda f: (not parts[f].startswith("train"), f))
    found: list[pd.DataFrame] = []
    count = size = 0
    for file in used:
        table = _one(file, folder, asked, count)
        found.append(table if not parts[file] else _told(table, parts[file]))
        _refuse_unlike(found[0], found[-1], used[0], file)
        count += len(table)
        size += int(table.memory_usage(deep=True).sum())
        refuse_large(count, len(found[0].columns), folder.name, size)
        if asked.rows is not None and count >= asked.rows:
            break
    made = pd.concat(found, ignore_index=True)
    left = len(files) - len(used)
    made.attrs["note"] = f"{left:,} of {len(files):,} files are of no part that is known, and were left out." if left else ""
    return made


def part_of(place: Path) -> str:
    """Return the part that a file belongs to: the word for one nearest to its end, in its name or the folders above; "" for none."""
    for name in reversed(place.parts):
        words = [word for word in re.split(r"[^a-z]+", name.lower()) if word in PARTS]
        if words:
            return words[0]
    return ""


def _one(file: Path, folder: Path, asked: Asked, count: int) -> pd.DataFrame:
    if not _is_inside(file, folder):
        raise BadInput(f"{file.name!r} is a link that leads out of its folder, and is not followed. Put the file itself there.")
    rows = None if asked.rows is None else asked.rows - count
    with file.open("rb") as stream:
        table = read_file(File(file.name, file.stat().st_size, stream), Asked(rows, asked.as_text, asked.sheet))
        stream.seek(0)
        return _named(table, _classes(stream)) if stream.read(4) == b"PAR1" else table


def _is_inside(file: Path, folder: Path) -> bool:
    """Say whether a file lies where it seems to; the hub's own cache links to its own files beside."""
    real, home = file.resolve(), folder.resolve()
    cache = next((place.parent / "blobs" for place in home.parents if place.name == "snapshots"), None)
    return real.is_relative_to(home) or (cache is not None and real.is_relative_to(cache))


def _told(table: pd.DataFrame, part: str) -> pd.DataFrame:
    return table if PART in table else table.assign(**{PART: pd.Series(part, index=table.index, dtype="str")})


def _refuse_unlike(first: pd.DataFrame, other: pd.DataFrame, one: Path, file: Path) -> None:
    if set(first.columns) != set(other.columns):
        odd = sorted(map(str, set(first.columns) ^ set(other.columns)))
        raise BadInput(
            f"{one.name!r} and {file.name!r} differ in their columns ({', '.join(odd[:5])}), and are no parts of one table. Choose a "
            "folder with the files of one, or one file."
        )


def _classes(stream: Any) -> dict[str, list[str]]:
    """Return the names of the classes that a Parquet file of Hugging Face tells of its numbered columns, by column."""
    try:
        told = json.loads((pq.read_schema(stream).metadata or {}).get(b"huggingface", b"{}"))
        features = told["info"]["features"]
        found = {
            str(name): kind["names"] for name, kind in features.items() if isinstance(kind, dict) and kind.get("_type") == "ClassLabel"
        }
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: list(map(str, names)) for name, names in found.items() if isinstance(names, list)}


def _named(table: pd.DataFrame, classes: dict[str, list[str]]) -> pd.DataFrame:
    """Return the table with the names of classes for their numbers; -1 is a class that is not told."""
    for name, names in classes.items():
        if name not in table or not pd.api.types.is_integer_dtype(table[name].dtype) or not table[name].between(-1, len(names) - 1).all():
            continue
        table = table.assign(**{name: pd.Series([None, *names], dtype="str").take(table[name] + 1).to_numpy()})
    return table
