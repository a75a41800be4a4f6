"""Data as a model from elsewhere saw it: the very arrays that it was trained on, with what people know about each row beside them.

A folder of three files, written by `save_data` in the program that trained the model: `data.npz` (x, y, ids, test), `columns.parquet`
(a table of all rows, for people and groups) and `data.json` (names). Nothing in them is ever executed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from influence.data.choices import Choices
from influence.data.dataset import ROLES, Dataset
from influence.data.groups import refuse_groupless
from influence.data.images.npy import STORED
from influence.data.images.npy import arrays as listed
from influence.data.read import read_table
from influence.data.schema import infer, plain
from influence.data.split import TRAIN, halved, refuse_empty
from influence.errors import BadInput
from influence.files import whole_folder
from influence.types import Examples, Tree, leaves, tree_map

FORMAT = 1
MOST_BYTES = 16_000_000_000
FILES = ("data.json", "data.npz", "columns.parquet")
WRITE = "Write it with influence.save_data."


def save_data(
    folder: str | Path,
    x: Any,
    y: Any,
    test: Iterable[bool] | np.ndarray,
    *,
    ids: Sequence[Any] | np.ndarray | None = None,
    columns: pd.DataFrame | None = None,
    classes: Sequence[str] = (),
    target: str = "target",
    protected: Sequence[str] = (),
    audit: Sequence[str] = (),
    positive: str = "",
    name: str = "",
) -> Path:
    """Write the arrays that a model is trained and tested on into a new folder, and return its path.

    `x`: inputs as the model takes them, (N, *shape), or several by name. `y`: places of classes, (N,) whole numbers, or numbers.
    `test`: which rows are test rows, (N,) bool; half of them answer questions, half are held out. `columns`: what people know of each
    row, N rows. `classes`: names in the order of the model's outputs. `protected`, `audit`: columns that form groups.
    `positive`: the favourable class, of which rates and gaps speak; by default the last.

    Raises:
        BadInput: the parts do not fit together, or the folder exists.
    """
    folder = Path(folder)
    if folder.exists():
        raise BadInput(f"{str(folder)!r} exists already. Choose a new folder for the data.")
    arrays: Tree = {str(k): np.asarray(v) for k, v in x.items()} if isinstance(x, Mapping) else np.asarray(x)
    y, n = np.asarray(y), len(np.asarray(y))
    table = (columns if columns is not None else pd.DataFrame(index=range(n))).reset_index(drop=True)
    own = np.arange(n) if ids is None else np.asarray(ids)
    own, out = own if own.dtype.kind in "iu" else own.astype(np.str_), np.asarray(test, dtype=bool)
    told = {
        "target": target,
        "protected": list(protected),
        "audit": list(audit),
        "positive": positive,
        "name": name or folder.name,
        "classes": list(map(str, classes)),
    }
    _refuse_misfits(arrays, y, own, out, table, told)
    if target not in table:
        table = table.assign(**{target: np.asarray(told["classes"], dtype=object)[y] if told["classes"] else y})
    _dataset(arrays, y, own, out, table, told, seed=0)  # refuses what could not be read again
    with whole_folder(folder) as half:
        named = {f"x.{k}": v for k, v in arrays.items()} if isinstance(arrays, Mapping) else {"x": arrays}
        np.savez(half / "data.npz", y=y, ids=own, test=out, **named)  # type: ignore[arg-type]
        plain(table).to_parquet(half / "columns.parquet", index=False)
        (half / "data.json").write_text(json.dumps({"format": FORMAT, **told}), encoding="utf-8")
    return folder


def is_arrays(path: str | Path) -> bool:
    """Whether a folder is one that `save_data` wrote."""
    return all((Path(path) / file).is_file() for file in FILES)


def refuse_links(folder: Path) -> None:
    """See that a folder of files from elsewhere holds no links that lead out of it: only what lies in it was meant to be read.

    Raises:
        BadInput: it does.
    """
    home = folder.resolve()
    odd = next((path.name for path in sorted(folder.iterdir()) if not path.resolve().is_relative_to(home)), None)
    if odd is not None:
        raise BadInput(f"{odd!r} in {folder.name!r} is a link that leads out of the folder. Put the file itself there.")


def prepare_arrays(path: str | Path, protected: Sequence[str] = (), audit: Sequence[str] = (), seed: int = 0, name: str = "") -> Dataset:
    """Return the data set in a folder that `save_data` wrote; `protected` and `audit` replace the columns that it names.

    Raises:
        BadInput: a file is missing or damaged, or the parts do not fit together.
    """
    path = Path(path)
    refuse_links(path)
    told, arrays = _json(path / "data.json"), listed(path / "data.npz", STORED, WRITE)
    table = read_table(path / "columns.parquet", MOST_BYTES)
    missing = [part for part in ("y", "ids", "test") if part not in arrays]
    inputs = [key for key in arrays if key.startswith("x.")] or [key for key in arrays if key == "x"]
    if missing or not inputs:
        raise BadInput(f"data.npz lacks {(missing or ['x'])[0]!r}. {WRITE}")
    told |= {"name": name or told["name"]}
    told |= {"protected": list(protected)} if protected else {}
    told |= {"audit": list(audit)} if audit else {}
    x: Tree = {key.removeprefix("x."): arrays[key].whole() for key in inputs} if inputs != ["x"] else arrays["x"].whole()
    y, ids, test = (arrays[name].whole() for name in ("y", "ids", "test"))
    return _dataset(x, y, ids, test.astype(bool), table, told, seed)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        assert found["format"] == FORMAT
        texts = {name: str(found[name]) for name in ("target", "name")} | {"positive": str(found.get("positive", ""))}
        lists = {name: [str(part) for part in found[name]] for name in ("protected", "audit", "classes")}
    except (OSError, ValueError, KeyError, TypeError, AssertionError, RecursionError):
        raise BadInput(f"{path.name!r} is missing or damaged. {WRITE}") from None
    return {**texts, **lists}


def _dataset(x: Tree, y: np.ndarray, ids: np.ndarray, test: np.ndarray, table: pd.DataFrame, told: Mapping[str, Any], seed: int) -> Dataset:
    table = plain(table)
    _refuse_misfits(x, y, ids, test, table, told)
    if told["target"] not in table:
        raise BadInput(f"The target {told['target']!r} is no column of columns.parquet. {WRITE}")
    classes = tuple(told["classes"])
    x = tree_map(lambda leaf: leaf.astype(np.float32) if leaf.dtype.kind == "f" and leaf.dtype != np.float64 else leaf, x)
    goal = y.astype(np.int64) if classes else y.astype(np.float32)
    every = Examples(x, goal, ids, table, classes)
    roles = np.where(test, halved(ids, seed), TRAIN).astype(np.int8)
    refuse_empty(roles)
    choices = Choices(told["target"], tuple(told["protected"]), tuple(told["audit"]))
    columns = {column.name: column for column in infer(table)}
    for name in choices.groups:
        if name not in columns:
            raise BadInput(f"{name!r} is chosen to form groups and is no column of columns.parquet: {', '.join(list(columns)[:12])}.")
    refuse_groupless(table, roles, choices, columns)
    target = {
        "name": choices.target,
        **({"kind": "classes", "classes": list(classes)} if classes else {"kind": "number", "mean": 0.0, "sd": 1.0}),
    }
    train, evaluation, holdout = (every.take(roles == role) for role in range(len(ROLES)))
    return Dataset(
        told["name"], train, evaluation, holdout, target=choices.target, protected=choices.protected, audit=choices.audit,
        encoding={"kind": "arrays", "shape": list(every.shape), "target": target},
        columns=[asdict(column) | {"part": choices.part(name), "input": False} for name, column in columns.items()],
        source={"arrays": told["name"]}, notes="The model sees the arrays that were brought; the columns are for people.",
    ).favouring(told["positive"])  # fmt: skip


def _refuse_misfits(x: Tree, y: np.ndarray, ids: np.ndarray, test: np.ndarray, table: pd.DataFrame, told: Mapping[str, Any]) -> None:
    sizes = {"y": len(y), "ids": len(ids), "test": len(test), "columns": len(table), "x": len(leaves(x)[0])}
    if len({*sizes.values(), *map(len, leaves(x))}) > 1 or y.ndim != 1:
        raise BadInput(f"x, y, ids, test and columns need one length; got {', '.join(f'{k} {v:,}' for k, v in sizes.items())}. {WRITE}")
    if any(leaf.dtype.kind not in "fiub" for leaf in leaves(x)) or y.dtype.kind not in "fiub" or ids.dtype.kind not in "iuU":
        mend = "Give y as the numbers of the classes, from 0, and their names as classes=[...]." if y.dtype.kind in "OU" else WRITE
        raise BadInput(f"x and y must be numbers and ids whole numbers or text; got {y.dtype} for y and {ids.dtype} for ids. {mend}")
    bad = next((k for k, leaf in enumerate(leaves(x)) if leaf.dtype.kind == "f" and not np.isfinite(leaf).all()), None)
    if bad is not None or (y.dtype.kind == "f" and not np.isfinite(y).all()):
        raise BadInput(
            "Some inputs or targets are not finite. Fill missing cells as the model's own preparation did, and write them again."
        )
    if told["classes"] and (y.dtype.kind == "f" or not (0 <= int(y.min()) and int(y.max()) < len(told["classes"]))):
        raise BadInput(f"y must be places 0 to {len(told['classes']) - 1} in the list of classes. {WRITE}")
