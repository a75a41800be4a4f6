"""Look at data and model before an hour is spent on them: one table of checks, each with a verdict and a way to mend it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from influence.actions import _checks
from influence.actions.train import configured, dataset_of, default_model, vocabulary_of
from influence.store import Project
from influence.types import Event, Report, ignore

COLUMNS = ("protected", "audit", "drop", "id", "split", "test_share")


def check(
    project: Project,
    data: str,
    data_set: Mapping[str, Any] | None = None,
    target: str = "",
    eval: str = "",
    model: str = "",
    set: Mapping[str, Any] | None = None,
    seed: int = 0,
    name: str = "",
    report: Report = ignore,
    **columns: Any,
) -> dict[str, Any]:
    """Return what `train` with the same arguments would find, without training: nothing is kept.

    Returns `checks`: rows of {check, verdict, found, mend, code}; `costs`: seconds of a training, a walk and a check of fidelity, from a
    few batches that ran; `n`: rows by role; `notes`.

    Raises:
        BadInput: something given cannot be used.
    """
    began = time.perf_counter()
    report(Event("read", 0, 3, note="Reading the data"))
    usual = {"protected": [], "audit": [], "drop": [], "id": "", "split": "", "test_share": 0.2}
    dataset = dataset_of(data, data_set, target, eval, seed, name, {**usual, **columns})
    report(Event("check", 1, 3, note="Looking at rows and groups"))
    found = [*_checks.sizes(dataset), *_checks.suspected(dataset)]
    model = model or default_model(data, data_set)
    built, recipe = configured(dataset.train, model, {"seed": seed, **(set or {})}, vocabulary_of(dataset))
    report(Event("check", 2, 3, note="Timing a few batches"))
    price, costs = _checks.costs(built, dataset, recipe)
    report(Event("check", 3, 3))
    return {
        "checks": [*found, _checks.runs(built, dataset), price],
        "costs": costs,
        "n": {role: len(dataset.split(role)) for role in ("train", "evaluation", "holdout")},
        "notes": dataset.notes,
        "seconds": time.perf_counter() - began,
    }
