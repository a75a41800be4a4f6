"""What an exported model says when it is brought again: how its data were read, and what it claims; the importer's own word comes first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from influence.actions._checks import Check, checked
from influence.data.dataset import Dataset
from influence.data.images.sources import holds_images
from influence.data.read import read_table
from influence.data.stated import read_encoding
from influence.errors import BadInput
from influence.evidence import words
from influence.exchange.exported import LISTS, Exported, same_encoding

OPEN: tuple[Any, ...] = ("", [], {}, 0, 0.2)
"""What arguments are when nobody gave them."""


def completed(exported: Exported | None, data: str, given: Mapping[str, Any], sheet: str = "") -> dict[str, Any]:
    """Return the arguments by which data are read, those left open as the model's own data were; columns only if the data have them."""
    told = dict(exported.data) if exported else {}
    made = {name: told.get(name, value) if value in OPEN else value for name, value in given.items()}
    here = _columns(data, sheet) if any(told.get(name) for name in (*LISTS, "id", "split")) else None
    if here is not None:
        made |= {name: [part for part in made[name] if part in here] for name in LISTS if name in made and not given[name]}
        made |= {name: made[name] if made[name] in here else "" for name in ("id", "split") if not given[name]}
    return made


def _columns(data: str, sheet: str) -> set[str] | None:
    """Return the names of a table's columns; None for what is no table."""
    if holds_images(data):  # a folder of them may have a table beside, which does not tell all columns
        return None
    try:
        return {str(name) for name in read_table(data, rows=5, sheet=sheet).columns}
    except BadInput:
        return None


def encoding_of(exported: Exported | None, preprocessing: str) -> dict[str, Any] | None:
    """Return the preprocessing that a file states, else that of an exported model of tables or texts, else None: it is fitted then.

    Raises:
        BadInput: the file cannot be used.
    """
    if preprocessing:
        return read_encoding(preprocessing)
    return dict(exported.encoding) if exported and exported.encoding.get("kind") in ("table", "text") else None


def checks(exported: Exported | None, dataset: Dataset) -> list[Check]:
    """Say whether inputs are made as they were, and what the model claims of itself; nothing of one that says nothing."""
    if exported is None:
        return []
    same, what = same_encoding(exported.encoding, dataset.encoding), "Inputs as where it was trained"
    mend = "" if same else "Bring the rows in the form in which it saw them, with the same settings of their reading."
    said = f"raw rows become inputs {'as' if same else 'otherwise than'} the model says."
    found = [checked(what, "good" if same else "doubtful", said, mend)]
    level, removed = exported.claim["level"], exported.claim["removed"]
    if level not in ("", "trained"):
        without = f", without {words.count(removed, 'row')}" if removed else ""  # none where labels were corrected
        said = f"it says {level}{without}. That is its sender's word: the records behind it are in another project."
        found.append(checked("What it claims", "none", said, "Ask for the report of that removal."))
    return found
