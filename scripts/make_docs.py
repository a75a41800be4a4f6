"""Write docs/methods.md from what is registered: `make docs`. Explanations and settings stand in the code, once."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from influence.methods import KINDS, allowed
from influence.registry import Setting, settings
from influence.types import Recipe

PAGE = Path(__file__).parents[1] / "docs" / "methods.md"

HEAD = """# Methods

Everything that can be chosen, and its settings; written by `make docs` from the code, so do not edit it here.
A form, a command line and a record take their settings from the same declarations.
"""


def render() -> str:
    """Return the page."""
    parts = [HEAD, "## Training\n\nHow a model is trained: `train --set KEY=VALUE`.\n", *_table(Recipe)]
    for title, use, kind in KINDS:
        parts.append(f"## {title}\n\n{use[0].upper()}{use[1:]}.\n")
        for name, cls in kind.classes.items():
            parts += [f"### {name}\n", _explained(cls), *_facts(cls), *_table(cls)]
    return "\n".join(parts).rstrip() + "\n"


def _explained(cls: type) -> str:
    """Return the class docstring, and below it the docstring of its file, which names the source."""
    source = inspect.getdoc(sys.modules[cls.__module__]) or ""
    return "\n\n".join(text for text in (inspect.getdoc(cls) or "", source) if text) + "\n"


def _facts(cls: type) -> Iterator[str]:
    """Yield what a method needs and costs, and what its numbers are good for."""
    said = [f"**{word.capitalize()}**: {getattr(cls, word)}" for word in ("needs", "cost", "reservation") if getattr(cls, word, "")]
    if hasattr(cls, "calibrated"):
        said.append(f"**Scores**: {'in the unit of the question' if cls.calibrated else 'good for ranking only'}.")
    if said:
        yield "\n".join(f"- {line}" for line in said) + "\n"


def _table(cls: type) -> Iterator[str]:
    rows = [_row(setting) for setting in settings(cls)]
    if rows:
        yield "| setting | default | allowed | what it does |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _row(setting: Setting) -> str:
    note = " *(a column of the data)*" if setting.column else ""
    return f"| `{setting.name}` | {_code(setting.default)} | {allowed(setting, _code)} | {setting.help}{note} |"


def _code(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"`{text}`" if text else "empty"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    print(f"Wrote {PAGE}")
