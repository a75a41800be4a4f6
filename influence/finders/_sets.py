"""Selections combined as sets; the reason of the whole holds the reasons of its parts."""

from __future__ import annotations

from influence.types import Selection


def union(first: Selection, second: Selection) -> Selection:
    """Return the rows in either."""
    return _joined(tuple(dict.fromkeys((*first.ids, *second.ids))), "and also", first, second)


def intersection(first: Selection, second: Selection) -> Selection:
    """Return the rows in both."""
    other = set(second.ids)
    return _joined(tuple(i for i in first.ids if i in other), "that are also", first, second)


def difference(first: Selection, second: Selection) -> Selection:
    """Return the rows of the first that are not in the second."""
    other = set(second.ids)
    return _joined(tuple(i for i in first.ids if i not in other), "but not", first, second)


def _joined(ids: tuple[object, ...], how: str, first: Selection, second: Selection) -> Selection:
    words = f"{first.reason.get('words', 'rows')}, {how} {second.reason.get('words', 'rows')}"
    return Selection(ids, first.action, {"rule": how, "of": [dict(first.reason), dict(second.reason)], "words": words})
