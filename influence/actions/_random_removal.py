"""The model retrained without as many random rows: what removing any rows does, beside what removing these does."""

from __future__ import annotations

import time

import numpy as np

from influence.actions._opened import Opened
from influence.keyed import keys
from influence.registry import unlearning
from influence.store import Project
from influence.types import Report, Selection


def kept(project: Project, run: str, size: int) -> str | None:
    """Return the run of the model retrained without so many random rows, or None if there is none."""
    found: str | None = project.noted(_name(run, size))
    return found


def train(it: Opened, size: int, report: Report) -> str:
    """Train a model without `size` random rows of those that training saw, drawn by key (truth same), and return its run.

    Raises:
        BadInput: the model cannot be trained again.
    """
    from influence.actions._retrained import recipe_of
    from influence.actions._unlearned import kept_as_run  # it leads to reports, and these to comparisons

    recipe_of(it)
    began, seen = time.perf_counter(), it.dataset.train.ids[it.seen]
    ids = seen[np.argsort(keys(0, "random removal", seen), kind="stable")[:size]]
    selection = Selection(tuple(ids.tolist()), reason={"rule": f"{size:,} random rows", "dataset": it.run.dataset})
    method = unlearning.make("retrain")
    made = method(it.trained, it.dataset.train, selection, report=report)
    run, _ = kept_as_run(it.project, it, selection, made, method, time.perf_counter() - began, {"yardstick": True, "random": True})
    it.project.note(_name(it.run.id, size), run)
    return run


def _name(run: str, size: int) -> str:
    return f"retrained_random/{run}/{size}"
