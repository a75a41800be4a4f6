"""What is looked at before an hour is spent: rows of a table with a verdict, what was found, and a way to mend it.

Verdicts: "good"; "doubtful": look before you go on; "none": nothing can be said, or it is for your information.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from typing import Literal, TypedDict

import numpy as np
import pandas as pd
import torch

from influence import grads, training
from influence.data.dataset import ROLES, Dataset
from influence.data.split import says_train, tells_roles
from influence.data.suspects import Finding, suspects
from influence.errors import BadInput
from influence.evidence import words
from influence.exchange import snippets
from influence.groups import FEWEST, groups_of
from influence.loop import Bound, Loop, threads
from influence.registry import attribution
from influence.types import Architecture, Recipe, Trained

Verdict = Literal["good", "doubtful", "none"]
PROBED, WARM = 3, 1
"""Batches that are timed, and batches before them, in which everything is set up."""
WALK = 3
"""Plain trainings that a metagradient takes (docs/measurements.md)."""
MANY = 32
"""Retrainings by which predictions are usually checked."""


class Check(TypedDict):
    """One row of the table. `mend`: what to do about it, "" if nothing. `code`: what to add to one's own program, "" if nothing.

    `leak`: the column that it is mended by when it is said to be a leak, so that the model does not see it; "" if that mends nothing.
    """

    check: str
    verdict: Verdict
    found: str
    mend: str
    code: str
    leak: str


def checked(check: str, verdict: Verdict, found: str, mend: str = "", code: str = "", leak: str = "") -> Check:
    """Return one row of the table."""
    return {"check": check, "verdict": verdict, "found": found, "mend": mend, "code": code, "leak": leak}


def sizes(dataset: Dataset) -> list[Check]:
    """Say how many rows each role has, and whether classes and groups are large enough to be spoken of."""
    rows = ", ".join(f"{len(dataset.split(role)):,} {role}" for role in ROLES)
    found = [checked("Rows", "good", f"{rows}.")]
    if dataset.train.classes:
        found.append(_classes(dataset))
    return found + [_groups(dataset, column) for column in dict.fromkeys((*dataset.protected, *dataset.audit))]


def _classes(dataset: Dataset) -> Check:
    train, asked = (np.bincount(dataset.split(role).y, minlength=dataset.train.outputs) for role in ("train", "evaluation"))
    least, names = int(train.argmin()), dataset.train.classes
    said = f"{len(names)} classes; the smallest, {names[least]!r}, has {train[least]:,} training and {asked[least]:,} evaluation rows."
    few = asked.min() < FEWEST
    return checked("Classes", "doubtful" if few else "good", said, "Bring more rows of it, or merge classes." if few else "")


def _groups(dataset: Dataset, column: str) -> Check:
    groups = groups_of(dataset.evaluation, column)
    counts = groups.counts()
    small = [f"{name!r} {n}" for name, n in zip(groups.names, counts, strict=True) if n < FEWEST]
    said = f"{len(groups.names)} groups, of {counts.min():,} to {counts.max():,} evaluation rows."
    mend = f"Groups of fewer than {FEWEST} take no part in gaps: {', '.join(small[:5])}. Merge values, or bring more rows." if small else ""
    return checked(f"Groups of {column}", "doubtful" if small else "good", said, mend)


LEAKS = ("target renamed", "gives the target away")
MENDS = {
    "target renamed": "Say that it is a leak: the model does not see it then.",
    "gives the target away": "Say that it is a leak, if it is not known before the target is: the model does not see it then.",
    "in training too": "If they are copies, take them out of the file, or choose a column that says train or test and keeps them together.",
    "id in training too": "Choose a column that says train or test and keeps all rows of a case on one side.",
    "id repeated": "Look whether these are rows of one case; then its rows count more than others, and intervals are too narrow.",
}
"""What to do, by kind of suspicion (`influence/data/suspects.py`)."""
DIVIDED = {
    "in training too": "If they are copies, take them out of the file, or change {split} so that it keeps them together.",
    "id in training too": "Change {split} so that it keeps all rows of a case on one side.",
}
"""What to do instead where a column says train or test already."""


def suspected(dataset: Dataset) -> list[Check]:
    """Say which columns may give the target away, and which rows are there twice (`influence/data/suspects.py`)."""
    unseen = {str(column["name"]) for column in dataset.columns if not column.get("input", True)}
    split = next((str(column["name"]) for column in dataset.columns if column.get("part") == "split"), "")
    return [_suspicion(finding, unseen, split) for finding in suspects(dataset)] or [
        checked("Leaks and duplicates", "good", "no column gives the target away by itself, and no test row is a training row.")
    ]


def _suspicion(finding: Finding, unseen: Collection[str], split: str) -> Check:
    title = f"{finding.kind[:1].upper()}{finding.kind[1:]}"
    if finding.kind not in LEAKS:
        mend = DIVIDED[finding.kind].format(split=repr(split)) if split and finding.kind in DIVIDED else MENDS[finding.kind]
        return checked(title, "doubtful", finding.sentence, mend)
    if finding.column in unseen:
        return checked(title, "none", f"{finding.sentence} The model does not see it.")
    return checked(title, "doubtful", finding.sentence, MENDS[finding.kind], leak=finding.column)


def divided(dataset: Dataset) -> list[Check]:
    """Say which columns of a table tell train from test, and are an input or not followed."""
    if dataset.encoding.get("kind") not in ("table", "text"):
        return []
    parts = {role: dataset.split(role).columns for role in ROLES}
    train, found = np.repeat([role == "train" for role in ROLES], [len(part) for part in parts.values()]), []
    for column in dataset.columns:
        name, seen = str(column["name"]), column.get("input", True)
        if name == dataset.target or column.get("distinct", 0) > 3 or name not in parts["train"]:
            continue
        values = pd.concat([part[name] for part in parts.values()], ignore_index=True)
        if tells_roles(values) and (seen or not (says_train(values) == train).all()):
            said = f"{name!r} says which rows are train and test, and is {'an input of the model' if seen else 'not followed'}."
            mend = f"Choose it as the column that says train or test: --split {name}. Or leave it out: --drop {name}."
            found.append(checked("Train and test rows", "doubtful", said, mend))
    return found


def deterministic(trained: Trained, dataset: Dataset) -> Check:
    """Say whether the model answers the same twice, as everything here takes for granted."""
    few = dataset.evaluation.take(np.arange(min(256, len(dataset.evaluation))))
    bound = training.load(trained)
    once, twice = (grads.outputs(bound, few) for _ in range(2))
    same = torch.equal(once, twice)
    off = float((once - twice).abs().max())
    found = "the same rows get the same answers, to the bit" if same else f"the same rows get answers that differ by up to {off:.2g}"
    mend = "" if same else "Take out of the model what draws when it is evaluated; scores and previews are about one fixed model."
    return checked("Answers the same twice", "good" if same else "doubtful", f"{found}.", mend)


def methods(trained: Trained) -> list[Check]:
    """Say which attribution methods are open to a model, and what would open the others."""
    reasons = {name: str(cls().unavailable(trained)) for name, cls in sorted(attribution.classes.items())}
    opened = [words.title(name) for name, reason in reasons.items() if not reason]
    found = [checked("Attribution methods", "good" if opened else "doubtful", f"{len(opened)} are open: {', '.join(opened)}.")]
    closed = {name: reason for name, reason in reasons.items() if reason}
    if closed and trained.recipe is None:
        names = ", ".join(map(words.title, closed))
        mend = "Record the training in your own program and bring the record; the metagradient is the most exact of all."
        found.append(checked("Closed without a recipe", "none", f"{names}.", mend, snippets.RECORDER))
    if len(trained.checkpoints) < 2:
        mend = "Keep a few checkpoints along training and bring their folder: TracIn adds up what each of them says."
        found.append(checked("Checkpoints", "none", "One; TracIn sees the end of training alone.", mend, snippets.CHECKPOINTS))
    return found


def costs(model: Architecture, dataset: Dataset, recipe: Recipe) -> tuple[Check, dict[str, float]]:
    """Say what training and asking will cost, from a few batches that really ran: seconds, and MiB of the recorded training."""
    few = dataset.train.take(np.arange(min(len(dataset.train), (WARM + PROBED) * recipe.batch_size)))
    with threads(recipe.threads):
        loop = Loop.of(model, few, replace(recipe, epochs=max(1, -(-(WARM + PROBED) * recipe.batch_size // len(few)))), None, ())
        loop.bound.module.train()
        loop.run(0, WARM)
        began = time.perf_counter()
        loop.run(WARM, min(WARM + PROBED, len(loop.batches)))
        each = (time.perf_counter() - began) / max(1, min(PROBED, len(loop.batches) - WARM))
    steps = recipe.epochs * -(-len(dataset.train) // recipe.batch_size)
    once, numbers = each * steps, len(loop.bound.flat)
    told = {"train": once, "walk": WALK * once, "check": MANY * once, "parameters": numbers, "mib": steps * numbers * 4 / 2**20}
    found = (
        f"{numbers:,} parameters, {steps:,} steps: {words.about(once)} to train, {words.about(WALK * once)} for a question to the "
        f"metagradient, at most {words.about(MANY * once)} for {MANY} retrainings that check it. From {PROBED} batches that ran."
    )
    return checked("Cost", "none", found), told


def runs(model: Architecture, dataset: Dataset) -> Check:
    """Say whether the model takes these inputs, by letting it answer two rows.

    Raises:
        BadInput: it does not.
    """
    try:
        said = grads.outputs(Bound(model), dataset.train.take(np.arange(2)))
    except RuntimeError as error:
        raise BadInput(f"The model does not take these inputs: {' '.join(str(error).split())[:200]}. Choose another model.") from None
    given = tuple(dataset.train.shape)
    return checked("Shapes", "good", f"inputs {given} give {words.count(said.shape[1], 'output')}, as the target needs.")
