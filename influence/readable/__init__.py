"""What a command says of its result: sentences and small tables for people. Digests and settings belong to `--json`.

A file for each section of the commands (`influence/cli/`); in it a function with the decorator `says` speaks for the action of its name.
"""

from __future__ import annotations

import importlib
import pkgutil

from influence.readable._shared import TOLD, Result
from influence.store import Project

__all__ = ["TOLD", "readable"]

for file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{file.name}")


def readable(action: str, project: Project, result: Result) -> str:
    """Return what an action found, in words."""
    return "\n".join(TOLD[action](project, result))
