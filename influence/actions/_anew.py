"""A model trained anew: from other seeds on all its rows, and without some sets of rows; what tells how far to trust a prediction.

Both are kept once per model and shared by all that is predicted of it. The first say what chance alone does to any metric; the second how
far off predicted outputs are. The note `anew/<run>` names, for each kind, arrays of what the models say of the evaluation rows, (K, M, C).
No PyTorch at import.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from influence.actions import _pace
from influence.store import Project
from influence.types import Event, Report

if TYPE_CHECKING:
    from influence.actions._opened import Opened

Kind: TypeAlias = Literal["seeds", "without"]
KINDS: tuple[Kind, ...] = ("seeds", "without")
COUNT = 16
"""Models of each kind: the standard deviation over so many is known to within a fifth."""
SEED = 3_000_017
"""Model k is trained with seed SEED + k: none that oracles or reruns have, and far from those that people choose."""
SHARES = (0.001, 0.05)
"""Of the training rows, what the smallest and the largest set leaves out."""


def held(project: Project, run: str) -> int:
    """Return how many models are kept of the kind of which there are fewer."""
    return min(sum(n for _, n in _parts(project, run, kind)) for kind in KINDS)


def missing(project: Project, run: str, count: int = COUNT) -> int:
    """Return how many have to be trained so that there are `count` of each kind."""
    return sum(max(0, count - sum(n for _, n in _parts(project, run, kind))) for kind in KINDS)


def outputs(project: Project, run: str, kind: Kind) -> np.ndarray:
    """Return what the kept models of a kind say of the evaluation rows, (K, M, C)."""
    return np.concatenate([np.asarray(project.array(digest)) for digest, _ in _parts(project, run, kind)])


def _parts(project: Project, run: str, kind: Kind) -> list[tuple[str, int]]:
    """Return digest and number of models of each array, as many as are whole."""
    whole: list[tuple[str, int]] = []
    for digest, n in (project.noted(f"anew/{run}") or {}).get(kind, []):
        if project.objects.find(digest) is None:
            break
        whole.append((digest, n))
    return whole


def sets(it: Opened) -> np.ndarray:
    """Return the sets of rows left out, (COUNT, N) bool: by turns random, hardest, random of one label, hardest of one label.

    "Hardest": of the largest loss. The labels of a number are its lower and its upper half.
    """
    from influence.actions._retrained import random_sets

    loss, label = _loss(it), it.dataset.train.y if it.dataset.train.classes else (it.dataset.train.y > np.median(it.dataset.train.y))
    labels, n = np.unique(label[it.seen]), int(it.seen.sum())
    found = []
    for place, share in enumerate(np.geomspace(*SHARES, COUNT)):
        of_one = it.seen & (label == labels[place // 4 % len(labels)]) if place % 4 > 1 else it.seen
        size = min(max(2, round(share * n)), int(of_one.sum()), n // 2)
        if place % 2:
            row = np.zeros(len(it.seen), dtype=bool)
            row[np.argsort(np.where(of_one, -loss, np.inf), kind="stable")[:size]] = True
        else:
            row = random_sets(of_one, size, 1, SEED + place)[0]
        found.append(row)
    return np.stack(found)


def _loss(it: Opened) -> np.ndarray:
    from influence.evaluation._tables import row_losses

    train = it.dataset.train
    return row_losses(it.answers(train).numpy(), train.y, bool(train.classes))


def grow(it: Opened, report: Report, count: int = COUNT) -> int:
    """See that there are `count` models of each kind; return how many were trained just now.

    Raises:
        BadInput: the model cannot be trained again, or a training diverged.
    """
    total, left_out = missing(it.project, it.run.id, count), sets(it)
    while todo := missing(it.project, it.run.id, count):
        with it.workspace.alone("anew", it.run.id):
            if missing(it.project, it.run.id, count) == todo:  # no other process has added to them meanwhile
                _train(it, left_out, count, total - todo, total, report)
    return total


def _train(it: Opened, left_out: np.ndarray, count: int, done: int, total: int, report: Report) -> None:
    """Train the next few models, as many as go side by side, and add them."""
    from influence import grads
    from influence.actions._retrained import recipe_of
    from influence.loop import threads
    from influence.training import bound_at, together, train_many

    recipe, parts = recipe_of(it), {kind: _parts(it.project, it.run.id, kind) for kind in KINDS}
    kind = next(kind for kind in KINDS if sum(n for _, n in parts[kind]) < count)
    at, began = sum(n for _, n in parts[kind]), time.perf_counter()
    size = min(together(len(it.bound.flat)), count - at)
    stay = np.repeat(it.seen[None], size, 0) & ~(left_out[at : at + size] if kind == "without" else False)
    seeds = [SEED + at + k for k in range(size)] if kind == "seeds" else None

    def heard(event: Event) -> None:
        report(Event("seeds", int(done + size * event.done / max(1, event.total)), total, f"{total} real retrainings"))

    thetas = train_many(it.trained.model, it.dataset.train, recipe, stay.astype(np.float32), seeds, it.trained.removed, heard)
    with threads(recipe.threads):
        said = [grads.outputs(bound_at(it.trained.model, recipe, theta), it.dataset.evaluation).numpy() for theta in thetas]
    _pace.noted(it.project, it.run, size, time.perf_counter() - began)
    outputs, seconds = it.project.put_array(np.stack(said)), time.perf_counter() - began
    parts[kind].append((outputs, size))
    with it.project.transaction():
        it.project.note(f"anew/{it.run.id}", parts)
        it.project.record(
            "train_anew",
            inputs={"run": it.run.id, "dataset": it.run.dataset},
            settings={"kind": kind, "first": at, "models": size, "seed": SEED, "shares": list(SHARES)},
            outputs={"outputs": outputs},
            measures={},
            seconds=seconds,
        )
