"""Reruns: the recipe and the method again, each time from another seed, on the same rows to forget: what a method does, not one model.

Kept like oracles, by what decides them. The note `reruns/<what decides them>` names what each says of the removed rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from influence.actions import _oracles
from influence.actions._relabelling import in_models_unit
from influence.digest import digest
from influence.store import Project, Run
from influence.types import Event, Examples, Report, Selection, Trained

if TYPE_CHECKING:
    from influence.actions._opened import Opened

ROWS = 256
"""Removed rows that methods are judged by, the first of those that models are: each is looked at by every attack and relabelling."""
SEED = 2_000_003
"""Original k is trained with seed SEED + k: none that an oracle has."""


def key(it: Opened) -> str:
    """Return the name of the note of a run's reruns."""
    return f"reruns/{digest({'oracles': _oracles.key(it), 'method': it.run.body['method']})[:32]}"


def closed(project: Project, run: Run) -> str:
    """Return why the method that made a run can't be judged by it, or ""."""
    if run.kind != "unlearn" or project.run(run.parent).kind == "unlearn":
        return "A method is judged by its first removal from a trained model. Choose a run that was made from one."
    if taken := run.body.get("step"):
        return (
            f"Run {run.id} was taken at step {taken['at']:,} of {taken['of']:,}; a method is judged by what it comes to in the end. "
            f"Judge it by run {taken['run']}, and this run's model alone."
        )
    return ""


def held(it: Opened) -> int:
    """Return how many reruns are kept of the method that made a run; 0 if it can't be judged by this run."""
    return 0 if closed(it.project, it.run) else len(_whole(it))


def grow(it: Opened, count: int, report: Report) -> None:
    """See that the method was run from `count` originals or more.

    Raises:
        BadInput: a training diverged.
    """
    total = max(0, count - len(_whole(it)))
    while (there := len(_whole(it))) < count:
        report(Event("reruns", total - (count - there), total, f"{total} originals that forget"))
        with it.workspace.alone("reruns", key(it)):
            if len(_whole(it)) == there:
                _add(it, there, min(8, count - there), report)


def _whole(it: Opened) -> list[str]:
    """Return the digests of what the first reruns say, as many as are there without a gap: place k is that of seed k."""
    return list(takewhile(lambda digest: it.project.objects.find(digest) is not None, it.project.noted(key(it)) or []))


def _add(it: Opened, there: int, size: int, report: Report) -> None:
    """Train the next originals, let each forget, and keep what each says of the removed rows as soon as it has."""
    from influence.actions._opened import opened
    from influence.registry import unlearning
    from influence.training import load
    from influence.workspace import Workspace

    train = it.dataset.train
    method, before = unlearning.make(**it.run.body["method"]), it.project.trained(it.run.parent).removed
    never, known = set(before), _whole(it)[:there]
    gone = Selection(tuple(i for i in it.trained.removed if i not in never))
    given = it.project.selection(it.run.body["selection"])
    if given.action == "relabel":
        parent = opened(it.project, it.run.parent)
        train, gone = parent.dataset.train, in_models_unit(parent, given)
    seeds = _oracles.seeds(_oracles.recipe_of(it), train.ids, ~train.mask(it.trained.removed), SEED, there + size)[there:]
    beat = lambda event: report(replace(event, stage="reruns", metrics={}))  # noqa: E731
    for seed, original in zip(seeds, _originals(it, train, before, seeds, beat), strict=True):
        own = replace(method, seed=seed) if hasattr(method, "seed") else method  # what it draws is drawn anew, too
        forgot = own(original, train, gone, report=beat, workspace=Workspace())
        known.append(it.project.put_array(_oracles.outputs(it, load(forgot))["forget"]))
        it.project.note(key(it), known)


def _originals(it: Opened, train: Examples, before: Sequence[Any], seeds: Sequence[int], report: Report) -> Iterator[Trained]:
    """Yield a model of each seed that saw all rows but those gone `before`; in shards with what is kept after each slice, as SISA needs."""
    from influence.training import bound_at, checkpoint, train_many
    from influence.training import train as train_one

    model, recipe = it.trained.model, _oracles.recipe_of(it)
    stay = ~train.mask(before)
    if recipe.sharded:
        rows = train.take(stay)
        yield from (train_one(model, rows, replace(recipe, seed=seed), removed=before, report=report) for seed in seeds)
        return
    weights = np.repeat(stay.astype(np.float32)[None], len(seeds), 0)
    for seed, theta in zip(seeds, train_many(model, train, recipe, weights, seeds, (), report), strict=True):
        final = checkpoint(bound_at(model, recipe, theta).state(), 1, recipe.lr)
        yield Trained(model, (final,), replace(recipe, seed=seed), "trained", None, tuple(before))


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
