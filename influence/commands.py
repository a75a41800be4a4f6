"""How every command behaves: progress and refusals on standard error, the result on standard output, files whole or not at all.

Nothing that computes is imported before a command is performed: a help text comes at once.
"""

from __future__ import annotations

import json
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from influence.errors import BadInput
from influence.files import unescaped

if TYPE_CHECKING:
    from influence.types import Event


class Commands(TyperGroup):
    """Commands that answer what cannot be used with one line on standard error and exit code 2."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        """Read the options before the command; no arguments at all show the help."""
        if not args:
            return super().make_context(info_name, args, *rest, **extra)
        with refusing(lambda: ""):
            return super().make_context(info_name, args, *rest, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Read the command's own options and run it."""
        with refusing(lambda: f" {ctx.invoked_subcommand}" if ctx.invoked_subcommand else ""):
            return super().invoke(ctx)


@contextmanager
def refusing(command: Callable[[], str]) -> Iterator[None]:
    """Turn what a person gave and cannot be used into one line and exit code 2; all other errors are bugs and keep their traceback.

    Yields:
        Nothing.

    Raises:
        Exit: something cannot be used.
    """
    try:
        yield
    except (BadInput, TyperException) as error:
        name, said = command(), str(error)
        if isinstance(error, BadInput) and error.missing:
            said += f" Give it as --query-set {error.missing}."
        if isinstance(error, TyperException):
            said = f"{error.format_message().rstrip('.')}. See `python -m influence{name} --help`."
        typer.echo(f"influence{name}: {' '.join(said.split())}", err=True)
        raise typer.Exit(2) from None


class Progress:
    """Progress on standard error: one line that is written over on a terminal, silence elsewhere."""

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if self.shown:
            sys.stderr.write(f"\r\033[K{event.stage}: {event.done:,} of {event.total:,} {event.note}")
            sys.stderr.flush()

    def end(self) -> None:
        """Clear the line."""
        if self.shown:
            sys.stderr.write("\r\033[K")


def act(
    name: str,
    project: Path,
    args: dict[str, Any],
    as_json: bool,
    after: Callable[[Any, dict[str, Any]], None] | None = None,
    memory: int | None = None,
) -> None:
    """Perform an action and print its result; `after` may write files from it and change it first.

    `memory`: MiB that a computation may take at a time, instead of what INFLUENCE_MEMORY says.

    Raises:
        BadInput: the arguments cannot be used.
    """
    from influence.actions import perform
    from influence.readable import readable
    from influence.store import Project
    from influence.workspace import allowed

    progress = Progress()
    try:
        home = Project(project)
        with _allowing(memory):
            allowed()  # a wrong INFLUENCE_MEMORY is refused at once, also where nothing is computed
            result = perform(name, home, args, progress)
        if after:
            after(home, result)
    finally:
        progress.end()
    typer.echo(strict(result) if as_json else readable(name, home, result))


@contextmanager
def _allowing(memory: int | None) -> Iterator[None]:
    """Let INFLUENCE_MEMORY say this for the time being; None leaves it as it is."""
    before = os.environ.get("INFLUENCE_MEMORY")
    if memory is not None:
        os.environ["INFLUENCE_MEMORY"] = str(memory)
    try:
        yield
    finally:
        os.environ.pop("INFLUENCE_MEMORY", None)
        if before is not None:
            os.environ["INFLUENCE_MEMORY"] = before


def strict(result: dict[str, Any]) -> str:
    """Return a result as JSON that any parser reads: what is not finite is null."""
    return json.dumps(json.loads(json.dumps(result), parse_constant=lambda _: None))


def known(kind: str) -> str:
    """Return the names of a kind (`models`, `queries`, ...) for a help text: those of its files, so that none is imported for it."""
    files = pkgutil.iter_modules([str(Path(__file__).parent / kind)])
    return ", ".join(sorted(file.name for file in files if not file.name.startswith("_")))


def pairs(given: list[str], what: str = "Settings are KEY=VALUE", example: str = "lr=0.05") -> dict[str, str]:
    """Return KEY=VALUE texts as a mapping; `what` they are, and an `example`, are said where one is none.

    Raises:
        BadInput: one of them has no "=", or a key comes twice.
    """
    for item in given:
        if not item.partition("=")[0].strip() or "=" not in item:
            raise BadInput(f"{what}; got {item!r}. Give for example {example}.")
    found = {key.strip(): value for key, _, value in (item.partition("=") for item in given)}
    if len(found) < len(given):
        raise BadInput(f"Every setting can be given once; got {', '.join(given)}. Leave one out.")
    return found


