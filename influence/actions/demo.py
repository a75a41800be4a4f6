"""Make the bundled demo: simulated loans with a planted bias, trained and ready to be asked."""

from __future__ import annotations

from typing import Any

from influence.actions.train import train
from influence.store import Project
from influence.types import Report, ignore


def demo(project: Project, name: str = "loans", report: Report = ignore) -> dict[str, Any]:
    """Train the default model on a bundled data set.

    Raises:
        BadInput: there is no bundled set of this name.
    """
    return {"project": str(project.path), **train(project, f"bundled:{name}", report=report)}
