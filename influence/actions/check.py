"""Look at data and model before an hour is spent on them: one table of checks, each with a verdict and a way to mend it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from influence.actions import _checks
from influence.actions.train import configured, dataset_of, default_model, vocabulary_of
from influence.data.dataset import ROLES
from influence.data.sizes import sizes
from influence.data.stated import read_encoding, refuse_unused
from influence.store import Project
from influence.types import Event, Report, ignore

STEPS = 3


def check(
    project: Project,
    data: str,
    target: str = "",
    protected: Sequence[str] = (),
    audit: Sequence[str] = (),
    drop: Sequence[str] = (),
    id: str = "",
    eval: str = "",
    split: str = "",
    model: str = "",
    set: Mapping[str, Any] | None = None,
    data_set: Mapping[str, Any] | None = None,
    seed: int = 0,
    test_share: float = 0.2,
    preprocessing: str = "",
    name: str = "",
    kinds: Mapping[str, str] | None = None,
    sheet: str = "",
    sql: str = "",
    positive: str = "",
    report: Report = ignore,
) -> dict[str, Any]:
    """Return what `train` with the same arguments would find, without training: nothing is kept.

    Returns `checks`: rows of {check, verdict, found, mend, code, leak} (`actions/_checks.py`); `sizes` (`columns` and `data`): a row per
    class and group with its rows of each role; `costs`: seconds of a training (`train`), a walk of the metagradient (`walk`) and a check of
    fidelity (`check`), from a few batches that ran, with the model's `parameters` and the `mib` of its recorded training; `n`: rows by
    role; `notes`; `seconds`.

    Raises:
        BadInput: something given cannot be used.
    """
    began = time.perf_counter()
    report(Event("read", 0, 1, note="Reading the data"))
    names = {"protected": list(protected), "audit": list(audit), "drop": list(drop)}
    columns: dict[str, Any] = {**names, "id": id, "split": split, "test_share": test_share, "kinds": dict(kinds or {})}
    encoding = read_encoding(preprocessing) if preprocessing else None
    dataset = dataset_of(
        data, data_set, target, eval, seed, name, columns, project.path / "work", report, encoding, {"sheet": sheet, "query": sql}
    ).favouring(positive)
    refuse_unused(preprocessing, dataset.encoding)
    model = model or default_model(data, data_set)
    built, recipe = configured(dataset.train, model, {"seed": seed, **(set or {})}, vocabulary_of(dataset))
    report(Event("check", 0, STEPS, note="Looking at classes and groups"))
    found = [*_checks.sizes(dataset), *_checks.divided(dataset), _checks.runs(built, dataset)]
    report(Event("check", 1, STEPS, note="Looking for leaks and copies"))
    found += _checks.suspected(dataset)
    report(Event("check", 2, STEPS, note="Timing a few batches"))
    price, costs = _checks.costs(built, dataset, recipe)
    report(Event("check", STEPS, STEPS))
    return {
        "checks": [*found, price],
        "sizes": json.loads(sizes(dataset).to_json(orient="split", index=False)),  # what is not known is null
        "costs": costs,
        "n": {role: len(dataset.split(role)) for role in ROLES},
        "notes": dataset.notes,
        "seconds": time.perf_counter() - began,
    }
