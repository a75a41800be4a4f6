"""What a model that was brought gets right, beside what is known of it and beside other settings that fit its weights as well."""

from __future__ import annotations

import numpy as np

from influence import grads, training
from influence.actions._checks import Check, checked
from influence.data.dataset import Dataset
from influence.errors import BadInput
from influence.evaluation._tables import wilson
from influence.exchange.matching import Match
from influence.loop import Bound
from influence.types import Examples, Trained

CLOSE = 0.005
"""By how much a stated accuracy may lie outside the 95 % interval of the one found: it was rounded."""
MEASURED, COSTLY = 2_000, 200
"""Test rows on which other settings are measured: of a table, and of images and texts."""
WHAT = "Right as often as known"


def refuse_accuracy(stated: float | None) -> None:
    """Refuse what is no share.

    Raises:
        BadInput: it lies outside 0 to 1.
    """
    if stated is None or 0 <= stated <= 1:
        return
    mend = f"For {stated:g} % give {stated / 100:g}" if 1 < stated <= 100 else "Give for example 0.84"
    raise BadInput(f"The known accuracy is a share from 0 to 1; got {stated:g}. {mend}.")


def accuracy(trained: Trained, match: Match, dataset: Dataset, stated: float | None, sure: bool) -> list[Check]:
    """Compare with what is known of the model; classes in another order are the usual reason where they differ.

    `sure`: nothing of the model was guessed, or its training was seen to end at its weights.
    """
    if not dataset.train.classes:
        return []
    parts, bound = [dataset.evaluation, dataset.holdout], training.load(trained)
    said = np.concatenate([grads.outputs(bound, part).argmax(1).numpy() for part in parts])
    y = np.concatenate([part.y for part in parts])
    found, most = float((said == y).mean()), float(np.bincount(y).max() / len(y))
    counts = np.zeros((dataset.train.outputs,) * 2, dtype=int)
    np.add.at(counts, (y, said), 1)
    best = counts.max(0).sum() / len(y)  # every answer read as the class that it most often stands for
    low, high = wilson(round(found * len(y)), len(y))
    told = f"{found:.1%} ({low:.1%} to {high:.1%}) of {len(y):,} test rows; always saying the most frequent class: {most:.1%}"
    if best > found + 0.1:
        mend = "Name the classes in the order of the model's outputs: recorder.save(classes=...), or save_data(classes=...)."
        return [checked("Classes in the model's order", "doubtful", f"{told}; in another order its answers would reach {best:.1%}.", mend)]
    others = {} if sure else _others(match, trained, dataset)
    own, n = others.pop(match.settings(), (found, len(y)))  # on the same rows as the others
    if others:
        of = f" on {n:,} of them" if n < len(y) else ""
        told += f"; with {', with '.join(f'{name} {share:.1%}' for name, (share, _) in others.items())}{of}"
    if stated is None:
        mend = "" if found > most else "It knows no more than the most frequent class: look whether the inputs are those it was trained on."
        say = "Say what it reached where it was trained (--accuracy)."
        return [checked(WHAT, "none" if found > most else "doubtful", f"{told}.", mend or say)]
    told += f"; stated was {stated:.1%}."
    return [_compared(told, low - CLOSE <= stated <= high + CLOSE, others, stated, abs(own - stated))]


def _compared(told: str, near: bool, others: dict[str, tuple[float, int]], stated: float, off: float) -> Check:
    """Return the check against a stated accuracy, which is `off` from the model's own; no other settings may explain it as well."""
    if not near:
        mend = "Look whether the inputs are prepared as there, and whether the test rows are the same."
        return checked(WHAT, "doubtful", told, _nearest(others, stated, off) or mend)
    fit = {name: (share, n) for name, (share, n) in others.items() if _fits(share, n, stated)}
    if not fit:
        return checked(WHAT, "good", told)
    mend = _nearest(fit, stated, off) or f"This does not tell it from {' or '.join(fit)}. Say which it was."
    return checked(WHAT, "doubtful", told, mend)


def _fits(share: float, n: int, stated: float) -> bool:
    low, high = wilson(round(share * n), n)
    return low - CLOSE <= stated <= high + CLOSE


def _nearest(others: dict[str, tuple[float, int]], stated: float, off: float) -> str:
    """Return a way to mend an accuracy that is farther off than that of other settings, or "" if none is nearer."""
    name, share = min(((name, share) for name, (share, _) in others.items()), key=lambda pair: abs(pair[1] - stated), default=("", 2.0))
    given = name.replace(", ", " --set ")
    return f"With {name} it is nearer to what was stated: --set {given} if it was." if abs(share - stated) < off else ""


def _others(match: Match, trained: Trained, dataset: Dataset) -> dict[str, tuple[float, int]]:
    """Return what the weights get right with the settings that they fit as well, its own first, and of how many test rows."""
    there = {match.names[here]: value for here, value in trained.final.load().items()}
    costly = len(dataset.train.shape) > 1 or getattr(match.model, "text", False)
    parts = [_few(part, COSTLY if costly else MEASURED) for part in (dataset.evaluation, dataset.holdout)]
    y, found = np.concatenate([part.y for part in parts]), {}
    for other in (match, *match.others):
        try:
            bound = Bound(other.model).load(other.renamed(there))
            said = np.concatenate([grads.outputs(bound, part).argmax(1).numpy() for part in parts])
        except (BadInput, RuntimeError):  # heads that do not divide the width, for one
            continue
        found[other.settings()] = (float((said == y).mean()), len(y))
    return found


def _few(part: Examples, most: int) -> Examples:
    n = min(len(part), most // 2)
    return part.take(np.linspace(0, len(part) - 1, n).astype(int))
