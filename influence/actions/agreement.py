"""How far do methods agree about one question? Over all scores that are kept for it. No PyTorch here: pages call this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from influence.actions._scored import Described, completed, every
from influence.errors import BadInput
from influence.evaluation.agreement import correlations, overlaps
from influence.evidence import words
from influence.groups import columns_of
from influence.registry import attribution, described, queries, settings
from influence.store import Project
from influence.types import Report, ignore

TOP = 100
BLIND = "random"
"""The method that knows nothing: it stands in the table, but how methods agree is not judged by it."""


def agreement(
    project: Project,
    query: str,
    run: str | None = None,
    query_set: Mapping[str, Any] | None = None,
    report: Report = ignore,
) -> dict[str, Any]:
    """Compare the scores of every method that was asked this question of this run, pair by pair.

    `correlation`: rank correlation over the N training rows (Spearman), with 95 % intervals `low` and `high`;
    `overlap`: share of the first `top` rows that two methods have in common (`chance`: of two random orders). The first rows are those
    whose removal is predicted to move the question most in its better direction.

    Raises:
        BadInput: there is no such run or question, or fewer than two methods were asked.
    """
    it = project.run(run)
    asked = queries.make(query, completed(query, query_set, it))
    found = every(project, it.id, described(asked))
    if len(found) < 2:
        for name in (s.name for s in settings(type(asked)) if s.column):
            columns_of(project.dataset(it.dataset).evaluation, getattr(asked, name))  # or that is what is wrong with it
        raise BadInput(
            f"Agreement compares two methods or more; this question was scored by {len(found)}. Score it with another method first."
        )
    result = compared(project, found)
    return {**result, "sentence": sentence(result), "run": it.id}


def compared(project: Project, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the agreement of kept scores (results of `attribute`): matrices in their order."""
    values = np.stack([project.scores(f["scores"]).column() for f in found], axis=1)
    n, top = len(values), min(TOP, max(1, len(values) // 10))
    r, low, high = correlations(values)
    return {
        "methods": [f["method"] for f in found],
        "names": [name_of(f["method"]) for f in found],
        "calibrated": [f["calibrated"] for f in found],
        "correlation": _plain(r),
        "low": _plain(low),
        "high": _plain(high),
        "overlap": overlaps(values, top, lowest=found[0]["better"] != "higher").tolist(),
        "top": top,
        "chance": top / n,
        "n": n,
    }


def name_of(method: Described) -> str:
    """Return a method's id with the settings that are not its defaults."""
    usual = described(attribution.make(method["name"]))["given"]
    other = [f"{key} {value}" for key, value in method["given"].items() if usual.get(key) != value]
    return method["name"] + (f" ({', '.join(other)})" if other else "")


def sentence(it: Mapping[str, Any]) -> str:
    """Say what a comparison means."""
    knowing = [k for k, method in enumerate(it["methods"]) if method["name"] != BLIND]
    places = [(a, b) for a in knowing for b in knowing if b < a and it["correlation"][a][b] is not None]
    if not places:
        return f"There is nothing to agree yet: score the question with two methods that vary and know the model ({BLIND} does not)."
    least, a, b = min((it["correlation"][a][b], a, b) for a, b in places)
    shared = min(it["overlap"][a][b] for a, b in places)
    word = "closely" if least >= 0.8 else "partly" if least >= 0.4 else "hardly"
    return (
        f"Over {it['n']:,} training rows these {len(knowing)} methods order the rows {word} alike: the least rank correlation is "
        f"{least:.2f}, between {it['names'][a]} and {it['names'][b]}. Of the first {it['top']:,} rows, which one would remove, "
        f"{'the two have' if len(places) == 1 else 'some two have only'} {100 * shared:.0f} % in common. Agreement is not truth: methods "
        "can be wrong in the same way. Only retraining says which of them is right."
    )


def pairs(it: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a comparison as text, pair by pair; `names`: what the methods are called there."""
    return [
        {
            "methods": f"{names[a]} and {names[b]}",
            "rank correlation (95 %)": f"{words.number(it['correlation'][a][b], 2)} "
            f"({words.interval(it['low'][a][b], it['high'][a][b], 2)})",
            f"first {it['top']:,} in common": words.percent(it["overlap"][a][b], 0),
            "n": it["n"],
        }
        for a in range(len(names))
        for b in range(a + 1, len(names))
    ]


def _plain(matrix: np.ndarray) -> list[list[float | None]]:
    return [[float(v) if np.isfinite(v) else None for v in row] for row in matrix]
