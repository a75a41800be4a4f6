"""Rows picked by hand, by their ids."""

from __future__ import annotations

import re
from dataclasses import dataclass

from influence.errors import BadInput
from influence.registry import finders, option
from influence.types import Examples, Scores, Selection


@finders
@dataclass(frozen=True)
class Rows:
    """Rows named one by one."""

    ids: str = option("", "Ids, separated by commas, blanks or lines")

    def __call__(self, scores: Scores | None, examples: Examples) -> Selection:
        """Return the selection.

        Raises:
            BadInput: no ids, or an id that is not among the rows.
        """
        given = [part for part in re.split(r"[\s,;]+", self.ids) if part]
        if not given:
            raise BadInput("No ids were given. Type the ids of training rows, separated by commas.")
        known = dict(zip(map(str, examples.ids.tolist()), examples.ids.tolist(), strict=True))
        unknown = [i for i in given if i not in known]
        if unknown:
            raise BadInput(f"{len(unknown)} of {len(given)} ids are not among the training rows, for example {unknown[0]}.")
        found = tuple(dict.fromkeys(known[i] for i in given))
        return Selection(found, reason={"rule": "rows", "words": f"{len(found):,} rows picked by hand"})
