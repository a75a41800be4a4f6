"""Which training rows help nobody: without them the loss of every group is predicted to fall. No PyTorch at import: pages ask `kept`.

A row that harms one group may carry another. So each group's loss is asked, all in one walk, and only rows count whose removal is predicted
to lower every one of them. What is chosen by the evaluation rows flatters there; real retraining, beside as many random rows, says on the
holdout rows whether any group is worse off for it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from influence.actions._measures import unit_of
from influence.actions._scored import best, short
from influence.data.dataset import Dataset
from influence.errors import BadInput
from influence.groups import FEWEST, groups_of
from influence.registry import attribution, described, finders, queries
from influence.store import Project
from influence.store.catalogue import now
from influence.types import Event, Question, Report, Scores, Selection, ignore

if TYPE_CHECKING:
    from influence.actions._opened import Opened

VERSION = 1
MOST = 12
"""Groups whose losses are asked: each widens the walk."""
FRESH = 1000
"""Fresh seeds are counted from the run's own seed and this."""


def helps_nobody(
    project: Project,
    group: str = "",
    run: str | None = None,
    method: str = "",
    set: Mapping[str, Any] | None = None,
    share: float = 0.02,
    seeds: int = 0,
    again: bool = False,
    report: Report = ignore,
) -> dict[str, Any]:
    """Find rows whose removal is predicted to lower the loss of every group of a column (default: the run's first).

    `ids`: at most `share` of the rows, those first from which the least favoured group gains most; `harmful`: how many there are in all.
    `groups`: by label, `n` evaluation rows, `before` and the summed `predicted` change. `seeds`: retrain with so many fresh seeds without
    these rows and without as many random ones; `realised` then says of each group's loss, by role, `found` and `random`: change, low, high
    (95 %, over rows and seeds), n rows and seeds; `worse`: the groups whose holdout loss (evaluation, if there is none) rose beyond
    its interval. Losses of a numeric target are squared errors, in the square of its own unit.

    Raises:
        BadInput: there is no such column or fewer than two groups that can be compared, no such row, or the model cannot be trained again.
    """
    from influence.actions._opened import opened
    from influence.actions._retrained import now as answered

    began = time.perf_counter()
    it = opened(project, run)
    by = group or (it.run.body.get("groups") or [""])[0]
    scorer = attribution.make(method or best(it.trained), set)
    if seeds < 0 or seeds == 1:
        raise BadInput(f"An interval over seeds needs two or more; got {seeds}. Give 0 to leave retraining out.")
    question = _question(it, by)
    name = key(it.run.id, by, described(scorer))
    note = None if again else project.noted(name)
    if note is None or not project.objects.find(note["scores"]):
        note = _scored(it, question, scorer, by, report)
        project.note(name, note)
    scores = project.scores(note["scores"])
    selection = chosen(it, note, scores, share)
    at, before = it.dataset.train.mask(selection.ids), answered(it, {"evaluation": question})["evaluation"]["value"]
    unit = unit_of(it.dataset, "group_loss").value
    groups = [
        {"label": label, "n": note["rows"][k], "before": float(before[k]) * unit,
         "predicted": float(scores.values[at, k].sum()) * (unit if scores.calibrated else 1.0)}
        for k, label in enumerate(scores.labels)
    ]  # fmt: skip
    told = {**note, "ids": list(selection.ids), "share": share, "groups": groups, "words": selection.reason["words"]}
    told |= _realised(it, question, at, seeds, again, report) if seeds else {"realised": {}, "worse": []}
    seconds = time.perf_counter() - began
    project.record(
        "helps_nobody",
        inputs={"run": it.run.id, "dataset": it.run.dataset, "question": question.digest},
        settings={"group": by, "method": note["method"], "share": share, "seeds": seeds},
        outputs={"scores": note["scores"]},
        measures={"harmful": note["harmful"]},
        seconds=seconds,
    )
    return {**told, "seconds": seconds}


def key(run: str, group: str, method: Mapping[str, Any]) -> str:
    """Return the name of the note of a run, a group column and a method."""
    return f"helps_nobody/{run}/{short({'group': group, **method})}/{VERSION}"


def realised_key(run: str, group: str, ids: Any, seeds: int) -> str:
    """Return the name of the note of what retraining without rows changed."""
    return f"helps_nobody_retrained/{run}/{short({'group': group, 'ids': list(map(str, ids)), 'seeds': seeds})}/{VERSION}"


