"""One cell: a data set and a kind of forget set. Originals of several seeds, each made to forget by every method, beside oracles.

Originals, oracles and the models judged as "retrain" have seeds of their own; none is used for two purposes. They are kept under
benchmarks/.cache: a killed run goes on, and a method measured later is judged by the same models.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.truth.banks import kept, portions
from benchmarks.truth.settings import SAME
from benchmarks.unlearning import strata
from influence.digest import digest
from influence.grads import outputs
from influence.keyed import keys
from influence.loop import begun
from influence.registry import unlearning
from influence.training import bound_at, checkpoint, load, train, train_many
from influence.types import Examples, Selection, Trained
from influence.workspace import Workspace

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "unlearning"
SEEDS = {"original": 2_000_000, "oracle": 1_000_000, "retrain": 3_000_000}
APART = 50_000
"""Seeds between one draw's and the next's."""
SAMPLE = 2000
"""Retained rows that are looked at."""
TIMED = 5
"""Trainings that are timed, one at a time, as the yardstick of cost."""

Out = dict[str, np.ndarray]
"""By part ("forget", "retained", "unseen"): outputs of models, (K, M, C)."""


@dataclass(frozen=True)
class Data:
    """A data set with its model and recipe, and `count` originals trained on it; another `draw` has other wrong labels, rows and seeds."""

    name: str
    count: int
    draw: int = 0

    @property
    def title(self) -> str:
        """The data set, and which draw it is if not the first."""
        return self.name + (f" (draw {self.draw})" if self.draw else "")

    @cached_property
    def parts(self) -> tuple[Any, Examples, np.ndarray, Examples, Any]:
        """Return architecture, training rows with wrong labels, their places, test rows and recipe."""
        model, rows, test, recipe, _ = SAME[self.name].parts()
        return (model, *strata.with_wrong_labels(rows, self.draw), test, recipe)

    def trained(self, purpose: str, gone: np.ndarray | None = None) -> list[Trained]:
        """Return `count` models of their own seeds for a purpose, trained without the rows at these places."""
        model, rows, _, _, recipe = self.parts
        stay = np.ones(len(rows), np.float32)
        stay[[] if gone is None else gone] = 0
        removed = () if gone is None else tuple(rows.ids[gone].tolist())
        seeds = [SEEDS[purpose] + APART * self.draw + k for k in range(self.count)]
        thetas = torch.cat([self._kept(purpose, stay, seeds[own]) for own in portions(model, self.count)])
        return [
            Trained(
                model,
                (checkpoint(bound_at(model, recipe, theta).state(), 1, recipe.lr),),
                replace(recipe, seed=seed),
                "trained",
                None,
                removed,
            )
            for seed, theta in zip(seeds, thetas, strict=True)
        ]

    def _kept(self, purpose: str, stay: np.ndarray, seeds: list[int]) -> torch.Tensor:
        model, rows, _, _, recipe = self.parts
        begins = digest(begun(model, recipe).flat.numpy())  # a model whose code changes is trained anew
        key = digest({"model": model, "begins": begins, "rows": rows.digest, "recipe": recipe, "stay": stay, "seeds": seeds})[:16]
        weights = np.tile(stay, (len(seeds), 1))

        def made() -> dict[str, np.ndarray]:
            return {"thetas": train_many(model, rows, recipe, weights, seeds).numpy()}

        return torch.from_numpy(kept(CACHE / f"{self.name}-{purpose}-{key}.npz", made)["thetas"])

    @cached_property
    def originals(self) -> list[Trained]:
        """The models that are to forget."""
        return self.trained("original")

    @cached_property
    def seconds(self) -> float:
        """Median seconds of one training by itself."""
        return float(np.median([self.timed() for _ in range(TIMED)]))

    def timed(self) -> float:
        """Return the seconds of one training by itself, now."""
        model, rows, _, _, recipe = self.parts
        return _timed(lambda: train(model, rows, recipe))[1]


@dataclass(frozen=True)
class Cell:
    """A kind of forget set on a data set."""

    data: Data
    kind: str
    share: float = strata.SHARE

    @cached_property
    def gone(self) -> np.ndarray:
        """Places of the rows that are to be forgotten."""
        _, rows, wrong, test, _ = self.data.parts
        return strata.chosen(self.kind, self.data.originals[0], rows, test, wrong, self.share, self.data.draw)

    @cached_property
    def rows(self) -> dict[str, Examples]:
        """The rows of each part: all that are forgotten, a sample of the retained, all unseen."""
        _, rows, _, test, _ = self.data.parts
        stay = np.setdiff1d(np.arange(len(rows)), self.gone)
        some = np.sort(stay[np.argsort(keys(0, "looked at", rows.ids[stay]))[:SAMPLE]])
        return {"forget": rows.take(self.gone), "retained": rows.take(some), "unseen": test}

    @cached_property
    def oracles(self) -> Out:
        """What models say that never saw the rows."""
        return self.said(self.data.trained("oracle", self.gone))

    def said(self, models: list[Trained]) -> Out:
        """Return what models say of each part."""
        bounds = [load(each) for each in models]
        return {part: np.stack([outputs(bound, rows).numpy() for bound in bounds]) for part, rows in self.rows.items()}

    def judged(self, method: str, settings: dict[str, Any] | None = None) -> tuple[Out, dict[str, float]]:
        """Return what the models say that a method makes, and seconds of a request, of what serves every request, of a training."""
        if method in ("nothing", "retrain"):
            models = self.data.originals if method == "nothing" else self.data.trained("retrain", self.gone)
            whole = self.data.seconds
            return self.said(models), {"seconds": whole * (method == "retrain"), "prepare_seconds": 0.0, "train_seconds": whole}
        return self._made(method, settings or {})

    def _made(self, method: str, settings: dict[str, Any]) -> tuple[Out, dict[str, float]]:
        _, rows, _, _, _ = self.data.parts
        selection, made, spent, before, whole = Selection(tuple(rows.ids[self.gone].tolist())), [], [], [], []
        for k, original in enumerate(self.data.originals):
            by, space = unlearning.make(method, {**settings, **({"seed": k + 1} if _seeded(method) else {})}), Workspace()
            before.append(_timed(lambda by=by, on=original, at=space: by.prepare(on, rows, at))[1] if hasattr(by, "prepare") else 0.0)  # type: ignore[misc]
            found, seconds = _timed(lambda by=by, on=original, at=space: by(on, rows, selection, workspace=at))  # type: ignore[misc]
            made.append(found)
            spent.append(seconds)
            if k < TIMED:  # between requests: how fast a machine is changes in the course of a day
                whole.append(self.data.timed())
        took = {"seconds": spent, "prepare_seconds": before, "train_seconds": whole}
        return self.said(made), {name: float(np.median(each)) for name, each in took.items()}


def _seeded(method: str) -> bool:
    return hasattr(unlearning.make(method), "seed")


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()  # of one thread: what else the machine does makes little difference
    found = work()
    return found, time.process_time() - began
