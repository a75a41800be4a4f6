"""Find sets of rows: patterns, whole sources, copies, outliers, rows that help nobody; and what removing more and more of them does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from influence.cli._app import command
from influence.cli._options import Computing, Method, OnRun, QueryName, QuerySet, Set, Summed, asked
from influence.commands import numbers, pairs
from influence.files import writable, write_table

Seeds = Annotated[int, typer.Option(help="With --check: with so many fresh seeds too.", min=0)]


@command
def suspects(
    *,
    summed: Summed,
    max_conditions: Annotated[int, typer.Option(help="Most conditions of a pattern, 1 to 4.")] = 2,
    with_label: Annotated[bool, typer.Option("--with-label", help="Let the target be a condition, beside another.")] = False,
    remedy: Annotated[str, typer.Option(help="What is predicted: remove the rows, or relabel them.")] = "remove",
    least: Annotated[float, typer.Option(help="Least share of the training rows that a pattern holds.")] = 0.01,
    most: Annotated[float, typer.Option(help="Largest share of the training rows that a pattern holds.")] = 0.5,
    limit: Annotated[int, typer.Option(help="How many patterns to list.")] = 20,
    alike: Annotated[int, typer.Option(help="Put the rows into so many groups that look alike, of which patterns may speak.")] = 0,
    check: Annotated[
        int, typer.Option(help="Retrain without each of the first so many patterns, and say what it really changes.", min=0)
    ] = 0,
    seeds: Seeds = 0,
    on: Computing,
) -> None:
    """Search for patterns of training rows behind a question: the largest summed improvement if they are removed first."""
    search = {"max_conditions": max_conditions, "with_label": with_label, "remedy": remedy, "least": least, "most": most, "limit": limit}
    on.act("suspects", {**summed.args(), **search, "alike": alike, "check": check, "seeds": seeds})


@command
def sources(
    *,
    column: Annotated[str, typer.Argument(metavar="COLUMN", help="Column that says of each row where it is from, or when.")],
    summed: Summed,
    by: Annotated[str, typer.Option(help="Blocks of dates: decade, year, quarter, month or week; default: by their span.")] = "",
    bins: Annotated[int, typer.Option(help="Ranges of a column of many numbers.")] = 8,
    check: Annotated[int, typer.Option(help="Retrain without each of the so many blocks that promise most.", min=0)] = 0,
    seeds: Seeds = 0,
    on: Computing,
) -> None:
    """Predict what each whole source, licence, period or other block of training rows would change if it were withdrawn."""
    on.act("sources", {"column": column, **summed.args(), "by": by, "bins": bins, "check": check, "seeds": seeds})


@command
def duplicates(
    *,
    distance: Annotated[float, typer.Option(help="Largest distance between copies, 0 to 1; 0: exact ones alone.")] = 0.0,
    on: OnRun,
) -> None:
    """Find rows that are copies of each other, also training rows that copy evaluation or holdout rows."""
    on.act("duplicates", {"distance": distance})


@command
def outliers(*, neighbours: Annotated[int, typer.Option(help="Nearest rows with which each is compared.")] = 20, on: OnRun) -> None:
    """Rank the training rows by how much they lie alone among the others."""
    on.act("outliers", {"neighbours": neighbours})


@command
def helps_nobody(
    *,
    group: Annotated[str, typer.Option(help="Column whose groups are asked; default: the run's first.")] = "",
    method: Annotated[str, typer.Option("--method", help="Method that scores the rows; default: the best that is open.")] = "",
    set: Set,
    share: Annotated[float, typer.Option(help="Largest share of the training rows.")] = 0.02,
    seeds: Annotated[int, typer.Option(help="Retrain with so many fresh seeds without these rows, and without random ones.", min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="CSV file to write: the ids, for --ids.")] = None,
    on: Computing,
) -> None:
    """Find training rows that help nobody: without them the loss of every group is predicted to fall."""

    def write(home: Any, result: dict[str, Any]) -> None:
        if out is not None:
            import pandas as pd

            result["csv"] = str(write_table(pd.DataFrame({"id": result["ids"]}), out))

    if out is not None:
        writable(out)
    on.act("helps_nobody", {"group": group, "method": method, "set": pairs(set), "share": share, "seeds": seeds}, write)


@command
def removal_curve(
    *,
    query: QueryName,
    query_set: QuerySet,
    method: Method = "metagradient",
    set: Set,
    shares: Annotated[str, typer.Option(help="Shares of the training rows that are removed.")] = "0.002,0.005,0.01,0.02,0.05,0.1",
    on: Computing,
) -> None:
    """Retrain without more and more rows: by influence, by training loss and at random. Does influence do more?"""

    def write(home: Any, result: dict[str, Any]) -> None:
        result["points"] = home.table(result["points"]).to_dict("records")
        result["predicted"] = home.table(result["predicted"]).to_dict("records") if result["predicted"] else None

    on.act("removal_curve", {**asked(query, query_set, method, set), "shares": numbers(shares, "--shares")}, write)
