"""What changed from one model to another on the same rows, with 95 % intervals of the change itself.

Both models are measured on the same rows, so what the rows add by chance they add to both, and most of it cancels: an interval of the
change is made from the differences row by row, not from the two models' own intervals. Rates: matched pairs (Agresti and Min, Statistics in
Medicine 2005); means: Student's t of the differences; area under the ROC curve: DeLong et al. (Biometrics 1988), paired; RMSE and R
squared: the delta method. Rows of different groups are different rows, so the limits of groups are squared and added (Newcombe 1998).

A gap is followed between the two groups that are furthest apart under the first model, and the worst group is the one that is worst there:
else what is said to change would be another thing for each model. Whichever looks largest by chance tends to look smaller next time. So the
limits of a gap hold for the changes of all pairs at once (Tukey, Kramer), those of the worst group for all groups (Sidak).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit

from influence.evaluation._groups import Estimates, critical, means
from influence.evaluation._tables import NONE, Interval, Z, log_odds, of_mean, refuse_unfit, row_losses
from influence.evaluation.fairness import GAPS, by_group
from influence.evaluation.utility import beaten
from influence.groups import FEWEST, Groups, place_of
from influence.types import Examples

MINUS = "\N{MINUS SIGN}"
COLUMNS = ("metric", "group", "pair", "before", "change", "low", "high", "n")


def overall(before: np.ndarray, after: np.ndarray, examples: Examples) -> pd.DataFrame:
    """Return the changes of what `utility` measures, from two models' logits (M, C) on the same rows.

    Columns: metric, group and pair (""), before, change (after minus before), low, high, n.

    Raises:
        BadInput: there are no rows, or outputs that do not fit them.
    """
    refuse_unfit(before, examples, after)
    found = _classes(before, after, examples) if examples.classes else _number(before, after, examples)
    n = len(examples)
    return pd.DataFrame([(metric, "", "", was, change, *limits, n) for metric, was, change, limits in found], columns=COLUMNS)


def by_groups(before: np.ndarray, after: np.ndarray, examples: Examples, groups: Groups, positive: str = "") -> pd.DataFrame:
    """Return the changes of what `fairness` measures: of each group, of each gap between its `pair` (A - B), and of the worst group.

    Columns as of `overall`; `n` of a gap: the rows of its pair. `before` of a gap is not negative, and `before` + `change` is where the
    same two groups' gap went.

    Raises:
        BadInput: there are no rows or outputs that fit them, or no such class.
    """
    refuse_unfit(before, examples, after)
    was, moved = by_group(before, examples, groups, positive), _moved(before, after, examples, groups, positive)
    losses = "loss" if examples.classes else "mae"
    found: list[tuple[Any, ...]] = []
    for metric, change in moved.items():
        first = zip(groups.names, was[metric].values, change.values, change.intervals(), change.counts, strict=True)
        found += [(metric, name, "", old, new, *limits, int(n)) for name, old, new, limits, n in first if n]
    gaps = {**(GAPS if examples.classes else {}), "group_loss_gap": (losses,)}
    found += [_gap(name, of, groups, was, moved) for name, of in gaps.items()]
    found.append(_worst(groups, was[losses], moved[losses]))
    return pd.DataFrame(found, columns=COLUMNS)


def by_classes(before: np.ndarray, after: np.ndarray, examples: Examples) -> pd.DataFrame:
    """Return the changes of each class's recall, the share of its rows that are found: columns as of `overall`, the class for a group."""
    refuse_unfit(before, examples, after)
    old, new = (out.argmax(1) == examples.y for out in (before, after))
    change = matched(old, new, examples.y, len(examples.classes))
    was = np.bincount(examples.y[old], minlength=len(examples.classes)) / np.maximum(change.counts, 1)
    rows = zip(examples.classes, was, change.values, change.intervals(), change.counts, strict=True)
    return pd.DataFrame([("recall", c, "", first, moved, *limits, int(n)) for c, first, moved, limits, n in rows if n], columns=COLUMNS)


