"""JSON lines, one flat object a line, and one JSON array of flat objects."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pandas as pd

from influence.data.readers import Asked, File, refuse_large
from influence.errors import BadInput

WHAT, SUFFIXES, TEXT = "a JSON file", (".jsonl", ".ndjson", ".json"), True
BLANK = re.compile(r"[ \t\r\n]*")
NEEDED = "One JSON object a line is needed, or an array of objects, as pandas' to_json(orient='records') writes them."


def recognises(head: bytes) -> bool:
    """Say whether the bytes begin as a JSON object or array."""
    return head[:64].removeprefix(codecs.BOM_UTF8).lstrip(b" \t\r\n").startswith((b"{", b"["))


def read(file: File, asked: Asked) -> pd.DataFrame:
    """Return the table of the objects; a name that an object lacks is a missing cell.

    Raises:
        BadInput: the file is no JSON, an object is not flat, or there are too many names or cells.
    """
    try:
        text = file.contents().removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError:
        raise BadInput(f"{file.name!r} is not UTF-8, as JSON has to be. Save it as UTF-8.") from None
    places: dict[str, list[int]] = {}
    values: dict[str, list[Any]] = {}
    rows = 0
    for found in islice(_objects(text, file.name), asked.rows):
        for name, value in found.items():
            if name not in places:
                places[name], values[name] = [], []
                refuse_large(rows, len(places), file.name)
            places[name].append(rows)
            values[name].append(value)
        rows += 1
        if rows % 1024 == 0:
            refuse_large(rows, len(places), file.name)
    if not places:
        raise BadInput(f"{file.name!r} holds no rows; at least 20 are needed. {NEEDED}")
    return pd.DataFrame({name: _column(places.pop(name), values.pop(name), rows) for name in list(places)}, copy=False)


def _objects(text: str, name: str) -> Iterator[dict[str, Any]]:
    """Yield the objects one by one.

    Raises:
        BadInput: what stands there is no JSON, or no flat object.
    """
    place = _after_blank(text, 0)
    listed = text.startswith("[", place)
    place = _after_blank(text, place + 1) if listed else place
    decoder, number = _decoder(name), 0
    while place < len(text) and not (listed and text.startswith("]", place)):
        number += 1
        found, end = _decoded(decoder, text, place, number, name)
        yield found
        place = _next(text, end, listed, number, name)
    if listed and (place >= len(text) or _after_blank(text, place + 1) < len(text)):
        raise BadInput(f"The array of {name!r} {'goes on after' if place < len(text) else 'breaks off before'} its end. {NEEDED}")


def _decoder(name: str) -> json.JSONDecoder:
    """Return a decoder that knows no number that is not finite, and no name twice in one object: JSON has neither."""

    def constant(word: str) -> None:
        raise BadInput(f"{name!r} has {word} in it, which is no JSON. Write null for a missing number.")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name comes twice")
        return found

    return json.JSONDecoder(parse_constant=constant, object_pairs_hook=unique)


def _decoded(decoder: json.JSONDecoder, text: str, place: int, number: int, name: str) -> tuple[dict[str, Any], int]:
    try:
        found, end = decoder.raw_decode(text, place)
    except BadInput:
        raise
    except (ValueError, RecursionError):
        raise BadInput(f"Object {number} of {name!r} is no JSON object with distinct names and flat values. {NEEDED}") from None
    if not isinstance(found, dict):
        raise BadInput(f"Value {number} of {name!r} is no JSON object. {NEEDED}")
    nested = next((key for key, value in found.items() if isinstance(value, dict | list)), None)
    if nested is not None:
        what = "a list" if isinstance(found[nested], list) else "an object"
        raise BadInput(
            f"{nested[:80]!r} of object {number} of {name!r} holds {what}; a table's cells are single values. Make a column of each part."
        )
    return found, end


def _after_blank(text: str, place: int) -> int:
    found = BLANK.match(text, place)
    return found.end() if found else place


def _next(text: str, end: int, listed: bool, number: int, name: str) -> int:
    place = _after_blank(text, end)
    if not listed and (place == len(text) or "\n" in text[end:place]):
        return place
    if listed and text.startswith("]", place):
        return place
    if listed and text.startswith(",", place) and not text.startswith("]", after := _after_blank(text, place + 1)):
        return after
    raise BadInput(f"After object {number} of {name!r} {'a comma or ]' if listed else 'a new line'} is needed. {NEEDED}")


def _column(places: list[int], values: list[Any], rows: int) -> pd.Series:
    if len(values) == rows:
        return pd.Series(values, dtype=object)
    column = pd.Series([None] * rows, dtype=object)
    column.iloc[places] = values
    return column
