"""Write a trained model and its figures into the project as a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from influence import grads, training
from influence.actions._measures import predictions, summary, tables
from influence.data.dataset import ROLES, Dataset
from influence.loop import threads
from influence.registry import described
from influence.store import Project
from influence.types import Trained


def new_run(
    project: Project,
    kind: str,
    dataset: Dataset,
    trained: Trained,
    *,
    settings: Mapping[str, Any],
    extra: Mapping[str, Any],
    seconds: float,
    parent: str | None = None,
    name: str = "",
    notes: Callable[[str], Mapping[str, Any]] = lambda run: {},
) -> tuple[str, dict[str, Any]]:
    """Measure the model on every role, store it all, and add run, record and the `notes` of the run's id together.

    Returns the run's id and its body.
    """
    bound = training.load(trained)
    with threads(trained.recipe.threads if trained.recipe else 1):
        logits = {role: grads.outputs(bound, dataset.split(role)).numpy() for role in ROLES}
    figures = {role: tables(logits[role], dataset, role) for role in ROLES[1:]}
    body = {
        **project.put_trained(trained),
        "predictions": project.put_table(predictions(dataset, logits)),
        "metrics": summary(*figures["holdout"]),
        "evaluation_metrics": summary(*figures["evaluation"]),
        "utility": project.put_table(figures["evaluation"][0]),
        "audit": {group: project.put_table(table) for group, table in figures["evaluation"][1].items()},
        "n": {role: len(dataset.split(role)) for role in logits},
        "seconds": seconds,
        **extra,
    }
    digest = project.put_dataset(dataset)
    with project.transaction():
        project.put_trained(trained)  # again: a state that was kept on another run's way could have been deleted there meanwhile
        run = project.add_run(kind, digest, body, parent=parent, name=name or dataset.name)
        project.record(
            kind,
            inputs={"dataset": digest, "parent": parent, "model": described(trained.model)},
            settings=dict(settings),
            outputs={"run": run.id, "weights": body["checkpoints"][-1]["digest"], "predictions": body["predictions"]},
            measures={"holdout": {k: v for k, v in body["metrics"].items() if k not in ("groups", "gaps", "intervals")}},
            seconds=seconds,
        )
        for key, value in notes(run.id).items():
            project.note(key, value)
    return run.id, body
