"""TRAK: the model's last stretch as a regression on its own gradients, in which leaving a row out has a formula.

Park, Georgiev, Ilyas, Leclerc and Madry, TRAK: Attributing Model Behavior at Scale, arXiv:2303.14186, section 3. With f_i the margin
log(p / (1 - p)) of row i's right class (for numbers, the prediction itself), phi_i = grad f_i at the final weights, and Phi (N, P):

    s_i = - grad F . (Phi' Phi + damping)^-1 phi_i . (1 - p_i)

1 - p_i (for numbers, y_i - z_i) is what turns the margin's gradient into that of the loss, - (1 - p_i) phi_i = grad l_i: the formula is an
influence function with Phi' Phi for the Hessian, so it holds for every differentiable F, with no weight on the question's side. With
several models, both factors are averaged over the models before they are multiplied (equation 17 and algorithm 1 there).

- *Exact* (dimension 0): by (Phi' Phi + d)^-1 Phi' = Phi' (Phi Phi' + d)^-1 the products of rows with each other are enough; nothing is
  projected.
- *Damping* is chosen by leave-one-out: how well a ridge regression on phi predicts each row's label from the other rows (Allen 1974; a
  margin's label is 1). It sees training rows only. Compared in docs/decisions/006-damping-by-leave-one-out.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import scipy.linalg
import torch

from influence.attribution._shared import no_recipe, only_trained_on, training_loss
from influence.errors import BadInput
from influence.grads import Rows, gram, outputs, query_gradient, sweep
from influence.grads.projection import Projection
from influence.keyed import uniform
from influence.loop import Bound, tensors, threads
from influence.losses import HUBER_DELTA
from influence.registry import attribution, option
from influence.training import bound_at, load, train_many
from influence.types import Event, Examples, Question, Recipe, Report, Scores, Trained, ignore
from influence.workspace import Workspace

VERSION = 1
EXACT = 10_000
"""Rows up to which their products with each other are taken by default."""
WIDE = 4096
"""Dimension beyond that."""
GRID = 10.0 ** np.arange(-4, 2.25, 0.25)
"""Dampings tried, in units of the mean squared length of phi."""


@attribution
@dataclass(frozen=True)
class TRAK:
    """Treats the trained model as a regression on its gradients and reads off what each row contributes; more models see more clearly."""

    dimension: int = option(
        0, f"Places to which gradients are projected; 0: none is up to {EXACT:,} rows, {WIDE} beyond", min=0, max=2**20, advanced=True
    )
    models: int = option(1, "1: this model; more: as many trainings with other seeds, averaged", min=1, max=1000)
    rows: Literal["half", "all"] = option("half", "Of which rows each of several models is trained", advanced=True)
    damping: float = option(
        0.0, "Added to the kernel, in units of the mean squared gradient; 0: chosen by leave-one-out", min=0.0, max=1e6, advanced=True
    )
    seed: int = option(0, "Of the projection, and of several models", min=0, max=2**31 - 1, advanced=True)

    calibrated: ClassVar[bool] = False
    needs: ClassVar[str] = "The final weights; the recipe for several models."
    cost: ClassVar[str] = "About three training epochs and a matrix of rows by rows (or of the dimension), kept for later questions."

    def unavailable(self, trained: Trained) -> str:
        """Say why several models cannot be trained, or ""."""
        return no_recipe(trained, "TRAK with several models") if self.models > 1 else ""

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
            influence, misses = self._averaged(trained, train, question, report, workspace or Workspace())
        values = -influence * misses[:, None]
        return Scores(only_trained_on(values, train, trained), train.ids, question.labels, "trak", self.calibrated)

    def _averaged(
        self, trained: Trained, train: Examples, question: Question, report: Report, workspace: Workspace
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what each row's margin moves (N, Q) and by how much it is missed (N,), means over the models."""
        n, damping, moved, missed = len(train), self.damping, [], []
        for m, bound in enumerate(self._members(trained, train, workspace, report)):
            member = _Member(self._dimension(n), self.seed, bound, train, training_loss(trained, train))
            make = partial(member.prepare, damping=damping, memory=workspace.memory, report=self._part(report, m, n))
            key = {"of": trained.digest, "rows": train.digest, "settings": self, "member": m, "version": VERSION}
            folder = workspace.kept("trak", key, make)
            damping = float(np.load(folder / "damping.npy"))  # of the first model, for all
            moved.append(member.score(folder, question))
            missed.append(np.load(folder / "misses.npy"))
            report(Event("score", (m + 1) * n, self.models * n, f"damping {damping:.3g}", {"damping": damping}))
        return np.mean(moved, 0), np.mean(missed, 0)

    def _dimension(self, n: int) -> int:
        return self.dimension or (0 if n <= EXACT else WIDE)

    def _part(self, report: Report, m: int, n: int) -> Report:
        return lambda event: report(Event("gradients", m * n + n * event.done // event.total, self.models * n))

    def _members(self, trained: Trained, train: Examples, workspace: Workspace, report: Report) -> list[Bound]:
        """Return the models: the trained one, or several with other seeds, half of the rows each."""
        recipe = trained.recipe
        if self.models == 1 or recipe is None:
            return [load(trained)]

        def make(folder: Path) -> None:
            np.save(folder / "theta.npy", self._train(trained, recipe, train, report))

        key = {"of": trained.digest, "train": train.digest, "models": self.models, "rows": self.rows, "seed": self.seed, "version": VERSION}
        thetas = np.load(workspace.kept("ensemble", key, make) / "theta.npy")
        return [bound_at(trained.model, recipe, torch.from_numpy(theta)) for theta in thetas]

    def _train(self, trained: Trained, recipe: Recipe, train: Examples, report: Report) -> np.ndarray:
        draws = np.stack([uniform(self.seed, f"trak {m}", train.ids) for m in range(self.models)])
        weights = (draws < 0.5).astype(np.float64) if self.rows == "half" else np.ones_like(draws)
        parts = []
        for start in range(0, self.models, 16):
            some = slice(start, min(start + 16, self.models))
            seeds = [self.seed + 2_000_003 + m for m in range(some.start, some.stop)]

            def heard(event: Event, some: slice = some) -> None:
                done = some.start + (some.stop - some.start) * event.done / event.total
                report(Event("retrain", int(done * len(train)), self.models * len(train), event.note))

            parts.append(train_many(trained.model, train, recipe, weights[some], seeds, trained.removed, heard).numpy())
        return np.concatenate(parts)


@dataclass(frozen=True)
class _Member:
    """One model as a regression: dimension 0 keeps the factor of Phi Phi' + d, otherwise Phi and the factor of Phi' Phi + d."""

    dimension: int
    seed: int
    bound: Bound
    train: Examples
    loss: str

    @property
    def projection(self) -> Projection:
        """How gradients are projected."""
        return Projection(self.dimension, self.seed)

    def rows(self, slopes: torch.Tensor) -> Rows:
        """Return the training rows with the outputs f, whose derivatives by the model's outputs are `slopes` (N, C)."""
        x, _ = tensors(self.train, self.bound.dtype)
        return Rows(x, slopes, "linear")

    def prepare(self, folder: Path, damping: float, memory: float, report: Report) -> None:
        """Fill the folder: what does not depend on the question.

        Raises:
            BadInput: the gradients are zero or not finite.
        """
        slopes, misses, labels = regression(outputs(self.bound, self.train), self.train, self.loss)
        rows = self.rows(slopes.to(self.bound.flat.dtype))
        if self.dimension:
            phi, matrix = self._projected(folder, rows, memory, report)
        else:
            phi, matrix = None, gram(self.bound, rows, memory=memory / 4, report=report).astype(np.float64)
        unit = float(np.trace(matrix)) / len(self.train)
        if not np.isfinite(unit) or unit <= 0:
            raise BadInput("The rows' gradients are zero or not finite: the model has nothing to learn, or overflows. Train it anew.")
        found = damping or leave_one_out(matrix, unit, labels, phi)
        matrix[np.diag_indices(len(matrix))] += found * unit
        np.save(folder / "factor.npy", scipy.linalg.cholesky(matrix, lower=True, overwrite_a=True, check_finite=False))
        np.save(folder / "slopes.npy", slopes.numpy().astype(self._dtype))
        np.save(folder / "misses.npy", misses.numpy())
        np.save(folder / "damping.npy", np.float64(found))

    def _projected(self, folder: Path, rows: Rows, memory: float, report: Report) -> tuple[np.ndarray, np.ndarray]:
        """Write Phi (N, k) and return it with Phi' Phi (k, k)."""
        phi = np.lib.format.open_memmap(folder / "phi.npy", "w+", self._dtype, (len(rows), self.dimension))
        matrix = np.zeros((self.dimension, self.dimension))
        for cut, part in self.projection.of_rows(self.bound, rows, memory / 4, report):
            phi[cut] = part.cpu().numpy()
            matrix += (part.T @ part).double().cpu().numpy()
        return phi, matrix

    def score(self, folder: Path, question: Question) -> np.ndarray:
        """Return grad F (Phi' Phi + d)^-1 phi_i of every row, (N, Q)."""
        _, v = query_gradient(self.bound, question)
        factor = (np.load(folder / "factor.npy", mmap_mode="r"), True)
        if self.dimension:
            along = self.projection.of_vectors(self.bound, v).double().cpu().numpy()
            return np.load(folder / "phi.npy", mmap_mode="r") @ scipy.linalg.cho_solve(factor, along.T, check_finite=False)
        rows = self.rows(torch.from_numpy(np.load(folder / "slopes.npy")))
        along = sweep(self.bound, rows.x, rows.target, rows.loss, v).astype(np.float64)
        return scipy.linalg.cho_solve(factor, along, check_finite=False)

    @property
    def _dtype(self) -> Any:
        return np.float64 if self.bound.flat.dtype == torch.float64 else np.float32


def regression(logits: torch.Tensor, rows: Examples, loss: str) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Return the regression that the model does: df/d(outputs) (N, C), by how much f misses its target (N,), and labels in f's place (N,).

    Raises:
        BadInput: there is a single class.
    """
    z, y = logits.double().cpu(), torch.from_numpy(np.array(rows.y))
    if loss != "cross_entropy":
        far = HUBER_DELTA if loss == "huber" else float("inf")
        return torch.ones_like(z), (y - z[:, 0]).clamp(-far, far), np.asarray(rows.y, dtype=np.float64)
    if z.shape[1] < 2:
        raise BadInput("TRAK needs two classes or more; these rows have one.")
    own = torch.nn.functional.one_hot(y, z.shape[1]).bool()
    others = z.masked_fill(own, -torch.inf)
    margin = z[own] - others.logsumexp(1)
    return own.double() - others.softmax(1), torch.sigmoid(-margin), np.ones(len(y))


def leave_one_out(matrix: np.ndarray, unit: float, labels: np.ndarray, phi: np.ndarray | None = None) -> float:
    """Return the damping in `GRID` with which ridge regression best predicts each label from the other rows (PRESS; Allen, 1974).

    `matrix`: Phi Phi' (N, N), or Phi' Phi (k, k) with `phi` (N, k).
    """
    values, vectors = scipy.linalg.eigh(matrix, check_finite=False)
    kept = values > max(values[-1], 0) * len(matrix) * np.finfo(phi.dtype if phi is not None else np.float64).eps
    values, vectors = values[kept], vectors[:, kept]
    if phi is not None:
        vectors = (phi @ vectors) / np.sqrt(values)
    shrunk = values[:, None] / (values[:, None] + GRID * unit)
    fitted = vectors @ (shrunk * (vectors.T @ labels)[:, None])
    leverage = np.square(vectors) @ shrunk
    errors = np.square((labels[:, None] - fitted) / np.maximum(1 - leverage, 1e-12)).mean(0)
    return float(GRID[errors.argmin()])
