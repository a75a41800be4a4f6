"""Turn a trace round: which predictions does one training row sway most? No PyTorch at import: pages ask `kept`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from influence.actions._scored import short
from influence.actions.trace import told_first
from influence.errors import BadInput
from influence.store import Project
from influence.store.catalogue import now
from influence.types import Report, Scores, ignore

VERSION = 1
"""Of what is computed: older results are not found again."""


def swayed(project: Project, row: str, run: str | None = None, again: bool = False, report: Report = ignore) -> dict[str, Any]:
    """Rank the evaluation rows by what removing one training row does to what the model says of them.

    `scores`: digest of scores over the evaluation rows, of the log-odds of the class that the model says of each (of a number: the
    number). By TracIn, along all kept checkpoints: good for ranking only. `lowered`, `raised`: the first of each side, by size.
    `unseen`: the model was made without this row, so it sways nothing.

    Raises:
        BadInput: there is no such run or training row, or the rows of a batch are not independent.
    """
    from influence.actions._opened import opened

    began = time.perf_counter()
    it = opened(project, run)
    train = it.dataset.train
    if not (there := train.ids.astype(str) == str(row)).any():
        raise BadInput(f"There is no training row with id {str(row)!r}; their ids are like {', '.join(map(str, train.ids[:3]))}.")
    found = None if again else kept(project, it.run.id, str(row))
    if found is None:
        scores = _scores(it, there, report)
        unseen = not bool(it.seen[there][0])
        found = {"scores": project.put_scores(scores), "row": str(row), "run": it.run.id, "n": len(scores.ids), "unseen": unseen,
                 "method": "tracin", "label": scores.labels[0], "computed": now()}  # fmt: skip
        with project.transaction():
            project.note(_name(it.run.id, str(row)), found)
            project.record(
                "swayed",
                inputs={"run": it.run.id, "dataset": it.run.dataset, "row": str(row)},
                settings={"method": "tracin", "version": VERSION},
                outputs={"scores": found["scores"]},
                measures={},
                seconds=time.perf_counter() - began,
            )
    scores = project.scores(found["scores"])
    first = {name: told_first(scores, side) for name, side in (("lowered", "proponents"), ("raised", "opponents"))}
    return {**found, **first, "seconds": time.perf_counter() - began}


def kept(project: Project, run: str, row: str) -> dict[str, Any] | None:
    """Return what was found for a training row, or None; whoever deleted the scores gets them computed again."""
    found = project.noted(_name(run, row))
    return found if found and project.objects.find(found["scores"]) else None


def _name(run: str, row: str) -> str:
    return f"swayed/{run}/{short({'row': row})}/{VERSION}"


def _scores(it: Any, there: np.ndarray, report: Report) -> Scores:
    from influence.attribution.tracin import swayed as products
    from influence.queries._groups import log_odds

    evaluation = it.dataset.evaluation
    said = it.outputs("evaluation").argmax(1).cpu()
    value = (lambda z: log_odds(z, said)) if evaluation.classes else (lambda z: z[:, 0])
    label = "log-odds of the predicted class" if evaluation.classes else "predicted number"
    found = products(it.trained, it.dataset.train.take(there), evaluation, value, report, it.workspace.memory)
    return Scores(found[:, None], evaluation.ids, (label,), "tracin", False)
