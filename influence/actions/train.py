"""Train a model on a table, on texts, on images or on a bundled set, with a recipe that can be replayed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from influence.actions._measures import group_columns
from influence.actions._new_run import new_run
from influence.actions._opened import as_ids
from influence.data.arrays import is_arrays, prepare_arrays
from influence.data.dataset import ROLES, Dataset
from influence.data.images.prepare import prepare_images, wished
from influence.data.images.settings import Reading
from influence.data.images.sources import find, holds_images
from influence.data.read import is_address, is_name, read_table, title, told
from influence.data.stated import read_encoding, refuse_unused
from influence.data.tabular import prepare
from influence.data.text.prepare import prepare_texts
from influence.data.text.settings import Reading as TextReading
from influence.errors import BadInput
from influence.models.ensemble import Ensemble
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
    model: str = "",
    set: Mapping[str, Any] | None = None,
    data_set: Mapping[str, Any] | None = None,
    exclude: Sequence[Any] = (),
    seed: int = 0,
    test_share: float = 0.2,
    preprocessing: str = "",
    name: str = "",
    kinds: Mapping[str, str] | None = None,
    sheet: str = "",
    sql: str = "",
    positive: str = "",
    report: Report = ignore,
) -> dict[str, Any]:
    """Read the data, train, measure on evaluation and holdout rows, and keep it all as a run.

    `data`: the path of a table or of images (a folder, a zip or NPZ archive, or a table with `image` in `data_set`, which has the settings
    of their reading), a table by name (`influence.data.readers.named`), or "bundled:NAME" with `data_set` its settings. `model`: by default
    cnn for images that are brought, mlp for all else. `set`: settings of the model and of the recipe by name. `preprocessing`: path of a
    JSON file by which a table's columns become inputs, instead of what is fitted (`influence.data.stated`). `kinds`: what columns are, by
    name, where that is not what their cells suggest (`influence.data.kinds`). `sheet`: of a workbook, by name. `sql`: a query, where `data`
    is the address of a database; its credentials are kept nowhere. `positive`: the favourable class, of which rates and gaps speak; by
    default the last in sorted order.
    `exclude`: ids of training rows to leave out, truth *same* (their places in the order stay empty, fitted encoders are kept).

    Raises:
        BadInput: anything given cannot be used; nothing is written then.
    """
    began = time.perf_counter()
    report(Event("read", 0, 1, note="Reading the data"))
    names = {"protected": list(protected), "audit": list(audit), "drop": list(drop)}
    columns: dict[str, Any] = {**names, "id": id, "split": split, "test_share": test_share, "kinds": dict(kinds or {})}
    encoding = read_encoding(preprocessing) if preprocessing else None
    dataset = dataset_of(
        data, data_set, target, eval, seed, name, columns, project.path / "work", report, encoding, {"sheet": sheet, "query": sql}
    ).favouring(positive)
    data = told(data)
    refuse_unused(preprocessing, dataset.encoding)
    model = model or default_model(data, data_set)
    built, recipe = configured(dataset.train, model, {"seed": seed, **(set or {})}, vocabulary_of(dataset))
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
            "preprocessing": preprocessing,
            "sheet": sheet,
            "sql": sql,
            "positive": positive,
            "recipe": recipe.given,
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


def dataset_of(
    data: str,
    data_set: Mapping[str, Any] | None,
    target: str,
    eval: str,
    seed: int,
    name: str,
    columns: dict[str, Any],
    folder: Path | None = None,
    report: Report = ignore,
    encoding: Mapping[str, Any] | None = None,
    part: Mapping[str, Any] | None = None,
) -> Dataset:
    """Return the data set that `data` names: a bundled one, a folder that `save_data` wrote, images, or a table with its columns' parts.

    A table with `text` among the settings `data_set` is read as texts. `folder`: where pixels lie as long as they are used. `encoding`: how
    a table's columns become inputs, instead of what is fitted; other data bring their own. `part`: the sheet of a workbook, or the query to
    a database (`influence.data.read.read_table`).

    Raises:
        BadInput: it cannot be read, or not be used so.
    """
    if is_arrays(data):
        return prepare_arrays(data, columns["protected"], columns["audit"], seed, name)
    if data.startswith("bundled:"):
        return datasets.make(data.removeprefix("bundled:"), data_set)()
    if brings_images(data, data_set):
        if eval:
            raise BadInput("A second file of test rows is for tables. Put test images into a folder 'test' beside the folder 'train'.")
        reading = build(Reading, data_set or {})
        images = find(data, reading.image)
        wish = wished(images, target=target, seed=seed, name=name, reading=reading, **columns)
        return prepare_images(images, wish, source={"path": Path(data).name, "kind": images.kind}, folder=folder, report=report)
    if not target:
        if not (is_address(data) or is_name(data) or Path(data).exists()):
            read_table(data)  # says that there is none
        raise BadInput("No target column was given; name the column to predict (--target COL).")
    second = read_table(eval) if eval else None
    where = told(data) if is_name(data) else Path(told(data)).name
    named: dict[str, Any] = {"name": name or title(data), "source": {"path": where}, "encoding": encoding}
    reading = build(TextReading, data_set or {}) if brings_texts(data_set) else None
    table = [read_table(data, **(part or {}))]
    if reading:
        return prepare_texts(table.pop(), target=target, reading=reading, evaluation_frame=second, seed=seed, **named, **columns)
    # Without ** and popped, so that nobody else holds the table: each of its columns is let go of when it is encoded.
    return prepare(
        table.pop(),
        target=target,
        protected=columns["protected"],
        audit=columns["audit"],
        drop=columns["drop"],
        id=columns["id"],
        split=columns["split"],
        evaluation_frame=second,
        test_share=columns["test_share"],
        seed=seed,
        name=named["name"],
        source=named["source"],
        kinds=columns.get("kinds"),
        encoding=encoding,
    )


def brings_images(data: str, data_set: Mapping[str, Any] | None) -> bool:
    """Whether `data` is a path that is read as images, which a table is if its column of images is among the settings."""
    return not data.startswith("bundled:") and not is_address(data) and holds_images(data, str((data_set or {}).get("image", "")))


def brings_texts(data_set: Mapping[str, Any] | None) -> bool:
    """Whether a table is read as texts: its column of texts is among the settings."""
    return bool((data_set or {}).get("text"))


def default_model(data: str, data_set: Mapping[str, Any] | None) -> str:
    """Return the kind of model where none is chosen: bag for texts, cnn for images that are brought, else mlp."""
    return "bag" if brings_texts(data_set) else "cnn" if brings_images(data, data_set) else "mlp"


def vocabulary_of(dataset: Dataset) -> int:
    """Return how many token ids there are in a data set of texts, 0 among them; 0 if it is none."""
    if dataset.encoding.get("kind") == "text":
        return int(dataset.encoding["vocabulary"])
    parts = [x for x in (dataset.split(role).x for role in ROLES) if isinstance(x, np.ndarray) and x.ndim == 2 and x.dtype.kind in "iu"]
    return 1 + max(int(np.max(x, initial=0)) for x in parts) if len(parts) == len(ROLES) else 0


def configured(train: Examples, model: str, given: Mapping[str, Any], vocabulary: int = 0) -> tuple[Architecture, Recipe]:
    """Return the architecture bound to the data (of several shards their ensemble) and the recipe, from settings of either by name.

    Without other settings the recipe is the model's usual one, or: batches of 256, 64 or 32 by the number of rows, and at least 600 steps;
    the loss fits the target. `vocabulary`: how many token ids there are, of texts.

    Raises:
        BadInput: a setting belongs to neither, or is not allowed; or the model takes no texts, and these are.
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
    built = models.make(model, _fitting(model, own, vocabulary) | {k: v for k, v in given.items() if k in own})
    if getattr(built, "vocabulary", vocabulary) < vocabulary:
        raise BadInput(f"The texts have {vocabulary:,} token ids, and the model {built.vocabulary:,}. Choose a larger model vocabulary.")
    built = replace(built, inputs=train.shape, outputs=train.outputs)
    recipe = build(Recipe, {**usual(train, model), **{k: v for k, v in given.items() if k in recipe_names}})
    if (recipe.loss == "cross_entropy") != bool(train.classes):
        raise BadInput(
            f"Loss {recipe.loss} does not fit this target; "
            f"use {'cross_entropy for classes' if train.classes else 'squared or huber for a number'}."
        )
    return (Ensemble.of(built, recipe.shards) if recipe.sharded else built), recipe


def _fitting(model: str, own: Iterable[str], vocabulary: int) -> dict[str, Any]:
    """Return the settings of a model that texts decide.

    Raises:
        BadInput: these are texts, and it takes none.
    """
    if vocabulary and "vocabulary" not in own and not getattr(models.classes[model], "text", False):
        readers = ", ".join(name for name, cls in models.classes.items() if getattr(cls, "text", False))
        raise BadInput(f"These rows are texts as token ids, and {model} takes measurements. Choose one of: {readers}.")
    return {"vocabulary": vocabulary} if vocabulary and "vocabulary" in own else {}


def usual(train: Examples, model: str) -> dict[str, Any]:
    """Return the recipe where nothing else is chosen: the model's own for so many rows if it has one, else that of all."""
    cls = models.classes[model]
    return {**defaults(train), **(cls.usual(len(train)) if hasattr(cls, "usual") else {})}


def defaults(train: Examples) -> dict[str, Any]:
    """Return the recipe's defaults for data of this size and target."""
    size = 256 if len(train) >= 10_000 else 64 if len(train) >= 1_000 else 32
    steps = -(-len(train) // size)
    return {"batch_size": size, "epochs": max(8, -(-600 // steps)), "loss": "cross_entropy" if train.classes else "squared"}
