"""Decide: what removing rows would do, and which few rows would do it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from influence.cli._app import command
from influence.cli._options import Computing, Ids, QueryName, QuerySet
from influence.commands import pairs, ranked_ids, read_ids
from influence.errors import BadInput
from influence.files import writable, write_table


@command
def preview(
    *,
    scores: Annotated[Path | None, typer.Option(help="Parquet of scores made by attribute; only ranks.")] = None,
    top: Annotated[int, typer.Option(help="With --scores: this many rows whose removal is predicted to help most.")] = 0,
    ids: Ids = None,
    group: Annotated[
        str | None, typer.Option(help="Group column of the gaps, or up to three: 'sex & race'; default: the run's first.")
    ] = None,
    positive: Annotated[str, typer.Option(help="Class of which rates and gaps speak; default: the favourable one of the data.")] = "",
    on: Computing,
) -> None:
    """Predict what removing rows would do to every standard metric, with 95 % bands from a few real retrainings.

    Raises:
        BadInput: neither or both of --scores and --ids are given.
    """
    if (scores is None) == (ids is None):
        raise BadInput("Give either --scores F.parquet with --top K, or --ids IDS.csv.")
    rows = read_ids(ids) if scores is None else ranked_ids(scores, top)
    on.act("preview", {"group": group, "positive": positive, "ids": rows})


@command
def who_changes(
    *,
    ids: Ids,
    group: Annotated[
        str | None, typer.Option(help="Group column of the gaps, or up to three: 'sex & race'; default: the run's first.")
    ] = None,
    on: Computing,
) -> None:
    """Predict every metric of every group, trained anew without some rows, and which predictions move most; with 90 % intervals.

    Raises:
        BadInput: the rows cannot be read, or the model cannot be trained again.
    """
    on.act("who_changes", {"group": group, "ids": read_ids(ids)})


@command
def budget(
    *,
    query: QueryName,
    target: Annotated[float, typer.Option(help="What the question, as people read it, should come to.")],
    max_accuracy_loss: Annotated[float, typer.Option(help="By how much accuracy may fall: 0.003 is 0.3 points.")],
    query_set: QuerySet,
    mode: Annotated[str, typer.Option(help="remove whole rows, or reweight: take a part of their weight.")] = "remove",
    part: Annotated[float, typer.Option(help="reweight: largest part of one row's weight that is taken.")] = 1.0,
    most: Annotated[float, typer.Option(help="Largest share of the training rows.")] = 0.1,
    seeds: Annotated[int, typer.Option(help="Fresh seeds with which models are really retrained, as a check; 0: none.", min=0)] = 3,
    out: Annotated[Path | None, typer.Option(help="CSV file to write: id and weight (0: removed), for --ids.")] = None,
    on: Computing,
) -> None:
    """Find the fewest rows whose removal brings a question to a target at a bounded loss of accuracy; retrain to check."""

    def write(home: Any, result: dict[str, Any]) -> None:
        if out is not None:
            import pandas as pd

            result["csv"] = str(write_table(pd.DataFrame({"id": result["ids"], "weight": result["weights"]}), out))

    if out is not None:
        writable(out)
    sought = {"query": query, "query_set": pairs(query_set), "target": target, "max_accuracy_loss": max_accuracy_loss}
    on.act("budget", {**sought, "mode": mode, "part": part, "most": most, "seeds": seeds}, write)