def of_pair(
    before: np.ndarray, after: np.ndarray, examples: Examples, groups: Groups, gap: str, pair: tuple[str, str], positive: str = ""
) -> tuple[float, Interval, int]:
    """Return the change of a signed gap between two given groups, the first minus the second, its 95 % limits and the rows it rests on.

    The pair is told beforehand, so its limits allow for no choice among pairs; NaN where a group has fewer than ten rows of the kind.

    Raises:
        BadInput: there are no rows or outputs that fit them, or no such class.
    """
    refuse_unfit(before, examples, after)
    metric = GAPS[gap][0] if gap in GAPS else "loss" if examples.classes else "mae"
    moved, at = _moved(before, after, examples, groups, positive)[metric], [groups.names.index(name) for name in pair]
    change, limits = difference(moved, at[0], at[1])
    counts = moved.counts[at]
    return change, limits if counts.min() >= FEWEST else NONE, int(counts.sum())


def matched(before: np.ndarray, after: np.ndarray, code: np.ndarray, groups: int) -> Estimates:
    """Return the changes of groups' rates, from whether each row is a hit before and after, (M,) bool; `code` (M,) is its group.

    The limits are Wald's with half a row more in each of the four cells (Agresti and Min 2005): they do not shrink to nothing where no
    row, or every row, changes.
    """
    counts = np.bincount(code, minlength=groups)
    gained, lost = (np.bincount(code[which], minlength=groups) for which in (~before & after, before & ~after))
    values = np.divide(gained - lost, counts, out=np.full(groups, np.nan), where=counts > 0)
    n, up, down = counts + 2.0, gained + 0.5, lost + 0.5
    middle, error = (up - down) / n, np.sqrt(np.maximum(up + down - (up - down) ** 2 / n, 0.0)) / n
    return Estimates(values, counts, lambda z: (np.maximum(middle - z * error, -1.0), np.minimum(middle + z * error, 1.0)))


def _classes(before: np.ndarray, after: np.ndarray, examples: Examples) -> list[tuple[str, float, float, Interval]]:
    y, k = examples.y, len(examples.classes)
    old, new = (out.argmax(1) == y for out in (before, after))
    whole = matched(old, new, np.zeros(len(y), dtype=np.int64), 1)
    loss = [row_losses(out, y, True) for out in (before, after)]
    each = matched(old, new, y, k)
    there = each.counts > 0
    balanced = np.bincount(y[old], minlength=k)[there] / each.counts[there]
    found = [
        ("accuracy", old.mean(), whole.values[0], whole.intervals()[0]),
        ("loss", loss[0].mean(), (loss[1] - loss[0]).mean(), of_mean(loss[1] - loss[0])),
        ("balanced_accuracy", balanced.mean(), each.values[there].mean(), _mean(each, there)),
    ]
    if k == 2 and there.all():
        found.append(("auc", *_area(log_odds(before, 1), log_odds(after, 1), y)))
    return found


def _mean(each: Estimates, there: np.ndarray) -> Interval:
    """Return the interval of the mean of groups' changes; NaN if a group has fewer than ten rows."""
    if each.counts[there].min() < FEWEST:
        return NONE
    values, (low, high) = each.values[there], (limit[there] for limit in each.limits(Z))
    below, above = (float(np.sqrt((part**2).sum()) / len(values)) for part in (values - low, high - values))
    return float(values.mean() - below), float(values.mean() + above)


def _area(old: np.ndarray, new: np.ndarray, y: np.ndarray) -> tuple[float, float, Interval]:
    """Return the area under the ROC curve before, its change and the interval, from scores (M,) of the rows with y = 1."""
    above, below = ([beaten(s[y == own], s[y != own]) for s in (old, new)] for own in (1, 0))
    was, change = float(above[0].mean()), float(above[1].mean() - above[0].mean())
    up, down = above[1] - above[0], below[1] - below[0]
    if min(len(up), len(down)) < FEWEST:
        return was, change, NONE
    half = Z * float(np.sqrt(up.var(ddof=1) / len(up) + down.var(ddof=1) / len(down)))
    return was, change, (change - half, change + half)


def _number(before: np.ndarray, after: np.ndarray, examples: Examples) -> list[tuple[str, float, float, Interval]]:
    y = examples.y.astype(np.float64)
    errors = [np.abs(out[:, 0].astype(np.float64) - y) for out in (before, after)]
    squares, around = [error**2 for error in errors], (y - y.mean()) ** 2
    mse, variance = [float(s.mean()) for s in squares], float(around.mean())
    size = [float(np.sqrt(m)) for m in mse]
    by_size = [(s - m) / (2 * r) if r else s * 0 for s, m, r in zip(squares, mse, size, strict=True)]
    by_share = [around * m / variance**2 - s / variance if variance else s * np.nan for s, m in zip(squares, mse, strict=True)]
    r2 = [1 - m / variance if variance else np.nan for m in mse]
    change = size[1] - size[0], r2[1] - r2[0]
    return [
        ("mae", float(errors[0].mean()), float((errors[1] - errors[0]).mean()), of_mean(errors[1] - errors[0])),
        ("rmse", size[0], change[0], _about(change[0], by_size[1] - by_size[0])),
        ("r2", r2[0], change[1], _about(change[1], by_share[1] - by_share[0])),
    ]


