"""Tables that are had by name: scikit-learn's own sets, OpenML's, and data sets of Hugging Face's hub."""

from __future__ import annotations

import pandas as pd

from influence.data.readers import Asked
from influence.errors import BadInput

SKLEARN, OPENML, HUB = "sklearn:", "openml:", "hub:datasets/"
BUNDLED = ("breast_cancer", "diabetes", "digits", "iris", "wine")
"""What is installed with scikit-learn; its other sets would have to be fetched."""
HOW = "Name data as sklearn:NAME, openml:NAME or openml:ID, or hub:datasets/OWNER/NAME with /CONFIG after it if it has several."


def is_name(data: str) -> bool:
    """Say whether data is named as one of these sets, not by a path."""
    return data.startswith((SKLEARN, OPENML, HUB.removesuffix("datasets/")))


def title(data: str) -> str:
    """Return what a set is called: its name without owner and configuration."""
    parts = data.partition(":")[2].removeprefix("datasets/").split("/")
    return parts[1] if len(parts) > 1 else parts[0]


def read(data: str, asked: Asked) -> pd.DataFrame:
    """Return the table of a name; a set of several parts has the column `split`, which says them.

    Raises:
        BadInput: there is no such set, it is no table, or it cannot be had here.
    """
    if asked.sheet:
        raise BadInput(f"{data[:120]!r} has no sheets; {asked.sheet!r} was asked for. Ask for no sheet.")
    if data.startswith(SKLEARN):
        from influence.data.readers import _scikit

        return _scikit.bundled(data.removeprefix(SKLEARN)).iloc[: asked.rows]
    if data.startswith(OPENML):
        from influence.data.readers import _scikit

        return _scikit.fetched(data.removeprefix(OPENML)).iloc[: asked.rows]
    if data.startswith(HUB):
        from influence.data.readers import _hub, folder

        place, files = _hub.fetched(data.removeprefix(HUB))
        return folder.read(place, asked, files)
    raise BadInput(f"{data[:120]!r} names no data. {HOW}")
