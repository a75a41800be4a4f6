"""Group the training rows by what the model sees alike, so that a pattern can be "rows that look like these".

No PyTorch at import: pages ask `kept`.

Where columns say little, as of images, a fault can still be common to rows that look alike (a scanner's mark, a style of writing). Rows are
grouped by k-means on the principal components of what the map lays them out by; each group is told by its row nearest to the middle.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from influence import plane
from influence.conditions import read
from influence.errors import BadInput
from influence.store import Project, Run
from influence.store.catalogue import now
from influence.types import Event, Examples, Report, Scores, Selection, ignore

if TYPE_CHECKING:
    from influence.actions._opened import Opened

VERSION = 1
"""Of what is computed: older groups are not found again."""
WIDTH, STARTS, BATCH = 50, 3, 4_096
"""Principal components in which rows are compared, starts of k-means of which the best is kept, and rows of a step of it."""
MOST = 256
"""Groups at most."""
LABEL = "group"
COLUMN = "looks like (of {groups} groups)"
"""Name of the column by which conditions speak of groups; its cells name the row in the middle."""


def clusters(project: Project, run: str | None = None, groups: int = 16, again: bool = False, report: Report = ignore) -> dict[str, Any]:
    """Group the training rows into at most so many groups that look alike to the model; they stay in the project, and are found again.

    `clusters`: digest of scores with each row's group, from 0 on, the largest first; `of`: what rows were compared by; `middles`: of each
    group the id of the row nearest to its mean; `sizes`: rows in each. `found`: whether they were kept; `again`: compute in any case.

    Raises:
        BadInput: there is no such run, fewer than 2 or more than 256 groups are asked for, or the model's numbers are not finite.
    """
    if not 2 <= groups <= MOST:
        raise BadInput(f"Rows are grouped into 2 to {MOST} groups; got {groups}.")
    from influence.actions._opened import opened

    began = time.perf_counter()
    it = opened(project, run)
    found = None if again else kept(project, it.run.id, groups)
    if found:
        return {**found, "found": True}
    code, middles, of = _grouped(it, groups, report)
    train = it.dataset.train
    scores = Scores(code[:, None].astype(np.float32), train.ids, (LABEL,), f"k-means on {of}", False)
    made = {
        "clusters": project.put_scores(scores), "run": it.run.id, "groups": groups, "of": of, "middles": train.ids[middles].tolist(),
        "sizes": np.bincount(code, minlength=len(middles)).tolist(), "computed": now(), "seconds": time.perf_counter() - began,
    }  # fmt: skip
    with project.transaction():
        project.note(_name(it.run.id, groups), made)
        project.record(
            "clusters",
            inputs={"run": it.run.id, "dataset": it.run.dataset, "model": it.trained.digest},
            settings={"groups": groups, "version": VERSION},
            outputs={"clusters": made["clusters"]},
            measures={"of": of, "sizes": made["sizes"]},
            seconds=made["seconds"],
        )
    return {**made, "found": False}


def kept(project: Project, run: str, groups: int = 16) -> dict[str, Any] | None:
    """Return what was computed for a run, or None; whoever deleted the groups gets them computed again."""
    found = project.noted(_name(run, groups))
    return found if found and project.objects.find(found["clusters"]) else None


def with_groups(project: Project, run: str, train: Examples) -> Examples:
    """Return a run's training rows with a column for each grouping that is kept: where patterns are evaluated, they may speak of it."""
    columns = train.columns
    for name, found in project.notes(f"clusters/{run}/").items():
        if name.endswith(f"/{VERSION}") and found and project.objects.find(found["clusters"]):
            columns = beside(columns, found, project.scores(found["clusters"]))
    return replace(train, columns=columns)


def in_training(run: Run, found: Selection) -> Selection:
    """Return a pattern's rows without those that the run was made without: what its searches count and retrainings leave out."""
    gone = set(run.body.get("removed", ()))
    return replace(found, ids=tuple(id for id in found.ids if id not in gone)) if gone else found


def beside(columns: pd.DataFrame, found: Mapping[str, Any], scores: Scores) -> pd.DataFrame:
    """Return columns and one more that names each row's group by the row in its middle; a column of that name stays the data's."""
    name = COLUMN.format(groups=found["groups"])
    middles = [f"row {id}" for id in found["middles"]]
    return columns if name in columns else columns.assign(**{name: pd.Categorical.from_codes(scores.column().astype(int), middles)})


def middles(rule: str, found: Mapping[str, Any]) -> list[Any]:
    """Return the ids of the rows by which a pattern's conditions (JSON) name groups."""
    name = COLUMN.format(groups=found["groups"])
    said = {condition.value for condition in read(rule) if condition.column == name}
    return [id for id in found["middles"] if f"row {id}" in said]


def _name(run: str, groups: int) -> str:
    return f"clusters/{run}/{groups}/{VERSION}"


def _grouped(it: Opened, groups: int, report: Report) -> tuple[np.ndarray, np.ndarray, str]:
    """Return each row's group (N,), of each group the place of its middle row, and what rows were compared by."""
    from sklearn.cluster import MiniBatchKMeans

    from influence.actions.coordinates import represented

    blocks, of = represented(it)
    width = next(iter(blocks()), np.zeros((0, 1))).shape[1]
    rows = plane.places(blocks, plane.axes(blocks, min(WIDTH, max(width, 2)), report), report).astype(np.float32)
    report(Event("group", 0, 0, f"{len(rows):,} rows"))
    near = MiniBatchKMeans(min(groups, len(rows)), batch_size=BATCH, n_init=STARTS, random_state=0).fit_transform(rows)
    code, far = near.argmin(1), near.min(1)
    order = np.argsort(-np.bincount(code, minlength=near.shape[1]), kind="stable")
    order = order[np.bincount(code, minlength=near.shape[1])[order] > 0]  # a group may be left without rows
    new = np.empty(near.shape[1], dtype=np.int64)
    new[order] = np.arange(len(order))
    middles = np.array([np.flatnonzero(code == group)[far[code == group].argmin()] for group in order], dtype=np.int64)
    return new[code], middles, of
