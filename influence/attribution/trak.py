"""TRAK: the model's last stretch as a regression on its own gradients, in which leaving a row out has a formula.

Park, Georgiev, Ilyas, Leclerc and Madry, TRAK: Attributing Model Behavior at Scale, arXiv:2303.14186, section 3. With f_i the margin
log(p / (1 - p)) of row i's right class (for numbers, the prediction itself), phi_i = grad f_i at the final weights, and Phi (N, P):

    s_i = - grad F . (Phi' Phi + damping)^-1 phi_i . (1 - p_i)

1 - p_i (for numbers, y_i - z_i) is what turns the margin's gradient into that of the loss, - (1 - p_i) phi_i = grad l_i: the formula is an
influence function with Phi' Phi for the Hessian, so it holds for every differentiable F, with no weight on the question's side. With
several models both factors are averaged over the models before they are multiplied (equation 17 and algorithm 1 there), and so is the
question's derivative by the outputs: otherwise the models that miss a question's row by most would answer for all.

- *Exact* (dimension 0): by (Phi' Phi + d)^-1 Phi' = Phi' (Phi Phi' + d)^-1 the products of rows with each other are enough; nothing is
  projected.
- *Damping* of one model is chosen by leave-one-out: how well a ridge regression on phi predicts each row's label from the other rows (Allen
  1974; a margin's label is 1). Of several models trained on halves it is chosen by leave-one-model-out: how well the others foretell, by
  their scores, each model's outputs on training rows that it was not shown.
- *Misses* of several models are those at the end, or those of as many short trainings of their own (a tenth of the epochs, at least one,
  each with its whole schedule of step sizes: ten models are eleven trainings' worth), whichever foretells better: a row that is fitted in
  the end has moved the model on the way. Evidence sees training rows only. Compared in docs/decisions/006-damping-by-evidence.md.
- *Rows that training never saw* are no part of the regression, whether or not they are still in the data, and score 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch

from influence.attribution._ridge import COARSE, FEWEST, MOST, leave_one_model_out
from influence.attribution._shared import over_all
from influence.attribution._trak_model import PHI, Member, Pull
from influence.errors import BadInput
from influence.keyed import uniform
from influence.loop import Bound, threads
from influence.progress import part
from influence.registry import attribution, option
from influence.repeatable import no_recipe
from influence.settled import trained_on, training_loss
from influence.training import bound_at, load, train_many
from influence.types import Event, Examples, Question, Recipe, Report, Scores, Trained, ignore
from influence.workspace import Workspace

VERSION = 3
EXACT, COPIES = 9_000, 3
"""Rows up to which their products with each other are taken by default; copies of the matrix that must fit into the memory allowed."""
WIDE = 4096
"""Dimension beyond that, if as many copies fit."""
EARLY = 0.1
"""Share of the recipe's epochs for which other models are trained, from their beginning to their end, whose misses are tried too."""


