"""One trained model as a regression on its own gradients (for TRAK), and a question put to several models at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import scipy.linalg
import torch

from influence.attribution._ridge import Ridge
from influence.errors import BadInput
from influence.grads import Rows, by_logits, gram, outputs, query_gradient, sweep
from influence.grads.projection import Projection
from influence.loop import Bound, tensors
from influence.losses import HUBER_DELTA
from influence.types import Examples, Question, Report

PHI = "phi.npy"


@dataclass(frozen=True)
class Pull:
    """A question's derivatives by the outputs, mean over models, as a question of its own: their product with the outputs."""

    outward: torch.Tensor
    labels: tuple[str, ...]
    better: ClassVar[Literal["lower", "higher", "neither"]] = "neither"

    @property
    def measured_label(self) -> str:
        """Nobody reads it."""
        return ""

    @classmethod
    def of(cls, models: list[Bound], question: Question) -> Pull:
        """Ask the models."""
        total = sum((by_logits(bound, question)[2] for bound in models[1:]), by_logits(models[0], question)[2])
        return cls(total / len(models), question.labels)

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Pull:
        """Nothing depends on the model."""
        return self

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Return the products, (Q,)."""
        return self.outward.flatten(1) @ logits.flatten()

    measured = value


@dataclass(frozen=True)
class Member:
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

    @cached_property
    def regression(self) -> Regression:
        """What the model regresses."""
        return regression(outputs(self.bound, self.train), self.train, self.loss)

    @property
    def rows(self) -> Rows:
        """The training rows with the outputs f."""
        x, _ = tensors(self.train, self.bound.dtype)
        return Rows(x, self.regression.slopes.to(self.bound.flat.dtype), "linear")

    def ridge(self, folder: Path, memory: float, report: Report) -> Ridge:
        """Return the ridge regression on the gradients; where they are projected, they lie in the folder."""
        if not self.dimension:
            return Ridge(gram(self.bound, self.rows, memory=memory / 4, report=report).astype(np.float64), len(self.train))
        kind = str(self.bound.flat.dtype).removeprefix("torch.")
        phi = np.lib.format.open_memmap(folder / PHI, "w+", kind, (len(self.train), self.dimension))
        matrix = np.zeros((self.dimension, self.dimension))
        for cut, part in self.projection.of_rows(self.bound, self.rows, memory / 4, report):
            phi[cut] = part.cpu().numpy()
            matrix += (part.T @ part).double().cpu().numpy()
        return Ridge(matrix, len(self.train), phi)

    def prepare(self, folder: Path, damping: float, memory: float, report: Report) -> None:
        """Fill the folder: what does not depend on the question.

        Raises:
            BadInput: the gradients are zero or not finite.
        """
        ridge = self.ridge(folder, memory, report)
        found = damping or ridge.leave_one_out(self.regression.labels)
        np.save(folder / "factor.npy", ridge.factor(found))
        np.save(folder / "damping.npy", np.float64(found))

    def score(self, folder: Path, question: Question) -> np.ndarray:
        """Return grad F (Phi' Phi + d)^-1 phi_i of every row, (N, Q)."""
        _, v = query_gradient(self.bound, question)
        factor = (np.load(folder / "factor.npy", mmap_mode="r"), True)
        if self.dimension:
            along = self.projection.of_vectors(self.bound, v).double().cpu().numpy()
            return np.load(folder / PHI, mmap_mode="r") @ scipy.linalg.cho_solve(factor, along.T, check_finite=False)
        rows = self.rows
        along = sweep(self.bound, rows.x, rows.target, rows.loss, v).astype(np.float64)
        return scipy.linalg.cho_solve(factor, along, check_finite=False)


class Regression(NamedTuple):
    """The regression that a model does: its values f (N,), df/d(outputs) (N, C), by how much f misses its target and labels for f (N,)."""

    values: np.ndarray
    slopes: torch.Tensor
    misses: np.ndarray
    labels: np.ndarray


def regression(logits: torch.Tensor, rows: Examples, loss: str) -> Regression:
    """Return the regression that a model with these outputs does.

    Raises:
        BadInput: there is a single class.
    """
    z, y = logits.double().cpu(), torch.from_numpy(np.array(rows.y))
    if loss != "cross_entropy":
        far = HUBER_DELTA if loss == "huber" else float("inf")
        missed = (y - z[:, 0]).clamp(-far, far).numpy()
        return Regression(z[:, 0].numpy(), torch.ones_like(z), missed, np.asarray(rows.y, dtype=np.float64))
    if z.shape[1] < 2:
        raise BadInput("TRAK needs two classes or more; these rows have one.")
    own = torch.nn.functional.one_hot(y, z.shape[1]).bool()
    others = z.masked_fill(own, -torch.inf)
    margin = z[own] - others.logsumexp(1)
    return Regression(margin.numpy(), own.double() - others.softmax(1), torch.sigmoid(-margin).numpy(), np.ones(len(y)))
