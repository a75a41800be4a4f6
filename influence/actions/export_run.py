"""Write a run to an MLflow tracking store: its settings, figures with intervals, claim, model card and weights."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from influence.actions._opened import Opened, opened
from influence.actions.export_model import CARD, FORMATS, fill
from influence.errors import BadInput
from influence.exchange.exported import TOLD
from influence.exchange.tracking import RUN, Logged, address, write
from influence.registry import described
from influence.store import Project
from influence.types import Event, Report, ignore

LONG = 500
"""Characters of a setting that is told in full; the files beside it have longer ones."""
PARTS = ("low", "high", "n")


def export_run(project: Project, store: str, run: str | None = None, experiment: str = "", report: Report = ignore) -> dict[str, Any]:
    """Write a run to `store` (a folder, sqlite:///FILE, or http(s)://SERVER) as a run of `experiment` (default: the name of the data).

    Parameters are the settings of model, recipe and unlearning; metrics the figures on holdout and evaluation rows, each with `.low` and
    `.high` (95 %) and `.n`; tags the claim, the data's digest and the record; files what `export_model` writes, the model card among them.

    Returns `store`, `experiment`, `mlflow_run` (its id there), `run`, `claim`, `removed`, `params` and `metrics` (how many).

    Raises:
        BadInput: there is no such run, MLflow is not installed, the store cannot be written, or the run is in it already.
    """
    began = time.perf_counter()
    where, it = address(store), opened(project, run)
    name = experiment or it.dataset.name
    if not name.strip():
        raise BadInput("The data have no name that the experiment could have. Name it: --experiment NAME.")
    with tempfile.TemporaryDirectory() as half:
        folder = Path(half)
        files = fill(it, folder, FORMATS[0], lambda event: report(replace(event, total=4)))
        report(Event("export", 3, 4, note="Writing to MLflow"))
        logged = _logged(it, (folder / CARD).read_text(encoding="utf-8"))
        made = write(store, name, logged, folder)
    report(Event("export", 4, 4))
    told = where if where == store else str(Path(store).expanduser().absolute())
    project.record(
        "export_run",
        inputs={"run": it.run.id},
        settings={"store": told, "experiment": name},
        measures={"mlflow_run": made, "files": files},
        seconds=time.perf_counter() - began,
    )
    counts = {"params": len(logged.params), "metrics": len(logged.metrics)}
    claim, removed = it.run.body["claim"], len(it.trained.removed)
    return {"store": told, "experiment": name, "mlflow_run": made, "run": it.run.id, "claim": claim, "removed": removed, **counts}


def _logged(it: Opened, card: str) -> Logged:
    run, body = it.run, it.run.body
    began = int(datetime.fromisoformat(run.created).astimezone(UTC).timestamp() * 1000)
    params = {**_settings("model", described(it.trained.model)), **_settings("method", body.get("method", {}))}
    if it.trained.recipe is not None:
        params |= _settings("recipe", {"given": it.trained.recipe.given})
    metrics = dict(_figures("holdout", body["metrics"])) | dict(_figures("evaluation", body["evaluation_metrics"]))
    metrics |= {"removed": float(len(it.trained.removed)), "seconds": float(body["seconds"])}
    tags = {
        RUN: run.id, "lethe.kind": run.kind, "lethe.claim": body["claim"], "lethe.claim_note": body.get("claim_note", ""),
        "lethe.data": it.dataset.name, "lethe.data_digest": run.dataset, "lethe.removed": str(len(it.trained.removed)),
        "lethe.weights": it.trained.final.digest, "lethe.parent": run.parent or "", "mlflow.note.content": card,
    }  # fmt: skip
    return Logged(run.name or run.id, began, began + int(1000 * body["seconds"]), params, metrics, {k: v for k, v in tags.items() if v})


def _settings(kind: str, of: Mapping[str, Any]) -> dict[str, str]:
    """Return settings as text, `kind` itself by name; of a long one only where it stands."""
    found = {kind: str(of["name"])} if "name" in of else {}
    for name, value in of.get("given", {}).items():
        text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        found[f"{kind}.{name}"] = text if len(text) <= LONG else f"{len(text):,} characters, in {TOLD}"
    return found


def _figures(role: str, measured: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield every figure with its interval and n: of all rows, of gaps, and of each group."""
    named = {name: figure for name, figure in measured["intervals"].items()}
    for column, gaps in measured["gaps"].items():
        named |= {f"{name} by {column}": figure for name, figure in gaps.items()}
    for column, groups in measured["groups"].items():
        named |= {f"{name} of {column} {group}": figure for group, figures in groups.items() for name, figure in figures.items()}
    for name, figure in named.items():
        label = f"{role}/{name.replace('/', '_')}"
        if figure["value"] is not None:
            yield label, figure["value"]
            yield from ((f"{label}.{part}", float(figure[part])) for part in PARTS if figure[part] is not None)
