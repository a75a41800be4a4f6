"""Write scores that the project keeps as a table: of one question and method, or of all that a run was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from influence.actions._leaving import place
from influence.actions._scored import completed, kept
from influence.errors import BadInput
from influence.files import writable, write_scores, write_table
from influence.registry import attribution, described, queries
from influence.store import Project, Run
from influence.types import Event, Report, ignore

KINDS = ("csv", "parquet")


def export_scores(
    project: Project,
    out: str = "",
    run: str | None = None,
    query: str = "",
    query_set: Mapping[str, Any] | None = None,
    method: str = "metagradient",
    set: Mapping[str, Any] | None = None,
    scores: str = "",
    kind: str = "csv",
    report: Report = ignore,
) -> dict[str, Any]:
    """Write the scores of a question by a method, or kept `scores` (digest), or without either all of the run, as columns beside `id`.

    `out`: a .csv or .parquet file; without it a file of this `kind` in the project's `exports/`.

    Returns `path`, `columns`, `n` (rows).

    Raises:
        BadInput: these scores were not computed, or the file cannot be written.
    """
    of = project.run(run)
    if kind not in KINDS:
        raise BadInput(f"There is no kind of table {kind!r}; there are: {', '.join(KINDS)}.")
    found = _found(project, of, query, query_set or {}, method, set or {}, scores) if query or scores else None
    name = f"{of.id}-scores" + (f"-{found['scores'][:8]}" if found else "")
    path = place(project, out, f"{name}.{kind}")
    writable(path)
    report(Event("export", 0, 1, note="Writing the scores"))
    if found:
        kept_scores = project.scores(found["scores"])
        write_scores(kept_scores, path, found["better"])
        columns, n = list(kept_scores.labels), len(kept_scores.ids)
    else:
        table = _all(project, of)
        write_table(table, path)
        columns, n = [str(name) for name in table.columns[1:]], len(table)
    report(Event("export", 1, 1))
    outputs = {"scores": found["scores"]} if found else {}
    project.record("export_scores", inputs={"run": of.id}, settings={"columns": columns}, outputs=outputs, measures={"n": n})
    return {"path": str(path), "columns": columns, "n": n, "run": of.id}


def _found(
    project: Project, run: Run, query: str, query_set: Mapping[str, Any], method: str, given: Mapping[str, Any], digest: str
) -> dict[str, Any]:
    """Return what the project noted of the scores that are meant.

    Raises:
        BadInput: they were not computed.
    """
    if digest:
        noted = [note for note in project.notes(f"scores/{run.id}/").values() if note["scores"] == digest]
        if not noted:
            raise BadInput(f"Run {run.id} has no scores {digest[:12]}…. Ask the question first.")
        return dict(noted[0])
    asked = queries.make(query, completed(query, query_set, run))
    found = kept(project, run.id, described(asked), described(attribution.make(method, given)))
    if found is None:
        raise BadInput(f"{query} by {method} was not computed for run {run.id}. Compute it first: attribute --query {query}.")
    return found


def _all(project: Project, run: Run) -> pd.DataFrame:
    """Return all scores of a run, the oldest first; a column is called by its question and method.

    Raises:
        BadInput: there are none.
    """
    notes = sorted(project.notes(f"scores/{run.id}/").values(), key=lambda note: note["computed"])
    found = [project.scores(note["scores"]) for note in notes if project.objects.find(note["scores"])]
    if not found:
        raise BadInput(f"No scores were computed for run {run.id} yet. Ask a question first: attribute --query loss.")
    columns: dict[str, np.ndarray] = {"id": np.asarray(found[0].ids)}
    for scores in found:
        for place_, label in enumerate(scores.labels):
            columns[_free(f"{label} ({scores.method})", columns)] = np.asarray(scores.values[:, place_])
    return pd.DataFrame(columns)


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """Return the name with a number if another column has it: the same method with other settings."""
    return next(n for n in (name, *(f"{name} {k}" for k in range(2, len(taken) + 3))) if n not in taken)
