"""Ridge regression on rows' gradients, and its damping by evidence: what fits best the rows, or the models, that it was not shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg

from influence.errors import BadInput

GRID = 10.0 ** np.arange(-4, 2.25, 0.25)
"""Dampings tried by leave-one-out, in units of the mean squared length of phi."""
COARSE = 10.0 ** np.arange(-2, 2.5, 0.5)
"""Dampings tried by leave-one-model-out, each of which costs a factorisation per model."""
ROWS = 8192
"""Rows whose fit is looked at together: the turned gradients of a million would not fit into memory."""
FEWEST, MOST = 4, 16
"""Models from which on they can foretell each other, and how many of them are left out in turn at most."""
UNSEEN = 3
"""Models at least that were not shown a row, for their outputs on it to be compared."""


@dataclass(frozen=True)
class Ridge:
    """A regression with gradients phi (N, P) for features.

    `matrix`: Phi Phi' (N, N), or Phi' Phi (k, k) with `phi` (N, k). `n`: N.
    """

    matrix: np.ndarray
    n: int
    phi: np.ndarray | None = None

    @cached_property
    def unit(self) -> float:
        """Mean squared length of phi, the unit of dampings.

        Raises:
            BadInput: the gradients are zero or not finite.
        """
        unit = float(np.trace(self.matrix)) / self.n
        if not np.isfinite(unit) or unit <= 0:
            raise BadInput("The rows' gradients are zero or not finite: the model has nothing to learn, or overflows. Train it anew.")
        return unit

    def factor(self, damping: float) -> np.ndarray:
        """Return the lower Cholesky factor of the matrix + damping."""
        matrix = self.matrix.copy()
        matrix[np.diag_indices(len(matrix))] += damping * self.unit
        return np.asarray(scipy.linalg.cholesky(matrix, lower=True, overwrite_a=True, check_finite=False))

    def moved(self, towards: np.ndarray, damping: float) -> np.ndarray:
        """Return Phi (Phi' Phi + damping)^-1 Phi' towards, (N, M): how far weights of rows move the rows' outputs."""
        if self.phi is not None:
            return np.asarray(self.phi @ self._solved(self.phi.T @ towards, damping))
        return np.asarray(towards - damping * self.unit * self._solved(towards, damping))

    def _solved(self, towards: np.ndarray, damping: float) -> np.ndarray:
        return np.asarray(scipy.linalg.cho_solve((self.factor(damping), True), towards, check_finite=False))

    def leave_one_out(self, labels: np.ndarray) -> float:
        """Return the damping in `GRID` with which the regression best predicts each label from the other rows (PRESS; Allen, 1974)."""
        values, vectors = scipy.linalg.eigh(self.matrix, check_finite=False)
        exact = np.float64 if self.phi is None else self.phi.dtype
        kept = values > max(values[-1], 0) * len(self.matrix) * np.finfo(exact).eps
        values, vectors = values[kept], vectors[:, kept]
        shrunk = values[:, None] / (values[:, None] + GRID * self.unit)
        parts = [slice(at, at + ROWS) for at in range(0, self.n, ROWS)]

        def own(rows: slice) -> np.ndarray:
            return vectors[rows] if self.phi is None else (self.phi[rows] @ vectors) / np.sqrt(values)

        towards = np.sum([own(rows).T @ labels[rows] for rows in parts], axis=0)
        errors = np.zeros(len(GRID))
        for rows in parts:
            turned = own(rows)
            fitted, leverage = turned @ (shrunk * towards[:, None]), np.square(turned) @ shrunk
            errors += np.square((labels[rows, None] - fitted) / np.maximum(1 - leverage, 1e-12)).sum(0)
        return float(GRID[errors.argmin()])


def leave_one_model_out(ridges: Iterable[Ridge], shown: np.ndarray, misses: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Return how well models foretell each other, (K, G), for each kind of misses and each damping in `COARSE`; NaN: nothing to be said.

    Every model was trained on rows of its own. From the regressions and misses of the *others* follows what its rows make of an output, up
    to a constant. That is compared with its real outputs on training rows, each row by the models that were not shown it only, as a
    question's rows are: the correlation over those models, mean over rows.

    `ridges`: one per model. `shown`: which rows each model was trained on, (M, N). `misses`: by how much each misses each row, (K, M, N).
    `real`: its output there, (M, N).
    """
    kinds, m, n = misses.shape
    others = (misses.sum(1, keepdims=True) - misses) / (m - 1)
    towards = (others * shown).reshape(-1, n).T
    foretold = np.zeros((len(COARSE), kinds, m, n))
    for k, ridge in enumerate(ridges):
        for g, damping in enumerate(COARSE):
            by_it = ridge.moved(towards, damping).T.reshape(kinds, m, n)
            by_it[:, k] = 0  # no model foretells itself
            foretold[g] += by_it
    return np.array([[agreement(foretold[g, kind], real, ~shown) for g in range(len(COARSE))] for kind in range(kinds)])


def agreement(foretold: np.ndarray, real: np.ndarray, counted: np.ndarray) -> float:
    """Return the mean over rows of the correlation over models, (M, N) each, of those counted; NaN if no row has enough of them."""
    some = counted.sum(0) >= UNSEEN
    at = counted[:, some]
    a, b = (np.where(at, part[:, some], 0.0) for part in (foretold, real))
    a, b = (np.where(at, part - part.sum(0) / at.sum(0), 0.0) for part in (a, b))
    scale = np.sqrt(np.square(a).sum(0) * np.square(b).sum(0))
    found = (a * b).sum(0)[scale > 0] / scale[scale > 0]
    return float(found.mean()) if len(found) else float("nan")
