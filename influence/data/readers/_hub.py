"""A data set of Hugging Face's hub: its Parquet, CSV or JSON lines files, as the hub itself converted them or as they lie; no script."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from influence.data.readers import MOST_BYTES
from influence.data.readers.folder import PARTS
from influence.errors import BadInput

NAME = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?(/[\w.() +-]{1,96})?")
CONVERTED = "refs/convert/parquet"
"""The branch into which the hub writes every data set as CONFIG/PART/0000.parquet."""
KINDS = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson", ".csv.gz", ".tsv.gz", ".jsonl.gz")
USUAL = "default"
INSTALL = "Install it with: pip install -r requirements-text.txt"


def fetched(name: str) -> tuple[Path, list[Path]]:
    """Return the folder of OWNER/NAME in the hub's own cache, and its tables: those of one configuration if /CONFIG follows.

    Raises:
        BadInput: it is no name, there is no such set or configuration, it has no tables or too large ones, or the hub cannot be reached.
    """
    if not NAME.fullmatch(name) or ".." in name:
        raise BadInput(f"{name[:120]!r} is no data set of the hub. Name it as hub:datasets/OWNER/NAME, with /CONFIG if it has several.")
    try:
        hub = import_module("huggingface_hub")
    except ImportError:
        raise BadInput(f"Data sets of the hub need the huggingface_hub library, which is not installed here. {INSTALL}") from None
    owner, _, rest = name.partition("/")
    base, _, config = rest.partition("/")
    whole = f"{owner}/{base}" if base else owner
    try:
        told = _told(hub, whole)
        chosen = _chosen(whole, {file.rfilename: file.size or 0 for file in told.siblings or ()}, config)
        given = {"repo_type": "dataset", "revision": told.sha, "allow_patterns": [_letter_by_letter(file) for file in chosen]}
        folder = Path(hub.HfApi().snapshot_download(whole, **given))
        return folder, [folder / file for file in chosen]
    except BadInput:
        raise
    except Exception as error:  # whatever the library and the network bring about
        said = " ".join(str(error).split())[:160]
        raise BadInput(
            f"{whole!r} could not be had from the hub ({type(error).__name__}: {said}). Offline? Where there is a network, `hf download "
            f"{whole} --repo-type dataset --local-dir FOLDER` brings it; then give the folder."
        ) from None


def _told(hub: Any, name: str) -> Any:
    """Return what the hub says of a set as it converted it, or as it lies where it did not: commit, and files with their sizes."""
    try:
        return hub.HfApi().dataset_info(name, revision=CONVERTED, files_metadata=True)
    except hub.errors.RevisionNotFoundError:
        return hub.HfApi().dataset_info(name, files_metadata=True)


def _chosen(name: str, sizes: dict[str, int], config: str) -> list[str]:
    """Return the files to fetch.

    Raises:
        BadInput: there are none, they are too large, or there is no such configuration, or one of several must be named.
    """
    tables = {file: _config(file) for file in sizes if file.lower().endswith(KINDS)}
    if not tables:
        raise BadInput(f"{name!r} has no Parquet, CSV or JSON lines files on the hub, and its scripts are never run. Choose another set.")
    named = sorted(set(tables.values()))
    shown = ", ".join(part for part in named[:20] if part) or "none"
    if config and config not in named:
        raise BadInput(f"{name!r} has no configuration {config!r}. There are: {shown}.")
    usual = next((part for part in (USUAL, "") if part in named), named[0] if len(named) == 1 else None)
    if not config and usual is None:
        raise BadInput(f"{name!r} has several configurations: {shown}. Name one, as hub:datasets/{name}/{named[0]}.")
    chosen = sorted(file for file, part in tables.items() if part == (config or usual))
    size = sum(sizes[file] for file in chosen)
    if size > MOST_BYTES:
        raise BadInput(
            f"{name!r} has {size / 1e6:,.0f} MB of tables; at most {MOST_BYTES / 1e6:,.0f} MB are fetched. Download a part of them, and "
            "give that folder."
        )
    return chosen


def _config(file: str) -> str:
    """Return the configuration to which a file belongs by its first folder; "" where that is no name of one."""
    first, inside, _ = file.partition("/")
    return "" if not inside or first.lower() == "data" or first.lower() in PARTS else first


def _letter_by_letter(file: str) -> str:
    """Return a pattern that means one file alone."""
    return re.sub(r"([*?[])", r"[\1]", file)
