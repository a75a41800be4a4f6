"""Rows picked by hand, by their ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from influence.errors import BadInput
from influence.registry import finders, option
from influence.types import Examples, Scores, Selection

SEPARATORS = (r"\r?\n", r"[\n,;]", r"[\s,;]")
"""From the strictest: ids that are text can hold blanks, commas and semicolons themselves."""


@finders
@dataclass(frozen=True)
class Rows:
    """Rows named one by one; ids that hold blanks or commas stand one on each line."""

    ids: str = option("", "Ids, separated by commas, blanks or lines")

    def __call__(self, scores: Scores | None, examples: Examples) -> Selection:
        """Return the selection.

        Raises:
            BadInput: no ids, an id that is not among the rows, or one that may be several of them.
        """
        known = spellings(examples.ids.tolist())
        given = parts(self.ids, known)
        if not given:
            raise BadInput("No ids were given. Type the ids of training rows, separated by commas.")
        unknown = [i for i in given if i not in known]
        if unknown:
            raise BadInput(
                f"{len(unknown)} of {len(given)} ids are not among the training rows, for example {unknown[0]}. "
                f"Their ids are like {', '.join(str(i) for i in examples.ids[:3])}."
            )
        for one in given:
            if len(known[one]) > 1:
                raise BadInput(
                    f"{one!r} may be any of {len(known[one])} ids: {', '.join(map(repr, known[one]))}. Type one as it is written."
                )
        found = tuple(dict.fromkeys(known[i][0] for i in given))
        words = f"{len(found):,} {'row' if len(found) == 1 else 'rows'} picked by hand"
        return Selection(found, reason={"rule": "rows", "ids": "\n".join(map(str, found)), "words": words})


def spellings(ids: Iterable[Any]) -> dict[str, list[Any]]:
    """Return which ids each spelling may mean: as they are written, and without the blanks around them where that is no other's."""
    exact: dict[str, list[Any]] = {}
    trimmed: dict[str, list[Any]] = {}
    for i in ids:
        exact.setdefault(str(i), []).append(i)
        trimmed.setdefault(str(i).strip(), []).append(i)
    return trimmed | exact


def parts(text: str, *known: Mapping[str, object]) -> list[str]:
    """Return the ids in a text, cut in the first way of which all parts are known, or else in the one that finds most of them.

    Blanks around an id that has a line to itself count. `known`: spellings of ids, in one mapping or several.
    """
    cuts: list[tuple[list[str], int]] = []
    for separator in SEPARATORS:
        cut = [part for part in re.split(separator, text) if part.strip()]
        found = [part if separator == SEPARATORS[0] and _is_known(part, known) else part.strip() for part in cut]
        cuts.append((found, sum(_is_known(part, known) for part in found)))
        if cuts[-1][1] == len(found):
            return found
    return max(reversed(cuts), key=lambda cut: (cut[1], cut[1] and -len(cut[0])))[0]


def _is_known(part: str, known: Iterable[Mapping[str, object]]) -> bool:
    return any(part in names for names in known)
