"""The order in which names of levels stand for more and more: by the numbers in them, or as words of a usual scale."""

from __future__ import annotations

import re
from collections.abc import Sequence

NUMBER = re.compile(r"(?<!\d)-?\d+(?:\.\d+)?")
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
BELOW = re.compile(r"^\s*(<|≤|under|below|less|up to|before|at most|fewer)", re.IGNORECASE)
ABOVE = re.compile(r"^\s*(>|≥|over|above|more|greater|after|at least)|\+\s*$|(and|or) (more|over|older|above)", re.IGNORECASE)

SCALES = tuple(
    [frozenset(step.split("|")) for step in scale.split(", ")]
    for scale in (
        "none|no|zero, lowest|very low, low, medium|moderate|middle|mid|average|normal, high, highest|very high, extreme",
        "none|no, minimal|very mild, mild|minor|slight, moderate|medium, severe|serious|major, critical|very severe",
        "xxs, xs|extra small|tiny, s|small, m|medium, l|large|big, xl|extra large|huge, xxl, xxxl",
        "never, almost never|very rarely, rarely|seldom, sometimes|occasionally, often|frequently, almost always|usually, always",
        "very bad|very poor|terrible, bad|poor, fair|average|ok|okay|acceptable, good, very good, excellent",
        "strongly disagree, disagree, neutral|neither|undecided|neither agree nor disagree, agree, strongly agree",
        "very dissatisfied, dissatisfied, neutral|neither, satisfied, very satisfied",
        "very unlikely, unlikely, neutral|possible, likely, very likely",
        "primary, secondary, tertiary",
        "first, second, third, fourth, fifth, sixth, seventh, eighth, ninth, tenth",
        "mon|monday, tue|tuesday, wed|wednesday, thu|thursday, fri|friday, sat|saturday, sun|sunday",
        "jan|january, feb|february, mar|march, apr|april, may, jun|june, jul|july, aug|august, sep|september, oct|october, "
        "nov|november, dec|december",
    )
)


def natural(names: Sequence[str]) -> list[str] | None:
    """Return the names in their natural order, or None if there is none: one name without a number, two of one rank, words of no scale."""
    for key in (_plain, _numbered):
        keys = [key(name) for name in names]
        if None not in keys and len(set(keys)) == len(keys):
            return [name for _, name in sorted(zip(keys, names, strict=True), key=lambda pair: pair[0] or ())]
    for scale in SCALES:
        ranks = [_rank(name, scale) for name in names]
        if -1 not in ranks and len(set(ranks)) == len(ranks):
            return [name for _, name in sorted(zip(ranks, names, strict=True))]
    return None


def _plain(name: str) -> tuple[float, int] | None:
    try:
        return float(name), 0
    except ValueError:
        return None


def _numbered(name: str) -> tuple[float, int] | None:
    """The first number in a name, and whether it stands for what is below it or above."""
    found = NUMBER.search(THOUSANDS.sub("", name))
    return (float(found[0]), bool(ABOVE.search(name)) - bool(BELOW.search(name))) if found else None


def _rank(name: str, scale: list[frozenset[str]]) -> int:
    word = " ".join(re.sub(r"[_-]", " ", name).casefold().split())
    return next((rank for rank, words in enumerate(scale) if word in words), -1)
