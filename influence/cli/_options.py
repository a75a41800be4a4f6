"""Options that several commands have, each declared once: single ones, and groups that say what their options mean to an action."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from influence.commands import act, known, pairs


def many(name: str, help: str) -> Any:
    """Return an option that may be given several times; by default there are none, of which no help text speaks."""
    return typer.Option(name, help=help, default_factory=list, show_default=False)


HOME = Path(__file__).resolve().parents[2] / "projects" / "demo"

ProjectDir = Annotated[Path, typer.Option("--project", help="Project folder; the app opens the same.", envvar="INFLUENCE_PROJECT")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else there.")]
RunId = Annotated[str, typer.Option("--run", help="Run to use; default: the newest made by train or import.")]
Memory = Annotated[
    int | None, typer.Option("--memory", help="MiB a computation may take at a time; default: INFLUENCE_MEMORY, or 2048.", min=1)
]

Set = Annotated[
    list[str], many("--set", "KEY=VALUE setting of the method (or of model and recipe); repeatable. `methods NAME` lists them.")
]
QueryName = Annotated[str, typer.Option("--query", help=f"Question: {known('queries')}.")]
QuerySet = Annotated[list[str], many("--query-set", "KEY=VALUE setting of the question, for example group=sex; repeatable.")]
Method = Annotated[str, typer.Option("--method", help=f"Method: {known('attribution')}.")]
Summing = Annotated[str, typer.Option("--method", help="Method whose scores are summed; default: the best that is open to the model.")]

RowId = Annotated[str, typer.Argument(metavar="ID", help="Id of an evaluation row.")]
Edit = Annotated[list[str], many("--edit", "COLUMN=VALUE: what if the row had this cell? Repeatable.")]
Ids = Annotated[Path | None, typer.Option("--ids", help="CSV with the ids of training rows (column id, or the first column).")]
Folder = Annotated[Path, typer.Argument(help="New folder to write.")]

After = Callable[[Any, dict[str, Any]], None]
"""May write files from a result and change it before it is printed: (project, result)."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a command works, and how it answers."""

    project: ProjectDir = HOME
    as_json: Json = False

    def act(self, name: str, args: dict[str, Any], after: After | None = None, memory: int | None = None) -> None:
        """Perform an action here and print its result; see `commands.act`."""
        act(name, self.project, args, self.as_json, after, memory)


@dataclass(frozen=True, kw_only=True)
class OnRun:
    """A run of the project."""

    run: RunId = ""
    place: Place

    def act(self, name: str, args: dict[str, Any], after: After | None = None, memory: int | None = None) -> None:
        """Perform an action on this run."""
        self.place.act(name, {**args, "run": self.run or None}, after, memory)


@dataclass(frozen=True, kw_only=True)
class Computing:
    """A computation on a run, in so much memory."""

    memory: Memory = None
    on: OnRun

    def act(self, name: str, args: dict[str, Any], after: After | None = None) -> None:
        """Perform an action so."""
        self.on.act(name, args, after, self.memory)


@dataclass(frozen=True, kw_only=True)
class Summed:
    """A question, and the method whose scores of it are summed over rows."""

    query: QueryName
    query_set: QuerySet
    method: Summing = ""
    set: Set

    def args(self) -> dict[str, Any]:
        """Return them as actions take them."""
        return asked(self.query, self.query_set, self.method, self.set)


def asked(query: str, query_set: list[str], method: str, set: list[str]) -> dict[str, Any]:
    """Return a question and the method it is put to, with their settings, as actions take them.

    Raises:
        BadInput: as `pairs`.
    """
    return {"query": query, "query_set": pairs(query_set), "method": method, "set": pairs(set)}


def cells(edit: list[str]) -> dict[str, str]:
    """Return COLUMN=VALUE texts as a mapping.

    Raises:
        BadInput: as `pairs`.
    """
    return pairs(edit, "A changed cell is COLUMN=VALUE", "age=40")