def _about(change: float, influence: np.ndarray) -> Interval:
    """Return the interval of a change that moves by `influence` (n,) / n with each row."""
    n = len(influence)
    if n < FEWEST or not np.isfinite(change):
        return NONE
    half = float(stats.t.ppf(0.975, n - 1) * influence.std(ddof=1) / np.sqrt(n))
    return change - half, change + half


def _moved(before: np.ndarray, after: np.ndarray, examples: Examples, groups: Groups, positive: str) -> dict[str, Estimates]:
    """Return the changes of every group's measures, by metric, as `by_group` has their values."""
    code, count, classes = groups.code, len(groups.names), bool(examples.classes)
    losses = means(row_losses(after, examples.y, classes) - row_losses(before, examples.y, classes), code, count)
    if not classes:
        return {"mae": losses}
    own = place_of(positive, examples)
    old, new = (out.argmax(1) for out in (before, after))
    real = examples.y == own
    chance = expit(log_odds(after, own)) - expit(log_odds(before, own))

    def rate(was: np.ndarray, now: np.ndarray, among: np.ndarray | None = None) -> Estimates:
        kept = slice(None) if among is None else among
        return matched(was[kept], now[kept], code[kept], count)

    return {
        "selection_rate": rate(old == own, new == own),
        "true_positive_rate": rate(old == own, new == own, real),
        "false_positive_rate": rate(old == own, new == own, ~real),
        "false_negative_rate": rate(old != own, new != own, real),
        "accuracy": rate(old == examples.y, new == examples.y),
        "calibration": means(chance, code, count),  # the observed rate is the same for both
        "loss": losses,
    }


def _gap(name: str, of: Sequence[str], groups: Groups, was: dict[str, Estimates], moved: dict[str, Estimates]) -> tuple[Any, ...]:
    """Return the change of a gap between the two groups, and in the measure, where it is largest before."""
    places = [np.flatnonzero(was[metric].counts >= FEWEST) for metric in of]
    if any(len(there) < 2 for there in places):
        return name, "", "", np.nan, np.nan, *NONE, 0
    ranked = [there[was[metric].values[there].argsort(kind="stable")] for metric, there in zip(of, places, strict=True)]
    apart = [float(was[metric].values[order[-1]] - was[metric].values[order[0]]) for metric, order in zip(of, ranked, strict=True)]
    at = int(np.argmax(apart))
    top, bottom = ranked[at][-1], ranked[at][0]
    change, limits = difference(moved[of[at]], top, bottom, critical(len(ranked[at]), len(of)))
    n = int(was[of[at]].counts[[top, bottom]].sum())
    pair = f"{groups.names[top]} {MINUS} {groups.names[bottom]}" + (f", {of[at].replace('_', ' ')}" if len(of) > 1 else "")
    return name, "", pair, apart[at], change, *limits, n


def difference(of: Estimates, first: int, second: int, z: float = Z) -> tuple[float, Interval]:
    """Return one group's estimate minus another's, and its limits at the critical value z (default: those of 95 %)."""
    value, (low, high) = of.values, of.limits(z)
    found = float(value[first] - value[second])
    below = np.hypot(value[first] - low[first], high[second] - value[second])
    above = np.hypot(high[first] - value[first], value[second] - low[second])
    return found, (found - float(below), found + float(above))


def _worst(groups: Groups, was: Estimates, moved: Estimates) -> tuple[Any, ...]:
    """Return the change of the group whose loss is the largest before."""
    there = was.counts >= FEWEST
    if not there.any():
        return "worst_group_loss", "", "", np.nan, np.nan, *NONE, 0
    at = int(np.where(there, was.values, -np.inf).argmax())
    low, high = moved.limits(float(stats.norm.isf((1 - 0.95 ** (1 / there.sum())) / 2)))
    return "worst_group_loss", "", groups.names[at], was.values[at], moved.values[at], low[at], high[at], int(was.counts[at])
