"""The door to MLflow (https://mlflow.org, Apache License 2.0): a run of any project as a run in a tracking store.

The library is imported when it is needed, not before, and is told to send nothing of its own anywhere.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from influence.errors import BadInput

INSTALL = "Install it with: pip install -r requirements-mlflow.txt"
STORES = "Give a folder, sqlite:///FILE or http(s)://SERVER."
DATABASE, ARTIFACTS = "mlflow.db", "artifacts"
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""What the library does as long as it works here, unless somebody set it otherwise: tells nobody, and does not try for minutes."""
MOST_VALUE, MOST_AT_ONCE = 500, 100
RUN = "lethe.run"
"""Tag by which a run is known in a store."""


@dataclass(frozen=True)
class Logged:
    """A run as MLflow keeps one. `began`, `ended`: milliseconds since 1970, UTC."""

    name: str
    began: int
    ended: int
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


def address(store: str) -> str:
    """Return a store's address: an SQLite file in it, if it is a folder.

    Raises:
        BadInput: it is of another kind, or holds a password, which records would keep.
    """
    parts = urlsplit(store)
    if parts.scheme in ("http", "https"):
        if "@" in parts.netloc:
            raise BadInput("Give user and password as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, not in the address.")
        return store
    if "://" not in store and store:
        return f"sqlite:///{Path(store).expanduser().absolute() / DATABASE}"
    if not store.startswith("sqlite:///") or len(store) == len("sqlite:///"):
        raise BadInput(f"{store[:80]!r} is no store that runs are written to. {STORES}")
    return store


def write(store: str, experiment: str, logged: Logged, folder: Path) -> str:
    """Write a run with the files of a folder, whole or not at all; return its id in the store.

    Raises:
        BadInput: the library is not installed, the run is there already, or the store cannot be reached or written.
    """
    uri = address(store)
    with _library() as mlflow:
        try:
            if uri.startswith("sqlite:///"):
                Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            client = mlflow.MlflowClient(tracking_uri=uri)
            where = _experiment(client, uri, experiment)
            _refuse_twice(client, where, logged.tags[RUN])
            return _written(mlflow, client, where, logged, folder)
        except BadInput:
            raise
        except Exception as error:  # whatever the library, its database and the network bring about
            said = " ".join(str(error).split())[:160]
            raise BadInput(f"The run could not be written to {store}: {said}. {STORES}") from None


@contextmanager
def _library() -> Iterator[Any]:
    """Lend out the library, quiet.

    Raises:
        BadInput: it is not installed.
    """
    before = dict(os.environ)
    os.environ.update({name: value for name, value in QUIET.items() if name not in before})
    levels = {name: logging.getLogger(name).level for name in ("mlflow", "alembic")}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's own, of what it and SQLAlchemy will change
            try:
                mlflow, _ = import_module("mlflow"), import_module("alembic")
            except ImportError as error:
                raise BadInput(
                    f"Runs are written to MLflow by its library, which is not installed here ({error.name}). {INSTALL}"
                ) from None
            for name in levels:
                logging.getLogger(name).setLevel(logging.ERROR)
            yield mlflow
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name in QUIET:
            if name not in before:
                os.environ.pop(name, None)


def _experiment(client: Any, uri: str, name: str) -> str:
    """Return the id of an experiment, which is made if it is not there; its files lie beside a database of this machine."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    beside = Path(uri.removeprefix("sqlite:///")).absolute().parent / ARTIFACTS
    return str(client.create_experiment(name, artifact_location=beside.as_uri() if uri.startswith("sqlite:") else None))


def _refuse_twice(client: Any, where: str, run: str) -> None:
    """See that a run is not there already.

    Raises:
        BadInput: it is.
    """
    found = client.search_runs([where], filter_string=f"tags.`{RUN}` = '{run}'", max_results=1)
    if found:
        raise BadInput(f"Run {run} is in this experiment already, as {found[0].info.run_id}. Delete it there, or name another experiment.")


def _written(mlflow: Any, client: Any, where: str, logged: Logged, folder: Path) -> str:
    """Write what is logged, settings and figures in batches; a run that could not be finished is deleted again."""
    kinds = mlflow.entities
    run = client.create_run(where, start_time=logged.began, run_name=logged.name, tags=dict(logged.tags))
    id = str(run.info.run_id)
    try:
        metrics = [kinds.Metric(_key(name), float(value), logged.ended, 0) for name, value in logged.metrics.items()]
        params = [kinds.Param(_key(name), value[:MOST_VALUE]) for name, value in logged.params.items()]
        for start in range(0, max(len(metrics), len(params)), MOST_AT_ONCE):
            part = slice(start, start + MOST_AT_ONCE)
            client.log_batch(id, metrics=metrics[part], params=params[part])
        client.log_artifacts(id, str(folder), "model")
        client.set_terminated(id, "FINISHED", end_time=logged.ended)
    except BaseException:
        with suppress(Exception):
            client.delete_run(id)
        raise
    return id


def _key(name: str) -> str:
    """Return a name as MLflow allows one: letters, digits, _ - . : / and spaces."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:250]
