"""What was pinned in a project, read again from what it was computed from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from influence.actions._pinned import lineage, read
from influence.store import Project
from influence.types import Report, ignore


def pins(project: Project, run: str | None = None, report: Report = ignore) -> dict[str, Any]:
    """Return all pins of a project in their order, or those of a run and of the one it was made from.

    `pins`: of each id, kind, run, dataset, title, note, page and address where it was found, and what it shows: said, figures (label,
    found, lacks, series), the first rows, missing.

    Raises:
        BadInput: there is no such run.
    """
    chosen = project.pins.listed() if run is None else lineage(project, project.run(run))
    told = [{**asdict(read(project, pin)), **{name: value for name, value in asdict(pin).items() if name != "said"}} for pin in chosen]
    return {"pins": told, "n": len(told)}
