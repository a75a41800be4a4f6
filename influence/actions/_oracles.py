"""Oracles: models trained anew, each from its own seed, without the rows that a run does without. No PyTorch at import: pages look here.

They are kept by what decides them (architecture, recipe but for its seed, data, rows gone), so all methods that forget the same rows are
judged beside the same oracles, and a second look costs nothing. Of each is kept what it says of the removed rows, of a sample of the
retained ones and of the holdout rows, and how it learns the removed rows again (`_relearning`). The note `oracles/<what decides them>`
names the objects; it grows with every few models.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from influence.actions import _pace
from influence.actions._relabelling import old_labels
from influence.digest import digest
from influence.errors import BadInput
from influence.types import Course, Event, Examples, Recipe, Report, Trained

if TYPE_CHECKING:
    import torch

    from influence.actions._opened import Opened
    from influence.loop import Bound
    from influence.verification._pool import Rows

ROWS = 2048
"""Rows of a part that models are compared on; of more, as many are drawn by key."""
UNSEEN = 10_240
"""Of the holdout as many: what an attack finds at one false alarm in a thousand rests on ten of them."""
STEPS = 32
"""Small steps in which each model learns the removed rows again."""
RELEARNED = "relearned"
SEED = 1_000_003
"""Oracle k is trained with seed SEED + k: far from the small seeds that people choose."""


def recipe_of(it: Opened) -> Recipe:
    """Return the recipe of the model that was made to forget: approximate methods keep it, though their weights are not its result.

    Raises:
        BadInput: there is none, or that model could not be trained again by it.
    """
    if reason := closed(first(it), it.trained):
        raise BadInput(reason)
    assert it.trained.recipe is not None
    return it.trained.recipe


def closed(first: Trained, trained: Trained) -> str:
    """Return why there can be no oracles for a model that was made to forget, and that its chain of removals began with, or ""."""
    from influence.repeatable import no_recipe

    if reason := no_recipe(first, "Verifying", "a model that was trained here"):
        return reason
    if trained.recipe is None:
        return "This model has no recipe by which others could be trained without the rows. Choose one trained here."
    if trained.recipe.course is not None and not _shuffled(trained.recipe.course):
        return (
            "This model was trained elsewhere, on rows in an order that no recipe here draws anew (not shuffled passes over all rows), so "
            "that models of other seeds would be of another kind. Choose a model that was trained here, or by shuffled passes."
        )
    return ""


def first(it: Opened) -> Trained:
    """Return the model that the run's chain of removals began with."""
    return it.origin.trained


def _shuffled(course: Course) -> bool:
    """Whether a training outside Lethe went as recipes here do: passes over all rows, each in an order of its own, cut nowhere else."""
    went = course.load()
    n, places = len(went["ids"]), np.asarray(went["places"])
    if "widths" in went or not n or len(places) % n:
        return False
    passes = places.reshape(-1, n)
    orders = {each.tobytes() for each in passes}
    return bool((np.sort(passes, 1) == np.arange(n)).all()) and len(orders) == len(passes) > 1


def key(it: Opened) -> str:
    """Return the name of the note of a run's oracles."""
    recipe = recipe_of(it)
    gone = sorted(map(str, it.trained.removed))
    judged = sorted(map(str, forgotten(it)))
    of = {"data": it.run.dataset, "gone": gone, "judged": judged, "rows": (ROWS, UNSEEN), RELEARNED: STEPS}
    old = old_labels(it, it.origin)
    of |= {"old labels": old.digest} if len(old) else {}
    decides = {"model": it.trained.model, "recipe": replace(recipe, seed=0), **of}
    return f"oracles/{digest(decides)[:32]}"


def forgotten(it: Opened) -> tuple[Any, ...]:
    """Return the ids that were removed since the first training, not those that it was made without, and those that were relabelled."""
    never, gone = set(first(it).removed), set(it.trained.removed)
    corrected = (i for i in old_labels(it, it.origin).ids.tolist() if i not in gone)
    return (*(i for i in it.trained.removed if i not in never), *corrected)


def parts(it: Opened) -> Mapping[Rows, Examples]:
    """Return the rows on which models are compared."""
    train, old = it.dataset.train, old_labels(it, it.origin)
    out = train.mask(forgotten(it))
    was = train.y.copy()
    was[train.mask(old.ids)] = old.y  # what is to be forgotten of these is the old label, whatever became of the row since
    found = {
        "forget": replace(train, y=was).take(out),
        "retained": train.take(~train.mask(it.trained.removed) & ~out),
        "unseen": it.dataset.holdout,
    }
    return {part: _some(rows, UNSEEN if part == "unseen" else ROWS) for part, rows in found.items()}  # type: ignore[misc]


def _some(rows: Examples, most: int) -> Examples:
    return rows if len(rows) <= most else rows.take(drawn(rows.ids, most))


