"""How good the model is overall, with 95 % intervals: Wilson for shares, Student's t for means, bootstrap for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from influence.errors import BadInput
from influence.evaluation._tables import DRAWS, of_mean, percentiles, row, row_losses, softmax, wilson
from influence.groups import FEWEST
from influence.registry import evaluation, option
from influence.types import Examples


@evaluation
@dataclass(frozen=True)
class Utility:
    """Accuracy, loss, balanced accuracy and (two classes) area under the ROC curve; or MAE, RMSE and R squared of a numeric target."""

    seed: int = option(0, "Seed of the bootstrap", min=0, max=2**31 - 1, advanced=True)

    def __call__(self, logits: np.ndarray, examples: Examples, reference: np.ndarray | None = None) -> pd.DataFrame:
        """Return the table for logits (M, C).

        Raises:
            BadInput: there are no rows.
        """
        if not len(examples):
            raise BadInput("There are no rows to measure on.")
        return pd.DataFrame(self._classes(logits, examples) if examples.classes else self._number(logits, examples))

    def _classes(self, logits: np.ndarray, examples: Examples) -> list[dict[str, Any]]:
        y, n = examples.y, len(examples)
        hit, losses = logits.argmax(1) == y, row_losses(logits, y, True)
        present = np.unique(y)
        recalls = np.array([hit[y == c].mean() for c in present])
        counts = np.array([(y == c).sum() for c in present])
        rng = np.random.default_rng(self.seed)
        draws = np.stack([rng.binomial(c, r, DRAWS) / c for c, r in zip(counts, recalls, strict=True)]).mean(0)
        balanced = percentiles(draws) if counts.min() >= FEWEST else (np.nan, np.nan)
        rows = [
            row("accuracy", "", hit.mean(), wilson(hit.sum(), n), n, "higher"),
            row("loss", "", losses.mean(), of_mean(losses), n, "lower"),
            row("balanced_accuracy", "", recalls.mean(), balanced, n, "higher"),
        ]
        if len(examples.classes) == 2 and len(present) == 2:
            rows.append(self._auc(softmax(logits)[:, 1], y, rng))
        return rows

    def _auc(self, p: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        """Area under the ROC curve with DeLong's variance (DeLong et al., Biometrics 1988)."""
        pos, neg = np.sort(p[y == 1]), np.sort(p[y == 0])
        area = float(roc_auc_score(y, p))
        above = (np.searchsorted(neg, pos, "left") + np.searchsorted(neg, pos, "right")) / 2 / len(neg)
        below = 1 - (np.searchsorted(pos, neg, "left") + np.searchsorted(pos, neg, "right")) / 2 / len(pos)
        if min(len(pos), len(neg)) < FEWEST:
            return row("auc", "", area, (np.nan, np.nan), len(y), "higher")
        half = 1.96 * np.sqrt(above.var(ddof=1) / len(pos) + below.var(ddof=1) / len(neg))
        return row("auc", "", area, (max(0.0, area - half), min(1.0, area + half)), len(y), "higher")

    def _number(self, logits: np.ndarray, examples: Examples) -> list[dict[str, Any]]:
        error = logits[:, 0].astype(np.float64) - examples.y
        y, n = examples.y.astype(np.float64), len(examples)
        rng = np.random.default_rng(self.seed)
        picks = rng.integers(0, n, (500, n)) if n * 500 <= 2e7 else rng.integers(0, n, (100, n))
        squared = error**2
        rmse = np.sqrt(squared[picks].mean(1))
        spread = y[picks].var(1)
        r2 = 1 - squared[picks].mean(1) / np.where(spread > 0, spread, np.nan)
        enough = n >= FEWEST
        return [
            row("mae", "", np.abs(error).mean(), of_mean(np.abs(error)), n, "lower"),
            row("rmse", "", np.sqrt(squared.mean()), percentiles(rmse) if enough else (np.nan, np.nan), n, "lower"),
            row("r2", "", 1 - squared.mean() / y.var(), percentiles(r2) if enough else (np.nan, np.nan), n, "higher"),
        ]
