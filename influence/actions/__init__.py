"""What one can do, one function per verb, each in the file of its name: pages, commands and `import influence` all call these.

An action takes the project and plain arguments, loads values, calls the core, and writes results and record in one transaction. It returns
JSON; anything big is a digest in the project.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from influence.errors import BadInput
from influence.types import Report, ignore


def names() -> list[str]:
    """Return the verbs: the files of this package whose names do not begin with an underscore."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def perform(name: str, project: Any, args: Mapping[str, Any], report: Report = ignore) -> dict[str, Any]:
    """Perform the action `name` in a project.

    Raises:
        BadInput: there is no such action, or its arguments cannot be used.
    """
    if name not in names():
        raise BadInput(f"There is no action {name!r}; there are: {', '.join(names())}.")
    function = getattr(importlib.import_module(f"{__name__}.{name}"), name)
    return dict(function(project, report=report, **args))
