"""Take out: a model, a run, scores and data, each into files that others can use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from influence.cli._app import command
from influence.cli._options import Folder, Ids, Method, OnRun, QuerySet, Set, asked
from influence.commands import known, read_ids
from influence.errors import BadInput


@command
def export_model(
    *,
    out: Folder,
    format: Annotated[
        str,
        typer.Option(
            help="safetensors; pt2: with a graph that PyTorch runs alone; record: with its training, to be followed; huggingface: a "
            "folder for the transformers library, of a model of Hugging Face."
        ),
    ] = "safetensors",
    on: OnRun,
) -> None:
    """Write a model, an unlearned one too, with a model card into a folder that anybody can use and import-model takes."""
    on.act("export_model", {"out": str(out), "format": format})


@command
def export_run(
    *,
    store: Annotated[
        str,
        typer.Argument(
            help="MLflow's tracking store: a folder, sqlite:///FILE or http(s)://SERVER.", envvar="MLFLOW_TRACKING_URI", show_envvar=True
        ),
    ],
    experiment: Annotated[str, typer.Option(help="Experiment there; default: the name of the data.")] = "",
    on: OnRun,
) -> None:
    """Write a run to MLflow: settings, figures with intervals, claim, model card and weights."""
    on.act("export_run", {"store": store, "experiment": experiment})


@command
def export_scores(
    *,
    out: Annotated[Path, typer.Argument(help="File to write: .csv (no cell is a formula) or .parquet.")],
    query: Annotated[str, typer.Option("--query", help=f"Question; without one, all that the run was asked: {known('queries')}.")] = "",
    method: Method = "metagradient",
    query_set: QuerySet,
    set: Set,
    on: OnRun,
) -> None:
    """Write scores that the project keeps: id and a column for each question.

    Raises:
        BadInput: the file is called otherwise than .csv or .parquet.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise BadInput(f"Scores are written as .csv or .parquet; got {out.name!r}. Give another file.")
    on.act("export_scores", {**asked(query, query_set, method, set), "out": str(out)})


@command
def export_data(*, out: Folder, ids: Ids = None, on: OnRun) -> None:
    """Write the training rows that are left (Parquet and CSV), and the list of the removed ones with the reasons.

    Removed are the rows that the run does without; of a run that does without none, --ids or the current selection.
    """
    on.act("export_data", {"out": str(out), "ids": read_ids(ids)})