@attribution
@dataclass(frozen=True)
class TRAK:
    """Treats the trained model as a regression on its gradients and reads off what each row contributes; more models see more clearly."""

    dimension: int = option(
        0,
        f"Places to which gradients are projected; 0: none is up to {EXACT:,} rows, {WIDE} beyond or in little memory",
        min=0,
        max=2**20,
        advanced=True,
    )
    models: int = option(1, "1: this model; more: as many trainings with other seeds, averaged", min=1, max=1000)
    rows: Literal["half", "all"] = option("half", "Of which rows each of several models is trained", advanced=True)
    damping: float = option(
        0.0, "Added to the kernel, in units of the mean squared gradient; 0: chosen by evidence", min=0.0, max=1e6, advanced=True
    )
    seed: int = option(0, "Of the projection, and of several models", min=0, max=2**31 - 1, advanced=True)

    calibrated: ClassVar[bool] = False
    version: ClassVar[int] = VERSION
    needs: ClassVar[str] = "The final weights; the recipe for several models."
    cost: ClassVar[str] = (
        "About three training epochs and a matrix of rows by rows (or of the dimension), kept for later questions; of several models "
        "so much each, their trainings and as many of a tenth of the epochs (ten models: eleven trainings' worth), and that matrix "
        "factored nine times."
    )

    def unavailable(self, trained: Trained) -> str:
        """Say why several models cannot be trained, or ""."""
        return no_recipe(trained, "TRAK with several models", "tracin") if self.models > 1 else ""

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q); in no unit of the question.

        Raises:
            BadInput: several models need a recipe, the rows have a single class, or a gradient is not finite.
        """
        reason = self.unavailable(trained)
        if reason:
            raise BadInput(reason)
        with threads(trained.recipe.threads if trained.recipe else torch.get_num_threads()):
            influence, misses = self._averaged(trained, trained_on(train, trained), question, report, workspace or Workspace())
        values = over_all(-influence * misses[:, None], train, trained)
        return Scores(values, train.ids, question.labels, "trak", self.calibrated)

    def _averaged(
        self, trained: Trained, train: Examples, question: Question, report: Report, workspace: Workspace
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what each row's margin moves (N, Q) and by how much it is missed (N,), means over the models."""
        n, loss = len(train), training_loss(trained, train)
        dimension = self._dimension(n, workspace.memory)
        members = [Member(dimension, self.seed, bound, train, loss) for bound in self._members(trained, train, "end", workspace, report)]
        damping, misses = self._chosen(members, trained, train, workspace, report)
        asked = Question((Pull.of([member.bound for member in members], question),), question.examples)
        moved = []
        for m, member in enumerate(members):
            make = partial(member.prepare, damping=damping, memory=workspace.memory, report=self._part(report, m, n))
            key = {"of": trained.digest, "rows": train.digest, "settings": self, "dimension": dimension, "member": m, "version": VERSION}
            folder = workspace.kept("trak", key, make)
            damping = float(np.load(folder / "damping.npy"))  # of the first model, for all
            moved.append(member.score(folder, asked))
            report(Event("score", (m + 1) * n, self.models * n, f"damping {damping:.3g}", {"damping": damping}))
        return np.mean(moved, 0), misses

    def _chosen(
        self, members: list[Member], trained: Trained, train: Examples, workspace: Workspace, report: Report
    ) -> tuple[float, np.ndarray]:
        """Return the damping, 0 if it is left to each model, and the misses (N,)."""
        ends = np.stack([member.regression.misses for member in members])
        if self.damping or self.rows == "all" or len(members) < FEWEST:
            return self.damping, ends.mean(0)
        early = [Member(0, self.seed, bound, train, members[0].loss) for bound in self._members(trained, train, "early", workspace, report)]
        misses = np.stack([ends, [member.regression.misses for member in early]])
        some = members[:MOST]

        def make(folder: Path) -> None:
            ridges = (member.ridge(folder, workspace.memory, self._part(report, m, len(train))) for m, member in enumerate(some))
            shown = self._shown(train)[: len(some)]
            real = np.stack([member.regression.values for member in some])
            np.save(folder / "agreement.npy", leave_one_model_out(ridges, shown, misses[:, : len(some)], real))
            (folder / PHI).unlink(missing_ok=True)

        key = {"of": trained.digest, "rows": train.digest, "settings": self, "dimension": some[0].dimension, "version": VERSION}
        found = np.load(workspace.kept("trak evidence", key, make) / "agreement.npy")
        if np.isnan(found).any():
            return 0.0, ends.mean(0)
        kind, best = np.unravel_index(found.argmax(), found.shape)
        return float(COARSE[best]), misses[kind].mean(0)

    def _dimension(self, n: int, memory: float) -> int:
        most = math.isqrt(int(memory * 2**20) // (8 * COPIES))
        return self.dimension or (0 if n <= min(EXACT, most) else min(WIDE, most))

    def _part(self, report: Report, m: int, n: int) -> Report:
        return part(report, "gradients", m * n, self.models * n, n)

    def _members(self, trained: Trained, train: Examples, when: str, workspace: Workspace, report: Report) -> list[Bound]:
        """Return the models: the trained one, or several with other seeds, half of the rows each; "early": short trainings."""
        recipe = trained.recipe
        if self.models == 1 or recipe is None:
            return [load(trained)]
        if when == "early":
            recipe = replace(recipe, epochs=max(1, round(EARLY * recipe.epochs)))

        def make(folder: Path) -> None:
            np.save(folder / "theta.npy", self._train(trained, recipe, train, report))

        key = {
            "of": trained.digest, "train": train.digest, "models": self.models, "rows": self.rows, "seed": self.seed,
            "epochs": recipe.epochs, "version": VERSION,
        }  # fmt: skip
        thetas = np.load(workspace.kept("ensemble", key, make) / "theta.npy")
        return [bound_at(trained.model, recipe, torch.from_numpy(theta)) for theta in thetas]

    def _shown(self, train: Examples) -> np.ndarray:
        """Return which rows each of several models is trained on, (M, N)."""
        draws = np.stack([uniform(self.seed, f"trak {m}", train.ids) for m in range(self.models)])
        return draws < 0.5 if self.rows == "half" else np.ones_like(draws, dtype=bool)

    def _train(self, trained: Trained, recipe: Recipe, train: Examples, report: Report) -> np.ndarray:
        weights = self._shown(train).astype(np.float64)
        parts = []
        for start in range(0, self.models, 16):
            some = slice(start, min(start + 16, self.models))
            seeds = [self.seed + 2_000_003 + m for m in range(some.start, some.stop)]
            heard = part(report, "retrain", some.start * len(train), self.models * len(train), len(seeds) * len(train))
            parts.append(train_many(trained.model, train, recipe, weights[some], seeds, trained.removed, heard).numpy())
        return np.concatenate(parts)
