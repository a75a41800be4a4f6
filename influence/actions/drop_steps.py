"""Delete the states kept on the way of an unlearned run."""

from __future__ import annotations

from typing import Any

from influence.actions import _steps
from influence.store import Project
from influence.types import Report, ignore


def drop_steps(project: Project, run: str, report: Report = ignore) -> dict[str, Any]:
    """Delete the states that a run went through; the run, its record, and runs that were made of such states stay whole.

    Raises:
        BadInput: there is no such run.
    """
    return {"run": project.run(run).id, "dropped": _steps.drop(project, run)}
