"""Rows picked by hand, by their ids."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from influence.errors import BadInput
from influence.registry import finders, option
from influence.types import Examples, Scores, Selection

SEPARATORS = (r"\n", r"[\n,;]", r"[\s,;]")
"""From the strictest: ids that are text can hold blanks, commas and semicolons themselves."""


@finders
@dataclass(frozen=True)
class Rows:
    """Rows named one by one; ids that hold blanks or commas stand one on each line."""

    ids: str = option("", "Ids, separated by commas, blanks or lines")

    def __call__(self, scores: Scores | None, examples: Examples) -> Selection:
        """Return the selection.

        Raises:
            BadInput: no ids, or an id that is not among the rows.
        """
        known = {str(i).strip(): i for i in examples.ids.tolist()}
        given = _parts(self.ids, known)
        if not given:
            raise BadInput("No ids were given. Type the ids of training rows, separated by commas.")
        unknown = [i for i in given if i not in known]
        if unknown:
            raise BadInput(
                f"{len(unknown)} of {len(given)} ids are not among the training rows, for example {unknown[0]}. "
                f"Their ids are like {', '.join(list(known)[:3])}."
            )
        found = tuple(dict.fromkeys(known[i] for i in given))
        words = f"{len(found):,} {'row' if len(found) == 1 else 'rows'} picked by hand"
        return Selection(found, reason={"rule": "rows", "ids": "\n".join(map(str, found)), "words": words})


def _parts(text: str, known: Collection[str]) -> list[str]:
    """Return the ids in a text, cut in the first way of which all parts are known."""
    parts: list[str] = []
    for separator in SEPARATORS:
        parts = [part.strip() for part in re.split(separator, text) if part.strip()]
        if all(part in known for part in parts):
            break
    return parts
