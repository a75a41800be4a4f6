"""Score every training row for how likely its label is wrong. No PyTorch at import: pages ask `kept`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from influence.actions._scored import Described, short
from influence.errors import BadInput
from influence.registry import described, finders
from influence.registry import mislabelled as scores_of_labels
from influence.store import Project
from influence.store.catalogue import now
from influence.types import Report, Selection, ignore

if TYPE_CHECKING:
    from influence.actions._opened import Opened

DEFAULT = "out_of_sample"
"""Chosen on Fashion-MNIST: docs/decisions/007-wrong-labels.md."""
SHOWN = 20


def mislabelled(
    project: Project,
    run: str | None = None,
    method: str = DEFAULT,
    set: Mapping[str, Any] | None = None,
    again: bool = False,
    report: Report = ignore,
) -> dict[str, Any]:
    """Score the labels of all rows that training saw, the likeliest wrong ones highest; they stay in the project, and are found again.

    `table`: digest of a table with id, given, suggested and score, the most suspicious row first; `first`: the first ids. `found`: whether
    they were kept. `again`: compute them in any case.

    Raises:
        BadInput: the target is a number, or the method is not open to this model (the sentence says how to make it so).
    """
    from influence.actions._opened import opened

    began = time.perf_counter()
    it, scorer = opened(project, run), scores_of_labels.make(method, set)
    found = None if again else kept(project, it.run.id, described(scorer))
    result = {**(found or _computed(it, scorer, report, again)), "found": found is not None}
    return {**result, "first": project.table(result["table"])["id"].head(SHOWN).tolist(), "seconds": time.perf_counter() - began}


def kept(project: Project, run: str, method: Described) -> dict[str, Any] | None:
    """Return what was found for a run by a method, or None; whoever deleted the scores gets them computed again."""
    found = project.noted(f"mislabelled/{run}/{short(method)}")
    return found if found and all(project.objects.find(found[name]) for name in ("scores", "table")) else None


def _computed(it: Opened, scorer: Any, report: Report, again: bool) -> dict[str, Any]:
    from influence.workspace import Workspace

    began = time.perf_counter()
    train, workspace = it.dataset.train.take(it.seen), Workspace() if again else it.workspace
    scores = scorer(it.trained, train, report, workspace)
    suggested = scorer.labels(it.trained, train, workspace=workspace)
    names, order = np.array(train.classes, dtype=object), np.argsort(-scores.column(), kind="stable")
    table = pd.DataFrame({"id": train.ids, "given": names[train.y], "suggested": names[suggested], "score": scores.column()}).iloc[order]
    found = {
        "scores": it.project.put_scores(scores),
        "table": it.project.put_table(table.reset_index(drop=True)),
        "label": scores.labels[0],
        "better": "higher",
        "n": len(train),
        "differ": int((suggested != train.y).sum()),
        "run": it.run.id,
        "method": described(scorer),
        "computed": now(),
    }
    with it.project.transaction():
        it.project.note(f"mislabelled/{it.run.id}/{short(found['method'])}", found)
        it.project.record(
            "mislabelled",
            inputs={"run": it.run.id, "dataset": it.run.dataset},
            settings={"method": found["method"]},
            outputs={"scores": found["scores"], "table": found["table"]},
            measures={"n": found["n"], "differ": found["differ"]},
            seconds=time.perf_counter() - began,
        )
    return found


def correctable(table: pd.DataFrame, k: int) -> int:
    """Return for how many of the first k rows another label than the given one is suggested."""
    return int((table["suggested"] != table["given"]).head(k).sum())


def correction(project: Project, found: Mapping[str, Any], k: int) -> Selection:
    """Return those of the k likeliest wrong rows for which another label is suggested, to be given that.

    Raises:
        BadInput: there are fewer rows than k, or for none of these another label is suggested.
    """
    table = project.table(found["table"]).head(k)
    table = table[table["suggested"] != table["given"]]
    if not len(table):
        raise BadInput(f"For none of these {k:,} rows another label is suggested. Look at more rows.")
    reason = first(project, found, k).reason
    words = f"{reason['words']}, where another label is suggested"
    return Selection(tuple(table["id"].tolist()), "relabel", {**reason, "words": words}, tuple(table["suggested"].tolist()))


def first(project: Project, found: Mapping[str, Any], k: int) -> Selection:
    """Return the k rows whose labels are likeliest wrong, with a reason that says so.

    Raises:
        BadInput: there are fewer rows than k.
    """
    dataset, scores = project.run(found["run"]).dataset, project.scores(found["scores"])
    rows = finders.make("top_k", {"k": k, "label": found["label"], "better": found["better"]})(scores, project.dataset(dataset).train)
    many = "row whose label is" if k == 1 else f"{k:,} rows whose labels are"
    words = f"the {many} likeliest wrong by the score “{scores.method.replace('_', ' ')}”"
    return Selection(rows.ids, rows.action, {**rows.reason, "scores": found["scores"], "dataset": dataset, "words": words})
