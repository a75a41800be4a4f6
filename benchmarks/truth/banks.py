"""Ground truth, computed once and kept under benchmarks/.cache: a killed run goes on where it stopped.

Every retraining is a pure function of its number and of the settings whose digest names its folder, so the parts that lie there are as good
as new ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.truth import published
from benchmarks.truth.published import PUBLISHED, Published
from benchmarks.truth.settings import SAME, Setting, mnist
from influence.digest import digest
from influence.grads import outputs
from influence.loop import Bound, begun
from influence.training import bound_at, train_many
from influence.types import Architecture

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "truth"
TOGETHER = 25
"""Models trained side by side, and kept at a time."""
NUMBERS = 2**20
"""Parameters of all models trained side by side without some rows, at most."""
RESEEDED = 10_000_000
"""What the second bank adds to each seed; models of no bank have seeds from twice that on."""


def kept(path: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays kept at `path` (.npz), made if they are not there; written whole or not at all."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            np.savez(file, **make())
        os.replace(temporary, path)
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def bank(setting: str, subsets: int = 100) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the truth of a published setting: subsets (R, 2500) and each model's test losses (R, 500), in two banks.

    The second bank has the same subsets and other seeds: the rank correlation r of the two gives the ceiling sqrt(r).
    """
    rows = np.stack([published.subset(i) for i in range(subsets)])
    first, second = ([part["losses"] for part in half_models(setting, subsets, again)] for again in (False, True))
    return rows, np.concatenate(first), np.concatenate(second)


def half_models(setting: str, count: int, again: bool = False) -> list[dict[str, np.ndarray]]:
    """Return parts of 25 models each trained on half of the rows: `losses` (25, 500), and `p0`, `p1`, ... their parameters."""
    rows = [published.subset(i) for i in range(count)]
    seeds = [i + RESEEDED * again for i in range(count)]
    return _models(setting, "again" if again else "half", rows, seeds)


def full_models(setting: str, count: int) -> list[dict[str, np.ndarray]]:
    """Return parts of models trained on all rows with seeds of their own."""
    return _models(setting, "full", [np.arange(published.N)] * count, [2 * RESEEDED + i for i in range(count)])


def other_models(setting: str, count: int) -> list[dict[str, np.ndarray]]:
    """Return parts of models trained on halves of the rows that belong to no bank."""
    seeds = [3 * RESEEDED + i for i in range(count)]
    return _models(setting, "other", [published.subset(seed) for seed in seeds], seeds)


def _models(setting: str, kind: str, rows: list[np.ndarray], seeds: list[int]) -> list[dict[str, np.ndarray]]:
    parts = [slice(at, min(at + TOGETHER, len(rows))) for at in range(0, len(rows), TOGETHER)]
    how = PUBLISHED[setting]
    folder = CACHE / "published" / f"{setting}-{digest([how, published.N, published.M])[:16]}"

    def make(own: slice) -> dict[str, np.ndarray]:
        print(f"{setting}: training models {own.start} to {own.stop - 1} ({kind})", flush=True)
        return _trained(how, np.stack(rows[own]), seeds[own])

    return [kept(folder / f"{kind}-{own.start}-{own.stop}.npz", lambda own=own: make(own)) for own in parts]  # type: ignore[misc]


def _trained(setting: Published, rows: np.ndarray, seeds: list[int]) -> dict[str, np.ndarray]:
    torch.set_num_threads(1)
    x, y, test_x, test_y = (torch.from_numpy(part) for part in mnist(published.N, published.M, setting.data))
    params = published.train(setting, rows, seeds, x, y)
    return {"losses": published.losses(params, test_x, test_y), **{f"p{place}": p.numpy() for place, p in enumerate(params)}}


def left_out(n: int, fraction: float, subsets: int) -> np.ndarray:
    """Which rows each retraining does without, (S, N) bool."""
    size = max(1, round(fraction * n))
    return np.stack([np.isin(np.arange(n), np.random.default_rng(s).choice(n, size, replace=False)) for s in range(subsets)])


def same(name: str, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows were left out (S, N) and how the values of a setting's question really changed, (S, Q)."""
    setting = SAME[name]
    out = left_out(len(setting.parts()[1]), fraction, setting.subsets)
    parts = [_values(setting, fraction, out, cut) for cut in [slice(None, 0), *portions(setting.parts()[0], len(out))]]
    return out, np.concatenate(parts[1:]) - parts[0]


def portions(model: Architecture, count: int) -> list[slice]:
    """Cut `count` models into those that are trained, and kept, at a time."""
    size = max(2, min(TOGETHER, NUMBERS // len(Bound(model).flat)))
    return [slice(at, min(at + size, count)) for at in range(0, count, size)]


def _values(setting: Setting, fraction: float, out: np.ndarray, cut: slice) -> np.ndarray:
    """Values of the question for the models of one part; for an empty one those of the model trained on all rows, (1, Q)."""
    model, train, _, recipe, question = setting.parts()
    whole = cut.stop == 0
    name = "whole" if whole else f"{fraction:g}-{cut.start}-{cut.stop}"
    begins = digest(begun(model, recipe).flat.numpy())  # a model whose code changes must not be judged by the truth of the old one
    key = digest({"model": model, "begins": begins, "train": train.digest, "recipe": recipe, "question": question.digest})[:16]

    def make() -> dict[str, np.ndarray]:
        print(f"{setting.name}: {'the model' if whole else f'retraining {cut.start} to {cut.stop - 1} without {fraction:g}'}", flush=True)
        weights = np.ones((1, len(train))) if whole else 1.0 - out[cut]
        thetas = train_many(model, train, recipe, weights)
        return {
            "values": torch.stack([question.value(outputs(bound_at(model, recipe, theta), question.examples)) for theta in thetas]).numpy()
        }

    return kept(CACHE / "same" / f"{setting.name}-{key}" / f"{name}.npz", make)["values"].astype(np.float64)
