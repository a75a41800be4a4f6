"""Lethe in Python: what the commands and pages do, on the same projects, and what records a training elsewhere."""

from __future__ import annotations

import importlib
from typing import Any

_PLACES = {
    "Recorder": "influence.exchange.recorder",
    "save_data": "influence.data.arrays",
    "save_sklearn": "influence.exchange.sklearn_models",
    "load_model": "influence.exchange.exported",
    **dict.fromkeys(("open", "train", "import_model", "attribute", "fidelity", "find_mislabelled"), "influence.api"),
    **dict.fromkeys(("preview", "unlearn", "verify", "export_model", "export_data"), "influence.api"),
}
"""Names at the top and where they are made; looked up when asked, so that `import influence` alone costs nothing."""
__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
