"""Which rows are copies of each other, among the training rows and across the split? No PyTorch at import: pages ask `kept`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd

from influence.actions._scored import short
from influence.data.copies import copies
from influence.data.dataset import ROLES, Dataset
from influence.errors import BadInput
from influence.finders.duplicates import LABELS, conflicting
from influence.store import Project
from influence.store.catalogue import now
from influence.types import Report, Scores, ignore

VERSION = 1
"""Of what is computed: older results are not found again."""
SHOWN = 20


def duplicates(
    project: Project, run: str | None = None, distance: float = 0.0, again: bool = False, report: Report = ignore
) -> dict[str, Any]:
    """Find clusters of rows that are copies of each other in their inputs: exact (distance 0) or near (`influence.data.copies`).

    `rows`: digest of a table with cluster, role, id and label of every row that has a copy in any role. `clusters`: how many;
    `conflicting`: those with differing labels; `across`: those with training and other rows; `copied`: by role, how many rows copy a
    training row. `scores`: digest of what the finder `duplicates` takes. `searched` of `different` rows were looked at for near copies.

    Raises:
        BadInput: there is no such run, or the distance is none.
    """
    if not 0 <= distance <= 1:
        raise BadInput(f"A distance between copies lies from 0 to 1; got {distance:g}.")
    began = time.perf_counter()
    dataset = project.run(run).dataset
    found = None if again else kept(project, dataset, distance)
    if found is None:
        found = _found(project, project.dataset(dataset), distance)
        found |= {"distance": distance, "dataset": dataset, "computed": now()}
        with project.transaction():
            project.note(_name(dataset, distance), found)
            project.record(
                "duplicates",
                inputs={"dataset": dataset},
                settings={"distance": distance, "version": VERSION},
                outputs={"rows": found["rows"], "scores": found["scores"]},
                measures={name: found[name] for name in ("clusters", "conflicting", "across")},
                seconds=time.perf_counter() - began,
            )
    first = project.table(found["rows"])
    return {**found, "first": first[first["cluster"] < SHOWN].to_dict("records"), "seconds": time.perf_counter() - began}


def kept(project: Project, dataset: str, distance: float) -> dict[str, Any] | None:
    """Return what was found in a data set, or None; whoever deleted it gets it computed again."""
    found = project.noted(_name(dataset, distance))
    return found if found and all(project.objects.find(found[name]) for name in ("rows", "scores")) else None


def _name(dataset: str, distance: float) -> str:
    return f"duplicates/{dataset}/{short({'distance': distance})}/{VERSION}"


def _found(project: Project, data: Dataset, distance: float) -> dict[str, Any]:
    parts = [data.split(role) for role in ROLES]
    joined, own = copies(parts, distance), copies(parts[:1], distance).cluster
    table = pd.DataFrame(
        {
            "cluster": joined.cluster,
            "role": np.repeat(ROLES, [len(part) for part in parts]),
            "id": np.concatenate([part.ids for part in parts]),
            "label": np.concatenate([part.columns[data.target].astype(str) for part in parts]),
            "y": np.concatenate([part.y for part in parts]),
        }
    )
    inside = table[table["cluster"] >= 0]
    clash = conflicting(joined.cluster, table["y"].to_numpy()) if len(inside) else np.zeros(0, dtype=bool)
    roles = inside.groupby(["cluster", "role"]).size().unstack(fill_value=0).reindex(columns=list(ROLES), fill_value=0)
    both = (roles["train"] > 0) & (roles[["evaluation", "holdout"]].sum(axis=1) > 0)
    across = np.isin(joined.cluster[: len(parts[0])], both.index[both])
    inside = inside.assign(conflicting=clash[inside["cluster"]], across=both.reindex(inside["cluster"]).to_numpy())
    order = np.lexsort((inside["cluster"], ~inside["conflicting"], ~inside["across"]))
    listed = inside.iloc[order].drop(columns="y").reset_index(drop=True)
    listed["cluster"] = pd.factorize(listed["cluster"])[0]
    marked = Scores(np.stack([own, across], 1).astype(np.float64), parts[0].ids, LABELS, "duplicates", False)
    return {
        "rows": project.put_table(listed),
        "scores": project.put_scores(marked),
        "clusters": len(roles),
        "conflicting": int(clash.sum()),
        "across": int(both.sum()),
        "copied": {role: int(roles[role][both].sum()) for role in ("evaluation", "holdout")},
        "in_training": int((own >= 0).sum()),
        "n": {role: len(part) for role, part in zip(ROLES, parts, strict=True)},
        "different": joined.different,
        "searched": joined.searched,
    }
