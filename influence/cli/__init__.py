"""Which commands there are: a file for each section of `python -m influence --help`, in this order.

A command is one function with the decorator `command`, in the file of its section. What it does is the action of its name, and what it says
for people is the function of its name in `influence/readable/`. No file here imports at its head what computes: a help text comes at once.
"""

from __future__ import annotations

import importlib

from influence.cli._app import app

__all__ = ["SECTIONS", "app"]

SECTIONS = ("bring", "find_rows", "find_sets", "decide", "prove", "leave", "methods")

for section in SECTIONS:
    importlib.import_module(f"{__name__}.{section}")
