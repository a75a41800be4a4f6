"""Which training rows lie farthest from all others, for their surroundings? No PyTorch at import: pages ask `kept`."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from influence.data.outlying import outlying
from influence.finders.outliers import LABEL
from influence.registry import finders
from influence.store import Project, Run
from influence.store.catalogue import now
from influence.types import Report, Scores, ignore

VERSION = 2
"""Of what is computed: older results are not found again."""
SHOWN = 20


def outliers(
    project: Project, run: str | None = None, neighbours: int = 20, again: bool = False, report: Report = ignore
) -> dict[str, Any]:
    """Rank the training rows by how much they lie alone (`influence.data.outlying`), whatever they do to any question.

    `scores`: digest of the local outlier factors, about 1 among its like; `first`: ids and factors of the first rows that the run was made
    with; `searched` of `different` rows were looked at as neighbours.

    Raises:
        BadInput: there is no such run, or there are fewer rows than neighbours.
    """
    finders.make("outliers", {"neighbours": neighbours})  # refuses what it does not allow
    began = time.perf_counter()
    made = project.run(run)
    dataset = made.dataset
    found = None if again else kept(project, dataset, neighbours)
    if found is None:
        train = project.dataset(dataset).train
        alone = outlying(train, neighbours)
        kept_as = project.put_scores(Scores(alone.factor[:, None], train.ids, (LABEL,), "outliers", False))
        found = {
            "scores": kept_as, "neighbours": neighbours, "n": len(train), "searched": alone.searched, "different": alone.different,
            "dataset": dataset, "computed": now(),
        }  # fmt: skip
        with project.transaction():
            project.note(_name(dataset, neighbours), found)
            project.record(
                "outliers",
                inputs={"dataset": dataset},
                settings={"neighbours": neighbours, "version": VERSION},
                outputs={"scores": found["scores"]},
                measures={},
                seconds=time.perf_counter() - began,
            )
    scores = remaining(made, project.scores(found["scores"]))
    order = np.argsort(-scores.column(), kind="stable")[:SHOWN]
    first = [{"id": id, "score": score} for id, score in zip(scores.ids[order].tolist(), scores.column()[order].tolist(), strict=True)]
    return {**found, "first": first, "seconds": time.perf_counter() - began}


def remaining(run: Run, scores: Scores) -> Scores:
    """Return scores without those of the rows that the run was made without: nobody can remove them again."""
    there = ~pd.Index(scores.ids).isin(list(run.body.get("removed", ())))
    return replace(scores, values=scores.values[there], ids=scores.ids[there])


def kept(project: Project, dataset: str, neighbours: int) -> dict[str, Any] | None:
    """Return what was found in a data set, or None; whoever deleted the scores gets them computed again."""
    found = project.noted(_name(dataset, neighbours))
    return found if found and project.objects.find(found["scores"]) else None


def _name(dataset: str, neighbours: int) -> str:
    return f"outliers/{dataset}/{neighbours}/{VERSION}"
