"""Of what was written for others: a model, a run, scores and data."""

from __future__ import annotations

from influence.actions._requests import requests
from influence.evidence import words
from influence.readable._shared import Result, says, table
from influence.store import Project


@says
def export_model(project: Project, result: Result) -> list[str]:
    """The files written, with their digests."""
    claim = words.claim(result["claim"], requests(project, project.run(result["run"])))
    level = result["claim"] if result["claim"] == claim.name.lower() else f"{result['claim']} ({claim.name.lower()})"
    without = f"without {words.count(result['removed'], 'row')}, " if result["removed"] else ""
    return [
        f"Run {result['run']} is written, {without}claim {level}: {result['path']}",
        *table("<<", ("file", "SHA-256"), list(result["files"].items())),
        "README.md tells what it is and what may be claimed of it; import-model brings it again.",
    ]


@says
def export_run(project: Project, result: Result) -> list[str]:
    """Where the run is, and how much of it."""
    what = f"{words.count(result['metrics'], 'figure')}, {words.count(result['params'], 'setting')} and the model with its card"
    return [f"Run {result['run']} is in {result['store']}, experiment {result['experiment']}, as {result['mlflow_run']}: {what}."]


@says
def export_scores(project: Project, result: Result) -> list[str]:
    """The file written, and its questions."""
    return [f"{words.count(result['n'], 'row')} of run {result['run']}, scored for {', '.join(result['columns'])}: {result['path']}"]


@says
def export_data(project: Project, result: Result) -> list[str]:
    """The files written, and how many rows are left."""
    left, gone = words.count(result["n_train"], "training row"), words.count(result["n_removed"], "removed row")
    more = f", {words.count(result['n_relabelled'], 'corrected label')} in relabelled.csv" if result.get("n_relabelled") else ""
    return [f"{left} in train.parquet and train.csv, {gone} with the reasons in removed.csv{more}: {result['path']}"]
