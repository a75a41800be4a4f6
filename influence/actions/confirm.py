"""Check a previewed curve against real retraining: truth *same*, and truth *fresh* over several seeds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from influence.actions._opened import Opened, opened, ranking
from influence.actions._retrained import answers, now
from influence.actions.preview import kept, key
from influence.errors import BadInput
from influence.groups import other_than
from influence.registry import queries
from influence.store import Project
from influence.types import Question, Report, as_places, ignore


def confirm(
    project: Project,
    run: str,
    group: str,
    label: str,
    ks: Sequence[int],
    better: str = "lower",
    seeds: int = 3,
    positive: str = "",
    report: Report = ignore,
) -> dict[str, Any]:
    """Retrain without the k rows that the preview ranks first for `label`, for each k, and measure on evaluation and holdout rows.

    The table's columns: k, truth (same, fresh), seed, role, label, value, measured, value_change, measured_change; a fresh model is
    compared with the model of the same seed that kept all rows. `positive`: the favourable class of the preview, as for `prepare`.

    Raises:
        BadInput: the preview was not prepared, there is no such class, or the model cannot be trained again.
    """
    began = time.perf_counter()
    it = opened(project, run)
    positive = other_than(it.dataset.evaluation, positive)
    note = kept(project, it.run.id, group, positive)
    if note is None:
        raise BadInput("There is no preview of this run, group and favourable class yet; prepare it first.")
    if label not in note["labels"]:
        raise BadInput(f"There is no metric {label!r} in this preview; there are: {', '.join(note['labels'])}.")
    ranked = project.scores(note["scores"])
    order = ranked.ids[ranking(ranked, label, better)]
    sizes = sorted({int(k) for k in ks if 0 < k < len(order)})
    if not sizes:
        raise BadInput(f"No size to try: each must lie between 1 and {len(order) - 1} rows; got {list(ks)}.")
    questions = questions_of(it, note)
    left_out = _without(it, order, sizes)
    same = answers(it, left_out, questions, report=report, stage="retrain, same seed")
    tables = [_table(note["labels"], sizes, same, now(it, questions), "same", it.trained.recipe.seed if it.trained.recipe else 0)]
    if seeds:
        tables += _fresh(it, left_out, questions, note["labels"], sizes, seeds, report)
    digest = project.put_table(pd.concat(tables, ignore_index=True))
    seconds = time.perf_counter() - began
    with project.transaction():
        project.note(key(it.run.id, group, positive, label), {"points": digest, "ks": sizes, "seeds": seeds})
        project.record(
            "confirm",
            inputs={"run": it.run.id, "scores": note["scores"]},
            settings={"group": group, "positive": positive, "label": label, "better": better, "ks": sizes, "seeds": seeds},
            outputs={"points": digest},
            measures={},
            seconds=seconds,
        )
    return {"points": digest, "seconds": seconds, "retrainings": len(left_out) + seeds * (len(sizes) + 1)}


def questions_of(it: Opened, note: dict[str, Any]) -> dict[str, Question]:
    """The very queries of the preview (already oriented), asked of evaluation rows, and of holdout rows if those can answer them all."""
    return by_role(it, it.question([queries.make(**query) for query in _distinct(note["queries"][label] for label in note["labels"])]))


def by_role(it: Opened, asked: Question) -> dict[str, Question]:
    """Return a question to the evaluation rows, and the same to the holdout rows if those can answer it."""
    found: dict[str, Question] = {"evaluation": asked}
    again = Question(asked.queries, it.dataset.holdout)
    with suppress(BadInput):  # groups with enough evaluation rows can have too few holdout rows
        now(it, {"holdout": again})
        found["holdout"] = again
    return found


def _distinct(described: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for query in described:
        if query not in found:
            found.append(query)
    return found


def _without(it: Opened, order: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    at = as_places(order, it.dataset.train.ids)
    left_out = np.zeros((len(sizes), len(it.dataset.train)), dtype=bool)
    for row, k in zip(left_out, sizes, strict=True):
        row[at[:k]] = True
    return left_out


def _fresh(
    it: Opened, left_out: np.ndarray, questions: dict[str, Question], labels: list[str], sizes: list[int], seeds: int, report: Report
) -> list[pd.DataFrame]:
    start = 1000 + (it.trained.recipe.seed if it.trained.recipe else 0)
    sets = np.concatenate([np.zeros((1, left_out.shape[1]), dtype=bool), left_out])
    own = [start + s for s in range(seeds) for _ in sets]
    found = answers(it, np.tile(sets, (seeds, 1)), questions, own, report, stage="retrain, fresh seeds")
    tables = []
    for s in range(seeds):
        part = slice(s * len(sets), (s + 1) * len(sets))
        mine = {role: {kind: values[part] for kind, values in kinds.items()} for role, kinds in found.items()}
        without = {role: {kind: values[1:] for kind, values in kinds.items()} for role, kinds in mine.items()}
        whole = {role: {kind: values[0] for kind, values in kinds.items()} for role, kinds in mine.items()}
        tables.append(_table(labels, sizes, without, whole, "fresh", start + s))
    return tables


def _table(labels: list[str], sizes: list[int], found: dict[str, Any], whole: dict[str, Any], truth: str, seed: int) -> pd.DataFrame:
    rows = []
    for role, kinds in found.items():
        for place, k in enumerate(sizes):
            for i, label in enumerate(labels):
                value, measured = float(kinds["value"][place, i]), float(kinds["measured"][place, i])
                change = {f"{kind}_change": float(kinds[kind][place, i] - whole[role][kind][i]) for kind in kinds}
                rows.append(
                    {"k": k, "truth": truth, "seed": seed, "role": role, "label": label, "value": value, "measured": measured, **change}
                )
    return pd.DataFrame(rows)