def kinds(given: list[str]) -> dict[str, str]:
    """Return COL=KIND texts as a mapping.

    Raises:
        BadInput: as `pairs`.
    """
    return pairs(given, "Kinds of columns are COL=KIND", "age=numeric")


def reading(given: list[str], **columns: str) -> dict[str, str]:
    """Return the settings of how data are read: KEY=VALUE texts, and of the `columns` of texts or images those that are named.

    Raises:
        BadInput: as `pairs`.
    """
    return pairs(given) | {setting: column for setting, column in columns.items() if column}


def numbers(given: str, option: str) -> list[float]:
    """Return the numbers of a list with commas; none of an empty one.

    Raises:
        BadInput: a part is no number.
    """
    try:
        return [float(part) for part in given.split(",")] if given.strip() else []
    except ValueError:
        raise BadInput(f"{option} takes numbers with commas between them; got {given!r}. Give for example 0.01,0.1,0.5.") from None


def read_ids(path: Path | None) -> list[Any] | None:
    """Return the ids in a table, as `id_column` reads them.

    Raises:
        BadInput: as there.
    """
    return None if path is None else id_column(path)[1]


def id_column(path: Path, max_bytes: int | None = None) -> tuple[str, list[Any]]:
    """Return heading and ids of a table: column `id`, or the first; those of a CSV as they are written, 007 too (`files.unescaped`).

    Raises:
        BadInput: the file cannot be read as a table, has more than `max_bytes`, or holds no ids.
    """
    from influence.data.read import read_table

    table = read_table(path, max_bytes, as_text=True)
    column = table["id"] if "id" in table else table.iloc[:, 0]
    if column.isna().any():
        raise BadInput(f"{path.name!r} must list one id per row; {int(column.isna().sum())} of {len(column)} are empty. Fill or drop them.")
    return str(column.name), [unescaped(cell) for cell in column.tolist()]


def read_labels(path: Path | None) -> tuple[list[Any] | None, list[Any] | None]:
    """Return the ids and the new labels in a table: its columns `id` and `label`, or the first two; as they are written.

    Raises:
        BadInput: the file cannot be read as a table, has one column, or a cell is empty.
    """
    if path is None:
        return None, None
    from influence.data.read import read_table

    table = read_table(path, as_text=True)
    if not {"id", "label"} <= set(table):
        if len(table.columns) < 2:
            raise BadInput(
                f"{path.name!r} must have two columns, id and label; it has {', '.join(map(repr, table.columns))}. Add the other."
            )
        table = table.iloc[:, :2].set_axis(["id", "label"], axis=1)
    empty = int(table[["id", "label"]].isna().any(axis=1).sum())
    if empty:
        raise BadInput(f"{path.name!r} must name an id and a label in each row; {empty} of {len(table)} lack one. Fill or drop them.")
    return tuple([unescaped(cell) for cell in table[name].tolist()] for name in ("id", "label"))  # type: ignore[return-value]


def ranked_ids(path: Path, top: int) -> list[Any]:
    """Return the `top` ids whose removal is predicted to improve the question most (lower is better unless the file says otherwise).

    Raises:
        BadInput: the file holds no scores, or top is out of range.
    """
    import pyarrow.parquet as pq
    from pandas.api.types import is_float_dtype

    from influence.data.read import read_table

    table = read_table(path)
    if "id" not in table or table.shape[1] < 2 or not is_float_dtype(table.dtypes.iloc[1]) or path.suffix != ".parquet":
        raise BadInput(f"{path.name!r} holds no scores: it needs the columns id and one score. Make it with attribute --out F.parquet.")
    if not 0 < top <= len(table):
        raise BadInput(f"--top must be between 1 and {len(table)}; got {top}.")
    higher = (pq.read_schema(path).metadata or {}).get(b"better") == b"higher"
    values = table.iloc[:, 1].to_numpy()
    return table["id"].iloc[(-values if higher else values).argsort(kind="stable")[:top]].tolist()
