"""Find rows: each training row by what it does to a question, or by its label; one prediction and one row at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from influence.cli._app import command
from influence.cli._options import Computing, Edit, Method, OnRun, QueryName, QuerySet, RowId, Set, asked, cells
from influence.commands import known, pairs
from influence.errors import BadInput
from influence.files import writable, write_scores, write_table


@command
def attribute(
    *,
    query: QueryName,
    out: Annotated[Path | None, typer.Option(help="Parquet file to write: id and one column per question.")] = None,
    method: Method = "metagradient",
    query_set: QuerySet,
    set: Set,
    kept: Annotated[
        bool, typer.Option("--kept", help="Use what the project keeps (scores, curvature, ...); else all is computed and timed.")
    ] = False,
    on: Computing,
) -> None:
    """Score every training row: predicted change of the question's value if the row is removed."""

    def write(home: Any, result: dict[str, Any]) -> None:
        if out is not None:
            result["scores"] = str(write_scores(home.scores(result["scores"]), out, result["better"]))

    if out is not None:
        writable(out)
    on.act("attribute", {**asked(query, query_set, method, set), "baseline": not kept}, write)


@command
def mislabelled(
    *,
    out: Annotated[Path | None, typer.Option(help="Parquet file of scores to write, for --scores: higher is likelier wrong.")] = None,
    csv: Annotated[Path | None, typer.Option(help="CSV file to write: id, given, suggested, score, for --ids.")] = None,
    top: Annotated[int, typer.Option(help="With --csv: this many of the likeliest wrong; 0: all rows.", min=0)] = 0,
    method: Annotated[str, typer.Option("--method", help=f"Score of labels: {known('mislabelled')}.")] = "out_of_sample",
    set: Set,
    on: Computing,
) -> None:
    """Score every training row: how likely is its label wrong?

    Raises:
        BadInput: --top without --csv, or more rows than there are.
    """
    if top and csv is None:
        raise BadInput("--top says how many rows --csv writes. Give --csv FILE too.")

    def write(home: Any, result: dict[str, Any]) -> None:
        if csv is not None:
            table = home.table(result["table"])
            if top > len(table):
                raise BadInput(f"--top must be between 1 and {len(table)}, or 0 for all rows; got {top}.")
            result["csv"] = str(write_table(table.head(top or len(table)), csv))
        if out is not None:
            result["scores"] = str(write_scores(home.scores(result["scores"]), out, result["better"]))

    for path in filter(None, (out, csv)):
        writable(path)
    on.act("mislabelled", {"method": method, "set": pairs(set)}, write)


@command
def trace(
    *,
    id: RowId,
    method: Annotated[str, typer.Option("--method", help="Method that scores; default: the best that is open to the model.")] = "",
    set: Set,
    edit: Edit,
    on: Computing,
) -> None:
    """Trace one prediction: the training rows that speak for it, those that speak against it, and those that look like it."""
    on.act("trace", {"id": id, "method": method, "set": pairs(set), "edit": cells(edit)})


@command
def explain(
    *,
    id: RowId,
    row: Annotated[str, typer.Option("--row", help="Id of a training row to explain beside it.")] = "",
    class_: Annotated[str, typer.Option("--class", help="Class that is asked about; default: what the model says.")] = "",
    edit: Edit,
    on: OnRun,
) -> None:
    """Say by how much each column, word or pixel of a row speaks for what the model says of it (integrated gradients of Captum)."""
    on.act("explain", {"id": id, "row": row, "class_": class_, "edit": cells(edit)})


@command
def swayed(*, row: Annotated[str, typer.Argument(metavar="ROW", help="Id of a training row.")], on: Computing) -> None:
    """Rank the evaluation rows by how far one training row sways what the model says of them."""
    on.act("swayed", {"row": row})
