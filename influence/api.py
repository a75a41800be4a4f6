"""The main job from Python, on the projects that commands and pages open: train or bring, ask, measure, preview, unlearn, verify, export.

    import influence

    project = influence.open("my-project")
    run = influence.train(project, "loans.csv", "decision", protected=["group"])["run"]
    scores = influence.attribute(project, "equal_opportunity_gap", group="group")
    worst = scores["id"].head(100)
    print(influence.preview(project, worst))
    made = influence.unlearn(project, worst)
    print(influence.verify(project, made["run"])["metrics"])
    influence.export_model(project, "without-them", made["run"])

Thin functions over `influence.actions`: plain dictionaries where little is told, pandas tables where much is. `report` hears progress.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from influence.actions import perform
from influence.actions.train import train as trained
from influence.data.schema import plain
from influence.digest import digest
from influence.files import write_table
from influence.store import Project
from influence.types import Report, ignore

Data: TypeAlias = str | Path | pd.DataFrame
OWN = tuple(name for name in signature(trained).parameters if name not in ("project", "data", "target", "set", "report"))
"""Arguments of training; all others are settings of the model and its recipe."""


def open(folder: str | Path) -> Project:
    """Open a project, or make one in a new or empty folder.

    Raises:
        BadInput: the folder holds other things, or cannot be written.
    """
    return Project(folder)


def train(project: Project, data: Data, target: str = "", *, report: Report = ignore, **given: Any) -> dict[str, Any]:
    """Train a model with a recipe that can be replayed; it becomes the project's newest run.

    `data`: a table, the path of one or of images, or "bundled:NAME". `given`: `protected`, `audit`, `drop` (lists of columns), `id` and
    `split` (columns), `positive` (the favourable class), `eval` (a second table), `model`, `preprocessing`, `exclude` (ids), `seed`,
    `name`; all else are settings of the model and of its training, for example `hidden=(32,)` or `epochs=5`.

    Returns `run`, `n_train`, `metrics` (holdout rows), `evaluation_metrics`, `predictions` (path), `notes`, `seconds`.

    Raises:
        BadInput: anything given cannot be used; nothing is written then.
    """
    args = {name: given.pop(name) for name in OWN if name in given}
    args |= {name: _path(project, args[name]) for name in ("eval",) if name in args}
    return perform("train", project, {"data": _path(project, data), "target": target, **args, "set": given}, report)


def import_model(
    project: Project, path: str | Path, data: Data, target: str = "", *, report: Report = ignore, **given: Any
) -> dict[str, Any]:
    """Bring a model that was trained elsewhere: a folder that `Recorder`, `save_sklearn` or `export_model` wrote, or weights.

    `data`: what it was trained on: a folder that `save_data` wrote, or as for `train`. `given`: further arguments of `import-model`.

    Returns `run`, `model`, `checks` (rows of check, verdict, found, mend), `metrics`, `evaluation_metrics`, `predictions`, `seconds`.

    Raises:
        BadInput: anything given cannot be used, or the model is seen to be another than was trained; nothing is written then.
    """
    return perform("import_model", project, {"path": str(path), "data": _path(project, data), "target": target, **given}, report)


def attribute(
    project: Project,
    query: str,
    *,
    run: str | None = None,
    method: str = "metagradient",
    settings: Mapping[str, Any] | None = None,
    again: bool = False,
    report: Report = ignore,
    **query_settings: Any,
) -> pd.DataFrame:
    """Score every training row for one question to the evaluation rows; kept in the project and found again, unless `again`.

    Returns a table with `id` and a column for each value of the question: the predicted change if the row is removed. The rows whose
    removal is predicted to move it most in its better direction (down, if it has none) come first. `.attrs` tells `better`, `calibrated`
    (in the question's own unit, or ranks only), `value` (now), `scores` (digest) and the rest of what `attribute --json` does.

    `method`, `settings`: how rows are scored. `query_settings`: of the question, for example `group="sex"`.

    Raises:
        BadInput: the question does not fit the data, or the method is not open to this model.
    """
    asked = {"query": query, "query_set": query_settings, "method": method, "set": dict(settings or {}), "run": run, "again": again}
    found = perform("attribute", project, asked, report)
    scores = project.scores(found["scores"])
    table = pd.DataFrame({"id": scores.ids, **{label: scores.values[:, k] for k, label in enumerate(scores.labels)}})
    table = table.sort_values(scores.labels[0], ascending=found["better"] != "higher", kind="stable", ignore_index=True)
    table.attrs = found
    return table


def fidelity(
    project: Project,
    query: str,
    *,
    run: str | None = None,
    method: str = "metagradient",
    settings: Mapping[str, Any] | None = None,
    fractions: Sequence[float] = (0.01,),
    subsets: int = 32,
    truth: Literal["same", "fresh"] = "same",
    report: Report = ignore,
    **query_settings: Any,
) -> pd.DataFrame:
    """Measure how true a method's scores are: retrain without random sets of rows, and compare. The retrained models are kept and reused.

    Returns a row per fraction of rows left out, with `lds` (rank correlation of predicted and real changes of the question's smooth form;
    `lds_measured`: as people read it), `slope` (real by predicted size, where scores have one; `slope_after`: calibrated), `noise_ceiling`
    (truth fresh: what chance leaves to reach), each with its 95 % interval in `_low` and `_high`, and `n`, the number of retrainings.

    `truth`: "same": the seed stays, so that nothing but the rows differs; "fresh": other seeds.

    Raises:
        BadInput: a number is out of range, or the method or retraining is not open to this model.
    """
    asked = {"query": query, "query_set": query_settings, "method": method, "set": dict(settings or {}), "run": run}
    found = perform("fidelity", project, {**asked, "fractions": list(fractions), "subsets": subsets, "truth": truth}, report)
    return pd.DataFrame(found["by_fraction"])


def find_mislabelled(
    project: Project, *, run: str | None = None, method: str = "out_of_sample", report: Report = ignore, **settings: Any
) -> pd.DataFrame:
    """Score the labels of all training rows, the likeliest wrong ones first: `id`, `given`, `suggested`, `score`; kept and found again.

    `method`, `settings`: which scores of labels. `.attrs` tells the rest of what `mislabelled --json` does.

    Raises:
        BadInput: the target is a number, or the method is not open to this model.
    """
    found = perform("mislabelled", project, {"run": run, "method": method, "set": settings}, report)
    table = project.table(found["table"]).reset_index(drop=True)
    table.attrs = found
    return table


def preview(
    project: Project, ids: Iterable[Any], *, run: str | None = None, group: str | None = None, report: Report = ignore
) -> pd.DataFrame:
    """Predict what removing rows would do to every standard metric, on the evaluation rows; nothing is changed.

    Returns one row per metric: `metric`, `now`, predicted `change` with its 95 % band `low` to `high`, `calibrated` (False: it ranks only),
    and `smooth_change`, `smooth_low`, `smooth_high`: the same of the smooth form that scores predict. Beyond the sizes at which retraining
    was tried there are no bands (NaN): `attrs["unbanded"]` says so in words, and is "" where there are bands.

    Raises:
        BadInput: an id is no training row's, or the model cannot be previewed.
    """
    told = perform("preview", project, {"ids": _ids(ids), "run": run, "group": group}, report)
    names = {"measured_before": "now", "measured_change": "change", "measured_low": "low", "measured_high": "high"}
    smooth = {"change": "smooth_change", "low": "smooth_low", "high": "smooth_high"}
    rows = [
        {"metric": e["measured_label"], **{new: e[old] for old, new in {**names, **smooth}.items()}, "calibrated": e["calibrated"]}
        for e in told["predicted"].values()
    ]
    table = pd.DataFrame(rows)
    table.attrs["unbanded"] = told["unbanded"]
    return table


def unlearn(
    project: Project,
    ids: Iterable[Any],
    method: str = "retrain",
    *,
    run: str | None = None,
    group: str | None = None,
    labels: Iterable[Any] | None = None,
    report: Report = ignore,
    **settings: Any,
) -> dict[str, Any]:
    """Make the model forget rows; a new run, beside the same model retrained without them.

    `labels`: new labels, one for each row or one for all: the rows stay, and what they were called before is forgotten.

    Returns `run`, `claim` (L1: approximate, L2: exact by construction, L3: certified), `claim_note`, `metrics`, `evaluation_metrics`,
    `seconds`, `retrain_seconds`, `retrained` (run of the retrained model), `n_removed`.

    Raises:
        BadInput: an id is no training row's, or the method is not open to this model.
    """
    return perform(
        "unlearn",
        project,
        {
            "ids": _ids(ids),
            "labels": None if labels is None else list(labels),
            "method": method,
            "run": run,
            "group": group,
            "set": settings,
        },
        report,
    )


def verify(project: Project, run: str | None = None, *, group: str | None = None, report: Report = ignore) -> dict[str, Any]:
    """See that the project's records and files are whole, to the byte, and compare an unlearned run with its model before and retrained.

    Returns `ok` and `findings` (sentences; none if the chain of records, runs and files holds), `records` (how many), `run`, `claim`; of an
    unlearned run also the tables `metrics`, `forgetting`, `flips` and `change` on the holdout, removed and evaluation rows.

    Raises:
        BadInput: there is no such run or group column.
    """
    it = project.run(run)
    compared = perform("compare", project, {"run": it.id, "group": group}, report)["tables"] if it.parent else {}
    findings = project.check(deep=True)
    tables = {name: project.table(found) for name, found in compared.items()}
    claim = it.body["claim"]
    return {"ok": not findings, "findings": findings, "records": len(project.records()), "run": it.id, "claim": claim, **tables}


def export_model(
    project: Project, out: str | Path, run: str | None = None, format: str = "safetensors", *, report: Report = ignore
) -> dict[str, Any]:
    """Write a model with a model card into the new folder `out`; `load_model` and `import_model` take it.

    `format`: "safetensors"; "pt2": with a graph that PyTorch runs alone; "record": with its training, to be followed.

    Returns `path`, `files` (name: SHA-256), `run`, `claim`, `removed` (rows that it does without).

    Raises:
        BadInput: `out` exists or cannot be written, or there is no such run or format.
    """
    return perform("export_model", project, {"out": str(out), "run": run, "format": format}, report)


def export_data(project: Project, out: str | Path, run: str | None = None, *, report: Report = ignore) -> dict[str, Any]:
    """Write the training rows that are left, and the removed ones with the reasons, into the new folder `out`.

    Returns `path`, `n_train`, `n_removed`, `run`.

    Raises:
        BadInput: no row was removed or selected, or `out` exists or cannot be written.
    """
    return perform("export_data", project, {"out": str(out), "run": run}, report)


def _path(project: Project, data: Data) -> str:
    """Return where data lie as an action takes them; a table is kept in the project, under its content."""
    if not isinstance(data, pd.DataFrame):
        return str(data)
    table = plain(data)
    path = project.path / "uploads" / digest({"table": table})[:16] / "table.parquet"
    return str(path if path.exists() else write_table(table, path))


def _ids(ids: Iterable[Any]) -> list[Any]:
    return [id.item() if isinstance(id, np.generic) else id for id in ids]