def kept(project: Project, run: str, group: str, method: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the scores' note of a run, a group column and a method, or None."""
    found = project.noted(key(run, group, method))
    return found if found and project.objects.find(found["scores"]) else None


def chosen(it: Opened, note: Mapping[str, Any], scores: Scores, share: float) -> Selection:
    """Return the rows that help nobody, at most `share` of all training rows.

    Raises:
        BadInput: there is none.
    """
    finder = finders.make("helps_nobody", {"share": share, "scores": note["scores"]})
    found: Selection = finder(scores, it.dataset.train)
    return found


def _question(it: Opened, group: str) -> Question:
    groups = groups_of(it.dataset.evaluation, group)
    enough = groups.comparable()
    largest = enough[np.argsort(-groups.counts()[enough], kind="stable")[:MOST]]
    return it.question([queries.make("group_loss", {"group": group, "which": groups.names[k]}) for k in sorted(largest)])


def _scored(it: Opened, question: Question, scorer: Any, group: str, report: Report) -> dict[str, Any]:
    from influence.finders.helps_nobody import harmful

    reason = scorer.unavailable(it.trained)
    if reason:
        raise BadInput(reason)
    scores = scorer(it.trained, it.dataset.train, question, report, it.workspace)
    groups = [query.groups(question.examples) for query in question.queries]  # type: ignore[attr-defined]
    rows = [int(g.counts()[g.names.index(q.which)]) for g, q in zip(groups, question.queries, strict=True)]  # type: ignore[attr-defined]
    return {
        "scores": it.project.put_scores(scores),
        "group": group,
        "rows": rows,
        "labels": list(scores.labels),
        "harmful": len(harmful(scores)),
        "n": int(it.seen.sum()),
        "calibrated": scores.calibrated,
        "run": it.run.id,
        "method": described(scorer),
        "computed": now(),
    }


def _realised(it: Opened, question: Question, at: np.ndarray, seeds: int, again: bool, report: Report) -> dict[str, Any]:
    """Retrain with fresh seeds on all rows, without the found ones, and without as many random ones (others for each seed)."""
    name = realised_key(it.run.id, question.queries[0].group, it.dataset.train.ids[at], seeds)  # type: ignore[attr-defined]
    found = None if again else it.project.noted(name)
    if found is None:
        found = _retrained(it, question, at, seeds, report)
        it.project.note(name, found)
    role = "holdout" if "holdout" in found else "evaluation"
    worse = [label for label, told in found[role].items() if told["found"]["low"] > 0]
    return {"realised": in_units(found, it.dataset), "worse": worse}


def in_units(realised: Mapping[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Return what retraining changed, of a numeric target in the square of its own unit."""
    unit = unit_of(dataset, "group_loss").value

    def scaled(told: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value * unit if name in ("change", "low", "high") else value for name, value in told.items()}

    return {
        role: {label: {kind: scaled(told) for kind, told in kinds.items()} for label, kinds in found.items()}
        for role, found in realised.items()
    }


def _retrained(it: Opened, question: Question, at: np.ndarray, seeds: int, report: Report) -> dict[str, Any]:
    from influence.actions._retrained import random_sets

    random = random_sets(it.seen, int(at.sum()), seeds, seed=0)
    sets = np.concatenate([np.stack([np.zeros_like(at), at, other]) for other in random])
    start = FRESH + (it.trained.recipe.seed if it.trained.recipe else 0)
    told = _losses(it, sets, [start + k // 3 for k in range(len(sets))], report)
    found: dict[str, Any] = {}
    for role, lost in told.items():
        whole, found_, other = lost.reshape(seeds, 3, -1).transpose(1, 0, 2)
        for label, rows in _rows_of(it, question, role).items():
            changes = {"found": (found_ - whole)[:, rows], "random": (other - whole)[:, rows]}
            found.setdefault(role, {})[label] = {name: over_rows(change) for name, change in changes.items()}
    return found


def over_rows(changes: np.ndarray) -> dict[str, Any]:
    """Return the mean of changes over seeds and rows (S, M), its 95 % interval, and the n rows.

    Both are drawn: rows of their like, and seeds. The variance of the mean is that of the rows' mean changes over M and that of the seeds'
    over S; another holdout of this size, and other seeds, would give a change in such an interval.
    """
    seeds, n = changes.shape
    error = (changes.mean(0).var(ddof=1) / n + changes.mean(1).var(ddof=1) / seeds) ** 0.5
    half, mean = float(stats.t.ppf(0.975, min(seeds, n) - 1) * error), float(changes.mean())
    return {"change": mean, "low": mean - half, "high": mean + half, "n": n, "seeds": seeds}


def _rows_of(it: Opened, question: Question, role: str) -> dict[str, np.ndarray]:
    """Return the rows of each group that was asked about among a role's, by label; groups with too few are left out."""
    rows = it.dataset.split(role)  # type: ignore[arg-type]
    found = {}
    for query, label in zip(question.queries, question.labels, strict=True):
        groups = query.groups(rows)  # type: ignore[attr-defined]
        own = query.which  # type: ignore[attr-defined]
        at = np.flatnonzero(groups.code == (groups.names.index(own) if own in groups.names else -1))
        if len(at) >= FEWEST:
            found[label] = at
    return found


def _losses(it: Opened, sets: np.ndarray, seeds: list[int], report: Report) -> dict[str, np.ndarray]:
    """Return every row's loss of R models retrained without sets of rows, by role, (R, M)."""
    from influence import grads
    from influence.actions._retrained import SIDE_BY_SIDE, recipe_of
    from influence.loop import threads
    from influence.queries._groups import losses
    from influence.training import bound_at, train_many

    recipe, roles = recipe_of(it), ("evaluation", "holdout")
    found: dict[str, list[np.ndarray]] = {role: [] for role in roles}
    for start in range(0, len(sets), SIDE_BY_SIDE):
        report(Event("retrain, fresh seeds", start, len(sets), f"{len(sets)} real retrainings"))
        part = slice(start, start + SIDE_BY_SIDE)
        weights = 1.0 - sets[part].astype(np.float32)
        for theta in train_many(it.trained.model, it.dataset.train, recipe, weights, seeds[part], it.trained.removed, ignore):
            bound = bound_at(it.trained.model, recipe, theta)
            with threads(recipe.threads):
                for role in roles:
                    rows = it.dataset.split(role)  # type: ignore[arg-type]
                    found[role].append(losses(grads.outputs(bound, rows), rows).numpy() if len(rows) else np.zeros(0))
    return {role: np.stack(values) for role, values in found.items()}
