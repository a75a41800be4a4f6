"""Where a comparison is kept. No PyTorch at import: pages look here."""

from __future__ import annotations

from typing import Any

from influence.store import Project

VERSION = 3
"""Comparisons that an older version made lack tables that pages show: they are made anew."""


def key(run: str, group: str) -> str:
    """Return the name of the note of a run's comparison by a group column."""
    return f"compare/{run}/{group}"


def kept(project: Project, run: str, group: str) -> dict[str, Any] | None:
    """Return the comparison of an unlearned run by a group column, or None if this version has made none."""
    found: dict[str, Any] | None = project.noted(key(run, group))
    return found if found and found.get("version") == VERSION else None
