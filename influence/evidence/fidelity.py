"""What was measured of a method's predictions, figure by figure: in one way on pages and by commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from influence.evidence import words

SAME, FRESH = "same seed", "new seeds"
SIZE = (
    "Size: how much really changes for each unit predicted; 1 is right. Calibrated: corrected on half of the retrainings, and checked on "
    "the other half."
)
RANKS = "These scores rank only: they are in no unit, so their order is checked and their size is not."


def where(r: Mapping[str, Any]) -> str:
    """Return what a measurement left out at a time, and against which truth it was made."""
    return f"{words.percent(r['fraction'], 0 if r['fraction'] >= 0.01 else 2)}, {SAME if r['truth'] == 'same' else FRESH}"


def figures(r: Mapping[str, Any]) -> dict[str, str]:
    """Return a measurement (one of `by_fraction`) as text, by the name of the figure."""

    def between(name: str) -> str:
        if not words.known(r.get(name)):
            return "not defined"
        return f"{words.number(r[name])} ({words.interval(r[f'{name}_low'], r[f'{name}_high'])})"

    return {
        "rows left out": f"{r['removed']:,}",
        "retrainings (n)": f"{r['n']} for each of {words.count(r['seeds'], 'seed')}" if r["truth"] == "fresh" else f"{r['n']}",
        "LDS of the smooth version (95 %)": between("lds"),
        "LDS of the metric as read (95 %)": between("lds_measured"),
        "size (95 %)": between("slope") if r["calibrated"] else "rank only",
        "size when calibrated (95 %)": between("slope_after") if r["calibrated"] else "rank only",
        "ceiling of the LDS (95 %)": "none: no chance in it" if r["truth"] == "same" else between("noise_ceiling"),
    }
