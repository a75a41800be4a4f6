"""How good the model is overall, with 95 % intervals in closed form.

Accuracy: Wilson. Balanced accuracy: the classes' Wilson limits, squared and added (Newcombe 1998). Means: Student's t. Area under the ROC
curve: the variance of DeLong et al. (Biometrics 1988) on the scale of log-odds. RMSE and R squared: the delta method on the scale of logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit, logit

from influence.evaluation._tables import NONE, Interval, Z, log_odds, of_mean, refuse_unfit, row, row_losses, wilson, wilson_limits
from influence.groups import FEWEST
from influence.registry import evaluation
from influence.types import Examples


@evaluation
@dataclass(frozen=True)
class Utility:
    """Accuracy, loss, balanced accuracy and (two classes) area under the ROC curve; or MAE, RMSE and R squared of a numeric target."""

    def __call__(self, logits: np.ndarray, examples: Examples, reference: np.ndarray | None = None) -> pd.DataFrame:
        """Return the table for logits (M, C).

        Raises:
            BadInput: there are no rows, or outputs that do not fit them.
        """
        refuse_unfit(logits, examples)
        return pd.DataFrame(_classes(logits, examples) if examples.classes else _number(logits, examples))


def _classes(logits: np.ndarray, examples: Examples) -> list[dict[str, Any]]:
    y, n = examples.y, len(examples)
    hit, losses = logits.argmax(1) == y, row_losses(logits, y, True)
    counts = np.bincount(y, minlength=len(examples.classes))
    present = counts > 0
    hits, counts = np.bincount(y[hit], minlength=len(present))[present], counts[present]
    rows = [
        row("accuracy", "", hit.mean(), wilson(hit.sum(), n), n, "higher"),
        row("loss", "", losses.mean(), of_mean(losses, 0.0), n, "lower"),
        row("balanced_accuracy", "", (hits / counts).mean(), _balanced(hits, counts), n, "higher"),
    ]
    if len(examples.classes) == 2 and present.all():
        odds = log_odds(logits, 1)
        rows.append(row("auc", "", *area(odds[y == 1], odds[y == 0]), n, "higher"))
    return rows


def _balanced(hits: np.ndarray, counts: np.ndarray) -> Interval:
    """Return the interval of the mean of the classes' rates; NaN if a class has fewer than ten rows."""
    if counts.min() < FEWEST:
        return NONE
    rates, (low, high) = hits / counts, wilson_limits(hits, counts)
    below, above = (np.sqrt((part**2).sum()) / len(rates) for part in (rates - low, high - rates))
    return float(rates.mean() - below), float(rates.mean() + above)


def area(positive: np.ndarray, negative: np.ndarray) -> tuple[float, Interval]:
    """Return the chance that a positive row scores above a negative one (ties count half), and its 95 % interval.

    Args:
        positive: scores of the positive rows.
        negative: scores of the negative rows.
    """
    above = beaten(positive, negative)
    found = float(above.mean())
    least = min(len(positive), len(negative))
    if least < FEWEST:
        return found, NONE
    error = np.sqrt(above.var(ddof=1) / len(positive) + beaten(negative, positive).var(ddof=1) / len(negative))
    if min(found, 1 - found) < 1e-12:  # no spread is left to estimate from: as if the rarer class gave one answer per row
        return found, wilson(round(found) * least, least)
    half = Z * error / (found * (1 - found))
    return found, (float(expit(logit(found) - half)), float(expit(logit(found) + half)))


def beaten(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the share of the others that each score exceeds, ties counting half."""
    ordered = np.sort(others)
    return (np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")) / (2 * len(others))


def _number(logits: np.ndarray, examples: Examples) -> list[dict[str, Any]]:
    y, n = examples.y.astype(np.float64), len(examples)
    error = logits[:, 0].astype(np.float64) - y
    squares, around = error**2, (y - y.mean()) ** 2
    mse, variance = squares.mean(), around.mean()
    r2 = 1 - mse / variance if variance > 0 else np.nan
    return [
        row("mae", "", np.abs(error).mean(), of_mean(np.abs(error), 0.0), n, "lower"),
        row("rmse", "", np.sqrt(mse), _rmse(squares), n, "lower"),
        row("r2", "", r2, _r2(squares, around), n, "higher"),
    ]


def _rmse(squares: np.ndarray) -> Interval:
    mse, n = squares.mean(), len(squares)
    if n < FEWEST or mse == 0:
        return (0.0, 0.0) if n >= FEWEST else NONE
    half = _half(squares / mse) / 2
    return float(np.sqrt(mse) * np.exp(-half)), float(np.sqrt(mse) * np.exp(half))


def _r2(squares: np.ndarray, around: np.ndarray) -> Interval:
    mse, variance = squares.mean(), around.mean()
    if len(squares) < FEWEST or variance == 0:
        return NONE
    half = _half(squares / mse - around / variance) if mse > 0 else 0.0
    return float(1 - mse / variance * np.exp(half)), float(1 - mse / variance * np.exp(-half))


def _half(influence: np.ndarray) -> float:
    """Return half the width of the interval of a log whose value moves by `influence` (n,) / n with each row."""
    return float(stats.t.ppf(0.975, len(influence) - 1) * influence.std(ddof=1) / np.sqrt(len(influence)))
