"""The door to the commands: `python -m influence --help`."""

from __future__ import annotations

from influence.cli import app

if __name__ == "__main__":
    app()
