"""Train a model on a table or a bundled set, with a recipe that can be replayed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from influence.actions._measures import group_columns
from influence.actions._new_run import new_run
from influence.actions._opened import as_ids
from influence.data.dataset import Dataset
from influence.data.read import read_table
from influence.data.tabular import prepare
from influence.errors import BadInput
from influence.registry import build, datasets, models, settings
from influence.store import Project
from influence.training import train as fit
from influence.types import Architecture, Event, Examples, Recipe, Report, ignore

RECORD = 1024  # MiB that a recorded trajectory may take; a longer training is replayed instead


def train(
    project: Project,
    data: str,
    target: str = "",
    protected: Sequence[str] = (),
    audit: Sequence[str] = (),
    drop: Sequence[str] = (),
    id: str = "",
    eval: str = "",
    split: str = "",
    model: str = "mlp",
    set: Mapping[str, Any] | None = None,
    data_set: Mapping[str, Any] | None = None,
    exclude: Sequence[Any] = (),
    seed: int = 0,
    test_share: float = 0.2,
    name: str = "",
    report: Report = ignore,
) -> dict[str, Any]:
    """Read the data, train, measure on evaluation and holdout rows, and keep it all as a run.

    `data`: a CSV or Parquet path, or "bundled:NAME" with `data_set` its settings. `set`: settings of the model and of the recipe by name.
    `exclude`: ids of training rows to leave out, truth *same* (their places in the order stay empty, fitted encoders are kept).

    Raises:
        BadInput: anything given cannot be used; nothing is written then.
    """
    began = time.perf_counter()
    report(Event("read", 0, 1, note="Reading the data"))
    names = {"protected": list(protected), "audit": list(audit), "drop": list(drop)}
    columns: dict[str, Any] = {**names, "id": id, "split": split, "test_share": test_share}
    dataset = _dataset(data, data_set, target, eval, seed, name, columns)
    built, recipe = configured(dataset.train, model, {"seed": seed, **(set or {})})
    ids = as_ids(dataset.train.ids, exclude)
    kept = dataset.train.take(~dataset.train.mask(ids)) if ids else dataset.train
    report(Event("read", 1, 1, note=f"{len(kept):,} training rows"))
    trained = fit(built, kept, recipe, removed=ids, record=RECORD, report=report)
    run, body = new_run(
        project,
        "train",
        dataset,
        trained,
        settings={
            "data": data,
            "data_set": dict(data_set or {}),
            "target": target,
            "eval": eval,
            "model": model,
            "set": dict(set or {}),
            "seed": seed,
            "excluded": list(ids),
            "recipe": asdict(recipe),
            **columns,
        },
        extra={"source": {"data": data, "target": target, "data_set": dict(data_set or {})}, "groups": list(group_columns(dataset))},
        seconds=time.perf_counter() - began,
        name=name,
    )
    return {
        "run": run,
        "n_train": len(kept),
        "metrics": body["metrics"],
        "evaluation_metrics": body["evaluation_metrics"],
        "predictions": str(project.table_path(body["predictions"])),
        "notes": dataset.notes,
        "seconds": body["seconds"],
    }


def _dataset(
    data: str, data_set: Mapping[str, Any] | None, target: str, eval: str, seed: int, name: str, columns: dict[str, Any]
) -> Dataset:
    if data.startswith("bundled:"):
        return datasets.make(data.removeprefix("bundled:"), data_set)()
    if not target:
        raise BadInput("No target column was given; name the column to predict (--target COL).")
    source = {"path": Path(data).name}
    second = read_table(eval) if eval else None
    return prepare(
        read_table(data), target=target, evaluation_frame=second, seed=seed, name=name or Path(data).stem, source=source, **columns
    )


def configured(train: Examples, model: str, given: Mapping[str, Any]) -> tuple[Architecture, Recipe]:
    """Return the architecture bound to the data and the recipe, from settings of either by name.

    Without other settings: batches of 256, 64 or 32 by the number of rows, and at least 600 steps; the loss fits the target.

    Raises:
        BadInput: a setting belongs to neither, or is not allowed.
    """
    if model not in models.classes:
        models.make(model)  # says which there are
    own = {s.name for s in settings(models.classes[model])}
    recipe_names = {s.name for s in settings(Recipe)}
    unknown = [key for key in given if key not in own | recipe_names]
    if unknown:
        raise BadInput(
            f"There is no setting {unknown[0]!r}; {model} has {', '.join(sorted(own)) or 'none'}; "
            f"training has {', '.join(sorted(recipe_names))}."
        )
    built = models.make(model, {k: v for k, v in given.items() if k in own})
    built = replace(built, inputs=train.shape, outputs=train.outputs)
    recipe = build(Recipe, {**defaults(train), **{k: v for k, v in given.items() if k in recipe_names}})
    if (recipe.loss == "cross_entropy") != bool(train.classes):
        raise BadInput(
            f"Loss {recipe.loss} does not fit this target; "
            f"use {'cross_entropy for classes' if train.classes else 'squared or huber for a number'}."
        )
    return built, recipe


def defaults(train: Examples) -> dict[str, Any]:
    """Return the recipe's defaults for data of this size and target."""
    size = 256 if len(train) >= 10_000 else 64 if len(train) >= 1_000 else 32
    steps = -(-len(train) // size)
    return {"batch_size": size, "epochs": max(8, -(-600 // steps)), "loss": "cross_entropy" if train.classes else "squared"}
