"""Reruns: the recipe and the method again, each time from another seed, on the same rows to forget: what a method does, not one model.

Kept like oracles, by what decides them. The note `reruns/<what decides them>` names what each says of the removed rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from influence.actions import _oracles
from influence.actions._relabelling import in_models_unit
from influence.digest import digest
from influence.errors import BadInput
from influence.types import Event, Report, Selection, Trained

if TYPE_CHECKING:
    from influence.actions._opened import Opened

ROWS = 256
"""Removed rows that methods are judged by, the first of those that models are: each is looked at by every attack and relabelling."""
SEED = 2_000_003
"""Original k is trained with seed SEED + k: none that an oracle has."""


def key(it: Opened) -> str:
    """Return the name of the note of a run's reruns."""
    return f"reruns/{digest({'oracles': _oracles.key(it), 'method': it.run.body['method']})[:32]}"


def grow(it: Opened, count: int, report: Report) -> None:
    """See that the method was run from `count` originals or more.

    Raises:
        BadInput: the run was not made by a method from a trained model, or a training diverged.
    """
    if it.run.kind != "unlearn" or it.project.run(it.run.parent).kind == "unlearn":
        raise BadInput("A method is judged by its first removal from a trained model. Choose a run that was made from one.")
    total = max(0, count - len(_whole(it)))
    while (there := len(_whole(it))) < count:
        report(Event("reruns", total - (count - there), total, f"{total} originals that forget"))
        with it.workspace.alone("reruns", key(it)):
            if len(_whole(it)) == there:
                _add(it, there, min(8, count - there), report)


def _whole(it: Opened) -> list[str]:
    found = it.project.noted(key(it)) or []
    return [d for d in found if it.project.objects.find(d) is not None]


def _add(it: Opened, there: int, size: int, report: Report) -> None:
    """Train the next originals side by side, let each forget, and keep what they say of the removed rows."""
    from influence.actions._opened import opened
    from influence.registry import unlearning
    from influence.training import bound_at, checkpoint, load, train_many
    from influence.types import ignore
    from influence.workspace import Workspace

    recipe, train = _oracles.recipe_of(it), it.dataset.train
    method, before = unlearning.make(**it.run.body["method"]), it.project.trained(it.run.parent).removed
    gone = Selection(tuple(i for i in it.trained.removed if i not in set(before)))
    given = it.project.selection(it.run.body["selection"])
    if given.action == "relabel":
        parent = opened(it.project, it.run.parent)
        train, gone = parent.dataset.train, in_models_unit(parent, given)
    stay = np.repeat(1.0 - train.mask(before).astype(np.float32)[None], size, 0) if before else np.ones((size, len(train)), np.float32)
    seeds = _oracles.seeds(recipe, train.ids, stay[0] > 0, SEED, there + size)[there:]
    beat = lambda event: report(replace(event, stage="reruns", metrics={}))  # noqa: E731
    made = []
    for seed, theta in zip(seeds, train_many(it.trained.model, train, recipe, stay, seeds, (), beat), strict=True):
        final = checkpoint(bound_at(it.trained.model, recipe, theta).state(), 1, recipe.lr)
        original = Trained(it.trained.model, (final,), replace(recipe, seed=seed), "trained", None, before)
        own = replace(method, seed=seed) if hasattr(method, "seed") else method  # what it draws is drawn anew, too
        forgot = own(original, train, gone, report=ignore, workspace=Workspace())
        made.append(it.project.put_array(_oracles.outputs(it, load(forgot))["forget"]))
    it.project.note(key(it), [*_whole(it), *made])


def pooled(it: Opened, count: int) -> np.ndarray:
    """Return what the first `count` reruns say of the removed rows, (count, M, C)."""
    return np.stack([np.array(it.project.array(d)) for d in _whole(it)[:count]])


def told(it: Opened, count: int, oracles: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return what every test of the method finds, as `verify` tells it; `oracles`: what they say, by part, (K, M, C)."""
    from dataclasses import asdict

    from influence.registry import method_verification
    from influence.verification._pool import Pool
    from influence.verification._verdict import at_rates, judged, relabelled

    rows = _oracles.parts(it)
    own, others = (Pool({"forget": part}, rows).margins("forget")[:, :ROWS] for part in (pooled(it, count), oracles["forget"]))
    found = {}
    for name, kind in method_verification.classes.items():
        test: Any = kind()
        values = relabelled(test, own, others)
        facts = {"label": test.label, "unit": test.unit, "side": test.side}
        found[name] = {**facts, **asdict(judged(values, test.side, own.shape[1])), "oracles": values[1:].tolist(), "runs": count}
        if hasattr(test, "at_rates"):
            found[name]["rates"] = at_rates(relabelled(test.at_rates, own, others), test.side, others.size)
    return found
