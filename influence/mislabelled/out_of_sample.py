"""The given label's probability in the eyes of models that were not shown the row.

Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, arXiv:1911.00068, section 3: out-of-sample
probabilities by k-fold cross-validation, and rows ranked by self-confidence p[given label] or by the normalised margin
p[given label] - max of p[other labels]. If labels are flipped uniformly, how likely a label is wrong depends on self-confidence alone.
Here the folds are retrainings of the same model by its own recipe (`train_many`), and probabilities are averaged over several cuttings
into folds, each with other seeds.

A model that learns wrong labels by heart is a worse judge of other rows, and says so: its epochs are halved for as long as the mean
cross-entropy of the given labels out of sample falls. The truth is not needed for it. Compared in docs/decisions/007-wrong-labels.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from scipy.special import softmax

from influence.grads import outputs
from influence.keyed import uniform
from influence.loop import Bound
from influence.mislabelled._shared import Score, margins, own
from influence.progress import part
from influence.registry import mislabelled, option
from influence.training import bound_at, together, train_many
from influence.types import Event, Examples, Recipe, Report, Trained, ignore
from influence.workspace import Workspace

VERSION = 2


@mislabelled
@dataclass(frozen=True)
class OutOfSample(Score):
    """How little models that were not shown a row believe its label; a wrong label that a model learns by heart stays visible."""

    folds: int = option(5, "Parts into which the rows are cut; each is judged by a model trained on the others", min=2, max=100)
    repeats: int = option(4, "How often they are cut anew, with other seeds", min=1, max=100)
    epochs: Literal["chosen", "recipe"] = option(
        "chosen", "How long judges are trained: halved while that makes them better on rows not shown, or as the recipe says", advanced=True
    )
    by: Literal["self-confidence", "normalised margin"] = option(
        "self-confidence", "The label's own probability, or that less the largest other one", advanced=True
    )
    seed: int = option(0, "Of the folds and the trainings", min=0, max=2**31 - 1, advanced=True)

    retrains: ClassVar[bool] = True
    in_shards: ClassVar[bool] = True
    version: ClassVar[int] = VERSION
    needs: ClassVar[str] = "The recipe by which the model was trained."
    cost: ClassVar[str] = "As many trainings as folds times repeats and up to a repeat more, side by side, kept."
    reads: ClassVar[str] = (
        "1 less the probability of the given label, to models that were not shown the row: near 1, they are sure that it is another. "
        "By normalised margin: how far the largest other probability lies above the label's."
    )

    side_by_side: ClassVar[bool] = True

    @property
    def trainings(self) -> int:
        """How many trainings it takes at most."""
        return self.folds * (self.repeats + 1)

    def values(self, trained: Trained, train: Examples, report: Report, workspace: Workspace) -> np.ndarray:
        """Return 1 less the self-confidence, from 0 to 1, or minus the normalised margin, from -1 to 1, (N,)."""
        p = self.probabilities(trained, train, report, workspace)
        return -margins(p, train.y) if self.by == "normalised margin" else 1 - own(p, train.y)

    def labels(self, trained: Trained, train: Examples, report: Report = ignore, workspace: Workspace | None = None) -> np.ndarray:
        """Return the most probable class of each row to models that were not shown it, (N,)."""
        return self.probabilities(trained, train, report, workspace or Workspace()).argmax(1)

    def probabilities(self, trained: Trained, train: Examples, report: Report, workspace: Workspace) -> np.ndarray:
        """Return each class's mean probability to the models that were not shown the row, (N, C); kept in the workspace."""

        def make(folder: Path) -> None:
            recipe, first = self._chosen(trained, train, report)
            total = self.folds * (self.repeats + 1)
            rest = total - 2 * self.folds
            others = self._judged(trained, recipe, train, range(1, self.repeats), part(report, "retrain", total - rest, total, rest))
            np.save(folder / "probabilities.npy", (first + others) / self.repeats)
            report(Event("retrain", total, total, note=f"{recipe.epochs} epochs each"))

        how = {"folds": self.folds, "repeats": self.repeats, "epochs": self.epochs, "seed": self.seed}
        key = {"of": trained.digest, "rows": train.digest, **how, "version": VERSION}
        return np.load(workspace.kept("out of sample", key, make) / "probabilities.npy")

    def _chosen(self, trained: Trained, train: Examples, report: Report) -> tuple[Recipe, np.ndarray]:
        """Return the recipe of the judges, and the probabilities of the first repeat, (N, C)."""
        assert trained.recipe is not None
        size, total = self.folds, self.folds * (self.repeats + 1)
        best, done = trained.recipe, size
        p = self._judged(trained, best, train, [0], part(report, "retrain", 0, total, size))
        while self.epochs == "chosen" and best.epochs > 1:
            shorter = replace(best, epochs=best.epochs // 2)
            share = size * shorter.epochs // trained.recipe.epochs
            q = self._judged(trained, shorter, train, [0], part(report, "retrain", done, total, share))
            done += share
            if _surprise(q, train.y) >= _surprise(p, train.y):
                break
            best, p = shorter, q
        return best, p

    def _judged(self, trained: Trained, recipe: Recipe, train: Examples, repeats: Sequence[int], report: Report) -> np.ndarray:
        """Return the sum over some repeats of the probabilities to models that were not shown the row, (N, C)."""
        found = np.zeros((len(train), train.outputs))
        if not len(repeats):
            return found
        out = np.concatenate([folds(train, self.folds, self.seed + r) for r in repeats])
        shown = np.flatnonzero(out.any(1))  # fewer rows than folds leave some empty
        seeds = [self.seed + 3_000_017 + self.folds * r + k for r in repeats for k in range(self.folds)]
        out, seeds = out[shown], [seeds[k] for k in shown]
        size = together(len(Bound(trained.model).flat))
        for at in range(0, len(out), size):
            some = slice(at, at + size)
            weights = 1 - out[some].astype(np.float64)
            heard = part(report, "retrain", at, len(out), len(weights))
            thetas = train_many(trained.model, train, recipe, weights, seeds[some], trained.removed, heard)
            for held_out, theta in zip(out[some], thetas, strict=True):
                z = outputs(bound_at(trained.model, recipe, theta), train.take(held_out))
                found[held_out] += softmax(z.double().cpu().numpy(), 1)
        return found


def _surprise(p: np.ndarray, y: np.ndarray) -> float:
    """Mean cross-entropy of the given labels."""
    return float(-np.log(np.maximum(own(p, y), 1e-12)).mean())


def folds(train: Examples, k: int, seed: int) -> np.ndarray:
    """Return k sets of rows to leave out, (k, N) bool: every row is in one, and every class is spread evenly over them."""
    turn = np.lexsort((uniform(seed, "folds", train.ids), train.y))
    fold = np.empty(len(train), dtype=np.int64)
    fold[turn] = np.arange(len(train)) % k
    return fold == np.arange(k)[:, None]
