"""A question's value as more and more rows are removed: by influence, by loss and at random, each really retrained. No PyTorch at import.

The picture that shows whether scores are worth anything: removing by influence must do more than removing the rows that the model fits
worst, and that more than chance.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from influence.actions._measures import unit_of
from influence.actions._scored import Described, place, scored, short
from influence.errors import BadInput
from influence.registry import attribution, described
from influence.store import Project
from influence.store.catalogue import now as moment
from influence.types import Report, ignore

if TYPE_CHECKING:
    from influence.actions._opened import Opened

SHARES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Shares of the training rows that are removed."""
RANDOM = 3
"""Random orders."""
VERSION = 2
"""Of what is kept: curves of an older version know a numeric target standardised alone, and are drawn anew."""
LARGEST = 0.9


def removal_curve(
    project: Project,
    query: str,
    method: str = "metagradient",
    run: str | None = None,
    query_set: Mapping[str, Any] | None = None,
    set: Mapping[str, Any] | None = None,
    shares: Sequence[float] = SHARES,
    again: bool = False,
    report: Report = ignore,
) -> dict[str, Any]:
    """Retrain (truth *same*) without the first rows of three orders, at each share, and ask the question of evaluation and holdout rows.

    Orders: `influence` (those whose removal is predicted to move the question most in its better direction, by the method), `loss` (those
    with the largest training loss), `random` (three of them). `points`: digest of a table with order, k, share, draw, role, value (what
    people read); k = 0 is the model as it is. A numeric target is in its own unit. `predicted`: digest of a table with k and value of the
    question's differentiable form, if the method is in its unit. Kept, and found again.

    Raises:
        BadInput: a share is not between 0 and 0.9, the question does not fit, or the model cannot be trained again.
    """
    from influence.actions._opened import asked, opened
    from influence.actions._retrained import recipe_of

    began = time.perf_counter()
    if not shares or not all(0 < share <= LARGEST for share in shares):
        raise BadInput(f"Shares of the rows lie between 0 and {LARGEST:g}; got {', '.join(f'{share:g}' for share in shares) or 'none'}.")
    it, scorer = opened(project, run), attribution.make(method, set)
    wanted = asked(query, query_set, it.run)
    recipe_of(it)
    question, told = scored(it, wanted, scorer, report)
    name = key(project, it.run.id, told["query"], told["method"])
    found = None if again else project.noted(name)
    if found is None or found["shares"] != list(shares) or not project.objects.find(found["points"]):
        found = _walked(it, question, told, sorted(shares), report)
        with project.transaction():
            project.note(name, {**found, "shares": list(shares)})
            project.record(
                "removal_curve",
                inputs={"run": it.run.id, "dataset": it.run.dataset, "question": question.digest},
                settings={"query": told["query"], "method": told["method"], "shares": list(shares)},
                outputs={"points": found["points"]},
                measures={},
                seconds=time.perf_counter() - began,
            )
    return {**found, "seconds": time.perf_counter() - began}


def key(project: Project, run: str, query: Described, method: Described) -> str:
    """Return the name of the note under which a curve is kept."""
    return f"removal/{place(project, run, query)}/{short(method)}/{VERSION}"


def kept(project: Project, run: str, query: Described, method: Described) -> dict[str, Any] | None:
    """Return the curve of a question and a method, or None."""
    found = project.noted(key(project, run, query, method))
    return found if found and project.objects.find(found["points"]) else None


def retrainings(shares: Sequence[float] = SHARES) -> int:
    """Return how many models are trained for a curve."""
    return len(shares) * (2 + RANDOM)


def _walked(it: Opened, question: Any, told: Mapping[str, Any], shares: Sequence[float], report: Report) -> dict[str, Any]:
    from influence.actions._opened import ranking
    from influence.actions._retrained import answers, now
    from influence.actions.confirm import by_role

    scores, seen = it.project.scores(told["scores"]), np.flatnonzero(it.seen)
    by_influence = ranking(scores, 0, told["better"])
    rng = np.random.default_rng(0)
    orders = [("influence", 0, by_influence[it.seen[by_influence]]), ("loss", 0, seen[np.argsort(-_losses(it)[seen], kind="stable")])]
    orders += [("random", draw, rng.permutation(seen)) for draw in range(RANDOM)]
    sizes = [max(1, round(share * len(seen))) for share in shares]
    planned = [(name, draw, k, order[:k]) for name, draw, order in orders for k in sizes]
    left_out = np.zeros((len(planned), len(scores.ids)), dtype=bool)
    for mask, (*_, rows) in zip(left_out, planned, strict=True):
        mask[rows] = True
    roles = by_role(it, question)
    real, before = answers(it, left_out, roles, report=report), now(it, roles)
    points, unit = [], unit_of(it.dataset, told["query"]["name"])
    for role in roles:
        start = float(before[role]["measured"][0]) * unit.measured + unit.start
        points += [(name, 0, 0.0, draw, role, start) for name, draw, _ in orders]
        values = (real[role]["measured"][:, 0] * unit.measured + unit.start).tolist()
        points += [(name, k, k / len(seen), draw, role, value) for (name, draw, k, _), value in zip(planned, values, strict=True)]
    predicted = None
    if told["calibrated"]:
        sums = np.concatenate([[0.0], np.cumsum(scores.column()[orders[0][2]])])[[0, *sizes]]
        levels = (float(before["evaluation"]["value"][0]) + sums) * unit.value + unit.start
        table = pd.DataFrame({"k": [0, *sizes], "value": levels})
        predicted = it.project.put_table(table)
    return {
        "points": it.project.put_table(pd.DataFrame(points, columns=["order", "k", "share", "draw", "role", "value"])),
        "predicted": predicted,
        "label": told["labels"][0],
        "measured_label": told["measured_label"],
        "better": told["better"],
        "n": len(seen),
        "run": it.run.id,
        "query": told["query"],
        "method": described(attribution.make(told["method"]["name"], told["method"]["given"])),
        "computed": moment(),
    }


def _losses(it: Opened) -> np.ndarray:
    """Return each training row's loss under the final weights, (N,)."""
    import torch

    from influence import grads
    from influence.loop import threads
    from influence.losses import per_example

    train, recipe = it.dataset.train, it.trained.recipe
    assert recipe is not None
    with threads(recipe.threads):
        logits = grads.outputs(it.bound, train)
    return np.asarray(per_example(recipe.loss, logits, torch.from_numpy(np.array(train.y))), dtype=float)
