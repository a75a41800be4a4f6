"""Building an index: one pass over the rows, committed part by part; then its recall is measured.

A killed build goes on behind the last part; new rows are appended to an index that there is.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from influence.digest import digest
from influence.errors import BadInput
from influence.grads import Rows, chosen
from influence.grads.matrix import Feature, blocks
from influence.grads.rows import planned
from influence.index.basis import Basis, Sample
from influence.index.recall import ranks
from influence.index.screen import Codes
from influence.keyed import uniform
from influence.loop import Bound, tensors
from influence.types import Event, Examples, Report, ignore, tree_map

VERSION = 3
PART = 16_384
"""Rows that are committed together."""


@dataclass(frozen=True)
class Settings:
    """What an index is: `size` directions, found from a sample of rows."""

    size: int = 256
    sample: int = 8192
    seed: int = 0


def build(
    folder: Path,
    model: str,
    bound: Bound,
    rows: Examples,
    loss: str,
    settings: Settings | None = None,
    base: Path | None = None,
    memory: float = 512,
    report: Report = ignore,
) -> None:
    """Fill `folder` with the index of these rows, going on from what an interrupted call left there.

    `model`: the model's digest, to be found again at opening. `base`: an index of the first of these rows, from which to go on.

    Raises:
        BadInput: what lies in the folder, or in `base`, belongs to another model or to other rows; it stays as it is.
    """
    settings = settings or Settings()
    x, y = tensors(rows, str(bound.flat.dtype).removeprefix("torch."))
    asked = Rows(x, y, loss)
    told = _begin(folder, model, bound, rows, asked, settings, base, memory)
    basis = Basis.load(folder / "basis.safetensors", bound.device)
    report(Event("index", told["rows"], len(rows)))
    with (folder / "codes.bin").open("r+b") as codes:
        codes.truncate(told["rows"] * 2 * basis.size)
        codes.seek(0, os.SEEK_END)
        for start in range(told["rows"], len(rows), PART):
            part = slice(start, min(start + PART, len(rows)))
            codes.write(_encoded(bound, asked.cut(part), basis, memory).tobytes())
            codes.flush()
            os.fsync(codes.fileno())
            told |= {"rows": part.stop, "parts": [*told["parts"], identity(rows, part)]}
            _write(folder, told)
            report(Event("index", part.stop, len(rows), f"{100 * basis.captured:.1f} % of the gradients' energy kept"))
    if "digest" not in told:
        found = ranks(Codes(folder, basis, len(rows)), bound, asked, rows, settings.seed, report)
        np.save(folder / "ranks.npy", found)
        _write(folder, {**told, "digest": rows.digest})


def _begin(
    folder: Path, model: str, bound: Bound, rows: Examples, asked: Rows, settings: Settings, base: Path | None, memory: float
) -> dict[str, Any]:
    """Return what is committed; at first nothing, or the base.

    Raises:
        BadInput: it belongs to another model, other rows or other settings.
    """
    expected = {"version": VERSION, "model": model, "loss": asked.loss, "settings": vars(settings), "dtype": str(bound.flat.dtype)}
    if not (folder / "index.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        if base is not None:
            told = _taken_over(base, folder, model, rows)
        else:
            find(bound, asked, rows.ids, settings, memory).save(folder / "basis.safetensors")
            (folder / "codes.bin").touch()
            told = {**expected, "rows": 0, "parts": []}
        if told | expected != told:
            raise BadInput(f"The index in {base} has other settings. Give the settings it was built with, or build a new one.")
        _write(folder, told)
    found = opened(folder, model, rows, whole=False)
    if found | expected != found:
        raise BadInput(f"The index in {folder} has other settings. Give the settings it was built with, or delete it.")
    if found.get("digest", rows.digest) != rows.digest:
        raise BadInput(
            f"The index in {folder} is finished, with {found['rows']} of the {len(rows)} rows given. "
            "Build into another folder, with it as the base."
        )
    return found


def _taken_over(base: Path, folder: Path, model: str, rows: Examples) -> dict[str, Any]:
    """Copy the whole parts of an index: parts begin at multiples of their size."""
    told = opened(base, model, rows, whole=False)
    for name in ("basis.safetensors", "codes.bin"):
        shutil.copyfile(base / name, folder / name)
    told.pop("digest", None)
    parts = told["rows"] // PART
    return {**told, "rows": parts * PART, "parts": told["parts"][:parts]}


def opened(folder: Path, model: str, rows: Examples, whole: bool = True) -> dict[str, Any]:
    """Return the description of the index in a folder.

    Raises:
        BadInput: it is no index, of another model, of other rows, or unfinished (unless not `whole`).
    """
    try:
        told: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise BadInput(f"There is no index in {folder}. Build one first.") from None
    if told.get("version") != VERSION:
        raise BadInput(f"The index in {folder} is of another version of this program. Delete it; it will be built again.")
    if told["model"] != model:
        raise BadInput(f"The index in {folder} was built for another model. Build one for this model.")
    if told.get("digest") == rows.digest:
        return told
    n = told["rows"]
    parts = [identity(rows, slice(start, min(start + PART, n))) for start in range(0, n, PART)] if n <= len(rows) else []
    if whole or parts != told["parts"]:
        raise BadInput(f"The index in {folder} holds {n} rows that are not the {len(rows)} rows given, or is unfinished. Build it first.")
    return told


def identity(rows: Examples, part: slice) -> str:
    """Return the digest of what the index knows of some rows: who they are, inputs and targets."""
    return digest({"x": tree_map(lambda leaf: leaf[part], rows.x), "y": rows.y[part], "ids": rows.ids[part]})


def _write(folder: Path, told: dict[str, Any]) -> None:
    temporary = folder / "index.json.tmp"
    temporary.write_text(json.dumps(told, sort_keys=True), encoding="utf-8")
    os.replace(temporary, folder / "index.json")


def find(bound: Bound, rows: Rows, ids: np.ndarray, settings: Settings, memory: float) -> Basis:
    """Find the directions from a sample of rows, keyed by id."""
    few = np.sort(np.argsort(uniform(settings.seed, "index", ids), kind="stable")[: settings.sample])
    sample, drawn = Sample(), rows.cut(torch.from_numpy(few))
    for found in _features(bound, drawn, memory):
        sample.first(found)
    sample.turn()
    for found in _features(bound, drawn, memory):
        sample.second(found)
    return sample.basis(settings.size, bound.flat.dtype)


def _features(bound: Bound, rows: Rows, memory: float) -> Iterator[dict[int, Feature]]:
    with torch.no_grad():
        yield from (found for _, found in blocks(bound, rows, planned(bound, rows, chosen(bound)), memory))


def _encoded(bound: Bound, rows: Rows, basis: Basis, memory: float) -> np.ndarray:
    """Return the rows' coordinates in bfloat16 as their bits, (B, k) int16."""
    codes = [basis.of_block(found, bound.flat).bfloat16().view(torch.int16) for found in _features(bound, rows, memory)]
    return torch.cat(codes).cpu().numpy()
