"""What folders say: a folder per class, and train, test and validation folders around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from posixpath import splitext

import pandas as pd

from influence.data.images.decode import OTHERS, SUFFIXES
from influence.data.split import TRAIN, WORDS
from influence.errors import BadInput

IMAGES = frozenset(SUFFIXES + OTHERS)
ARCHIVES = frozenset((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".npz", ".zst"))
JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")


def is_image(path: str) -> bool:
    """Whether a file is named as an image."""
    return splitext(path)[1].lower() in IMAGES


def is_archive(path: str) -> bool:
    """Whether a file is named as an archive."""
    return splitext(path)[1].lower() in ARCHIVES


def is_junk(path: str) -> bool:
    """Whether a file or folder is one that systems leave behind: hidden, or a cache of theirs."""
    return any(part.startswith(".") or part in JUNK for part in path.split("/"))


def above(path: str) -> Iterator[str]:
    """Yield the folders that a path lies in, outermost first."""
    at = path.find("/")
    while at > 0:
        yield path[:at]
        at = path.find("/", at + 1)


def common(paths: Iterable[str]) -> str:
    """Return the folders that all paths share and that say nothing, such as the one folder that holds all in an archive: "" or "a/b/"."""
    parts = [path.split("/") for path in paths]
    shared = 0
    while parts and max(map(len, parts)) > shared + 2 and len({p[shared] if len(p) > shared + 1 else None for p in parts}) == 1:
        shared += 1
    return "".join(f"{part}/" for part in parts[0][:shared]) if shared else ""


def laid_out(paths: list[str], empty: Iterable[str], name: str) -> pd.DataFrame:
    """Return a table of N rows with `path`, and `split` and `label` where folders say them; an image in no class folder has no label.

    `paths`: of the N images, relative, with /. `empty`: folders without an image.

    Raises:
        BadInput: a class folder holds no image, or two differ in upper and lower case only.
    """
    parts = [path.split("/") for path in paths]
    depth = 1 if _splits({part[0] if len(part) > 1 else "" for part in parts}) else 0
    labels = [part[depth] if len(part) > depth + 1 else None for part in parts]
    classes = {label for label in labels if label is not None}
    _refuse_empty(classes, (folder.split("/") for folder in empty), depth, name)
    _refuse_alike(classes)
    columns: dict[str, pd.Series] = {"path": pd.Series(paths, dtype="str")}
    if depth:
        columns["split"] = pd.Series([part[0].lower() for part in parts], dtype="str")
    if classes:
        columns["label"] = _named(labels)
    return pd.DataFrame(columns)


def _splits(first: set[str]) -> bool:
    """Whether the outermost folders are train, test and the like."""
    return len(first) > 1 and {word.lower() for word in first} <= set(WORDS) and any(WORDS[word.lower()] == TRAIN for word in first)


def _named(labels: list[str | None]) -> pd.Series:
    # Folders 0 to 9 are numbers: their order is 2 before 10, and they equal the labels of the same set as arrays.
    whole = all(label is None or (label.isascii() and label.isdigit() and str(int(label)) == label and len(label) < 16) for label in labels)
    if whole:
        return pd.Series([None if label is None else int(label) for label in labels], dtype="float64" if None in labels else "int64")
    return pd.Series(labels, dtype="str")


def _refuse_empty(classes: set[str], folders: Iterable[list[str]], depth: int, name: str) -> None:
    without = sorted({folder[depth] for folder in folders if len(folder) > depth} - classes) if classes else []
    if without:
        raise BadInput(
            f"The folder {without[0]!r} of {name!r} holds no image, and each folder there stands for a class. "
            "Put its images there, or take the folder out."
        )


def _refuse_alike(classes: set[str]) -> None:
    by_case: dict[str, str] = {}
    for label in sorted(classes):
        other = by_case.setdefault(label.casefold(), label)
        if other != label:
            raise BadInput(
                f"The class folders {other!r} and {label!r} differ in upper and lower case only. Make them one, or give them two names."
            )
