"""What models say of removed, retained and unseen rows: one of them is judged, the others were trained without the removed rows.

Every measure treats the models of a pool alike, the judged one and the oracles. If it was trained like them, its place among them is
uniform, so that a share f of such models is called different at level f, whatever the measure and however few the oracles
(a permutation test: Hemerik and Goeman, arXiv:1411.7565, theorem 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from influence.types import Examples

Rows = Literal["forget", "retained", "unseen"]
PARTS: tuple[Rows, ...] = ("forget", "retained", "unseen")


@dataclass(frozen=True)
class Pool:
    """Outputs (J, M, C) of J models on each part's rows, the judged one first, and the rows. `retained` and `unseen` may be samples."""

    outputs: Mapping[Rows, np.ndarray]
    rows: Mapping[Rows, Examples]

    @property
    def classes(self) -> bool:
        """Whether the target is classes, not a number."""
        return bool(self.rows["forget"].classes)

    def margins(self, part: Rows) -> np.ndarray:
        """Return each model's margin of each row, log p_y - log(1 - p_y), (J, M); of a numeric target minus the squared error."""
        out, y = self.outputs[part].astype(np.float64), np.asarray(self.rows[part].y)
        if not self.classes:
            return -np.square(out[:, :, 0] - y)
        own = np.take_along_axis(out, y[None, :, None], 2)[:, :, 0]
        others = out.copy()
        np.put_along_axis(others, np.broadcast_to(y[None, :, None], (*out.shape[:2], 1)), -np.inf, 2)
        return own - _logsumexp(others)

    def log_chances(self, part: Rows) -> np.ndarray:
        """Return log p_y of each model and row, (J, M); of a numeric target, but for a constant, of a normal distribution.

        Its variance is that of errors on the retained rows, the same for all models, so that the unit of the target makes no difference.
        """
        if self.classes:
            return -np.logaddexp(0.0, -self.margins(part))
        variance = float(np.median(-self.margins("retained").mean(1)))
        return self.margins(part) / 2 / (variance or 1.0)

    def chances(self, part: Rows) -> np.ndarray:
        """Return class probabilities, (J, M, C)."""
        out = self.outputs[part].astype(np.float64)
        return np.asarray(np.exp(out - _logsumexp(out)[..., None]))

    def scores(self, part: Rows) -> np.ndarray:
        """Return each model's accuracy, (J,); of a numeric target 1 - mean squared error / variance of the retained rows' targets."""
        y = np.asarray(self.rows[part].y)
        if self.classes:
            return np.asarray((self.outputs[part].argmax(2) == y).mean(1))
        return np.asarray(1 + self.margins(part).mean(1) / max(float(np.var(self.rows["retained"].y)), 1e-12))


def _logsumexp(values: np.ndarray) -> np.ndarray:
    top = values.max(-1, keepdims=True)
    return np.asarray((top + np.log(np.exp(values - top).sum(-1, keepdims=True)))[..., 0])


def standing(values: np.ndarray) -> np.ndarray:
    """Return by how many of their standard deviations each model's value lies from the other models' mean, for (J, ...)."""
    j = len(values)
    total, squares = values.sum(0), np.square(values - values.mean(0)).sum(0)
    mean = (total - values) / (j - 1)
    # Of the others: the sum of squares about the mean of all, less what this one adds to it.
    left = squares - np.square(values - values.mean(0)) * j / (j - 1)
    sd = np.sqrt(np.maximum(left, 0.0) / max(1, j - 2))
    floor = 1e-9 * np.maximum(np.abs(mean), 1e-12)
    return np.asarray((values - mean) / np.maximum(sd, floor))