def drawn(ids: np.ndarray, most: int) -> np.ndarray:
    """Return the places of the rows, at most so many, that are looked at of those with these ids: drawn by key, in their order."""
    from influence.keyed import keys

    return np.sort(np.argsort(keys(0, "verify", ids), kind="stable")[:most])


def held(it: Opened) -> int:
    """Return how many oracles there are."""
    return len(_whole(it))


def _whole(it: Opened) -> list[dict[str, str]]:
    """Return the digests of the outputs of each kept oracle, as many as are whole."""
    whole: list[dict[str, str]] = []
    for each in it.project.noted(key(it)) or []:
        if any(it.project.objects.find(d) is None for d in each.values()):
            break
        whole.append(each)
    return whole


def kept(it: Opened) -> list[dict[str, np.ndarray]]:
    """Return what each kept oracle says of each part's rows, (M, C).

    Raises:
        BadInput: the run's model cannot be trained again, so that there is none.
    """
    return [{part: np.array(it.project.array(digest)) for part, digest in each.items() if part != RELEARNED} for each in _whole(it)]


def relearned(it: Opened, count: int) -> np.ndarray | None:
    """Return how the run's model and the first `count` oracles learn the removed rows again, (1 + count, STEPS + 1); None of shards."""
    if recipe_of(it).sharded:
        return None
    return np.stack([_again(it, it.bound), *(np.array(it.project.array(each[RELEARNED])) for each in _whole(it)[:count])])


def _again(it: Opened, bound: Bound) -> np.ndarray:
    from influence.actions._relearning import curve

    return curve(it.trained.model, recipe_of(it), bound, parts(it)["forget"], STEPS)


def grow(it: Opened, count: int, report: Report) -> None:
    """See that there are `count` oracles or more.

    Raises:
        BadInput: the model cannot be trained again, or a retraining diverged.
    """
    total = max(0, count - held(it))
    while (there := held(it)) < count:
        with it.workspace.alone("oracles", key(it)):
            _train(it, there, count, total, report)


def _train(it: Opened, there: int, count: int, total: int, report: Report) -> None:
    """Train the next few oracles, as many as go side by side, and add them; none if another process has done so meanwhile."""
    from influence.training import together, train_many

    recipe = recipe_of(it)
    size = min(together(len(it.bound.flat)), count - there)
    if held(it) != there:
        return

    def step(event: Event) -> None:
        done = total - (count - there) + size * event.done / max(1, event.total)
        report(Event("oracles", int(done), total, f"{total} models trained without the rows"))

    train, began = it.dataset.train, time.perf_counter()
    stay = np.repeat(1.0 - train.mask(it.trained.removed).astype(np.float32)[None], size, 0)
    thetas = train_many(it.trained.model, train, recipe, stay, seeds(recipe, train.ids, stay[0] > 0, SEED, there + size)[there:], (), step)
    found = [_said(it, theta) for theta in thetas]
    _pace.noted(it.project, it.run, size, time.perf_counter() - began)
    it.project.note(key(it), [*_whole(it), *({part: it.project.put_array(out) for part, out in each.items()} for each in found)])


def seeds(recipe: Recipe, ids: np.ndarray, present: np.ndarray, first: int, count: int) -> list[int]:
    """Return the first `count` seeds from `first` on; in shards those by which no shard has too few rows, as the user's has not.

    Raises:
        BadInput: hardly any seed is such.
    """
    from influence.shards.layout import Layout

    if not recipe.sharded:
        return list(range(first, first + count))
    found: list[int] = []
    for seed in range(first, first + 20 * count):
        if Layout.of(replace(recipe, seed=seed), ids, ()).fits(present):
            found.append(seed)
        if len(found) == count:
            return found
    raise BadInput(
        f"Only {len(found)} of {20 * count} ways to lay out these shards leave each enough rows. Train with fewer shards or slices."
    )


def _said(it: Opened, theta: torch.Tensor) -> dict[str, np.ndarray]:
    from influence.training import bound_at

    bound = bound_at(it.trained.model, recipe_of(it), theta)
    return outputs(it, bound) | ({} if recipe_of(it).sharded else {RELEARNED: _again(it, bound)})


def outputs(it: Opened, bound: Bound) -> dict[str, np.ndarray]:
    """Return what a model says of each part's rows, (M, C)."""
    from influence import grads
    from influence.loop import threads

    with threads(recipe_of(it).threads):
        return {part: grads.outputs(bound, rows).numpy() for part, rows in parts(it).items()}


def pooled(it: Opened, count: int) -> dict[str, np.ndarray]:
    """Return what the run's model and the first `count` oracles say of each part's rows, the run's first, (1 + count, M, C).

    Raises:
        BadInput: an output is not finite.
    """
    own, others = outputs(it, it.bound), _whole(it)[:count]
    found = {part: np.stack([own[part], *(np.array(it.project.array(each[part])) for each in others)]) for part in own}
    if not all(np.isfinite(part).all() for part in found.values()):
        raise BadInput("Some outputs of the model or of an oracle are not finite, so that they can't be compared. Train with a smaller lr.")
    return found
