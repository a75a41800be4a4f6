"""Bring: data and a model, made here or elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from influence.cli._app import command
from influence.cli._data import Columns, Eval, Media, Preprocessing, Split, Tables, Training
from influence.cli._options import HOME, Json, Place, ProjectDir, Set
from influence.commands import known, numbers, pairs, read_ids


@command
def demo(
    *,
    project: ProjectDir = HOME,
    name: Annotated[str, typer.Option(help=f"Bundled data set: {known('data/bundled')}.")] = "loans",
    as_json: Json = False,
) -> None:
    """Make the bundled demo: train a model on simulated loans with a planted bias (or on another bundled set)."""
    Place(project=project, as_json=as_json).act("demo", {"name": name})


@command
def train(
    *,
    training: Training,
    exclude: Annotated[Path | None, typer.Option(help="CSV of ids to train without (truth same).")] = None,
    preprocessing: Preprocessing = "",
    tables: Tables,
    seed: int = 0,
    place: Place,
) -> None:
    """Train a model with a recipe that can be replayed."""
    args = {**training.args(), **tables.args(), "preprocessing": preprocessing, "seed": seed}
    place.act("train", {**args, "exclude": read_ids(exclude) or []})


@command
def check(*, training: Training, preprocessing: Preprocessing = "", tables: Tables, seed: int = 0, place: Place) -> None:
    """Look at data before they are trained on: classes and groups, leaks, copies, and what training will cost. Nothing is kept."""
    place.act("check", {**training.args(), **tables.args(), "preprocessing": preprocessing, "seed": seed})


@command
def import_model(
    *,
    path: Annotated[
        str,
        typer.Argument(
            help="Folder that influence.Recorder or export-model wrote, or of Hugging Face (hub:OWNER/NAME); weights, or checkpoints."
        ),
    ],
    data: Annotated[str, typer.Argument(help="What it was trained on: a folder that influence.save_data wrote, or a table as for train.")],
    target: Annotated[str, typer.Option(help="Column to predict; needed for a table, unless an exported model says it.")] = "",
    columns: Columns,
    split: Split = "",
    eval: Eval = "",
    model: Annotated[str, typer.Option(help=f"Kind of model: auto (found from the weights), {known('models')}.")] = "auto",
    set: Set,
    rates: Annotated[str, typer.Option(help="Step sizes of the checkpoints, with commas between them, or one for all.")] = "",
    accuracy: Annotated[float | None, typer.Option(help="What the model is known to reach on its test rows, from 0 to 1.")] = None,
    preprocessing: Preprocessing = "",
    media: Media,
    tables: Tables,
    name: Annotated[str, typer.Option(help="What to call it.")] = "",
    check_only: Annotated[bool, typer.Option("--check-only", help="Check it, and keep nothing.")] = False,
    place: Place,
) -> None:
    """Bring a model that was trained elsewhere, with its checkpoints and the course of its training; checked before anything is kept."""
    brought = {"path": path, "model": model, "set": pairs(set), "rates": numbers(rates, "--rates"), "accuracy": accuracy, "name": name}
    read = {"data": data, "target": target, "split": split, "eval": eval, "preprocessing": preprocessing}
    read |= {**columns.args(), **media.args(), **tables.args()}
    place.act("import_model", {**brought, **read, "check_only": check_only})
