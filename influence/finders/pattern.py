"""Rows that meet several conditions at once, as the search for suspects finds them."""

from __future__ import annotations

from dataclasses import dataclass

from influence import conditions
from influence.errors import BadInput
from influence.registry import finders, option
from influence.types import Examples, Scores, Selection


@finders
@dataclass(frozen=True)
class Pattern:
    """Rows that meet all conditions of a list, written as JSON: names of columns and cells can hold any character."""

    conditions: str = option("", 'List of conditions, such as [{"column": "age", "is_": "at most", "value": "25"}]')

    def __call__(self, scores: Scores | None, examples: Examples) -> Selection:
        """Return the selection.

        Raises:
            BadInput: no list of conditions, one that does not fit the columns, or no row that meets them all.
        """
        wanted = conditions.read(self.conditions)
        met = conditions.met(wanted, examples.columns)
        words = f"rows where {conditions.rule(wanted)}"
        if not met.any():
            raise BadInput(f"There are no {words}. Choose another pattern.")
        reason = {"rule": "pattern", "conditions": conditions.written(wanted), "words": words}
        return Selection(tuple(examples.ids[met].tolist()), reason=reason)
