"""Runs to MLflow: read back through its own library they are what the project knows; what cannot be written leaves nothing behind."""

from __future__ import annotations

import builtins
import importlib
import os
import warnings

import pytest
import torch

from influence.actions import perform
from influence.errors import BadInput
from influence.exchange import tracking
from influence.exchange.tracking import address
from influence.store import Project
from tests.test_export import people

pytest.importorskip("mlflow", exc_type=ImportError)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with a run and one without three rows, both in a store in a folder."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tracking")
    people(600).drop(columns="price").to_csv(folder / "people.csv", index=False)
    project = Project(folder / "project")
    args = {"data": str(folder / "people.csv"), "target": "grade", "protected": ["sex"], "drop": ["name", "note"], "model": "logistic"}
    first = perform("train", project, {**args, "set": {"epochs": 3}})["run"]
    ids = project.dataset(project.run(first).dataset).train.ids[:3].tolist()
    second = perform("unlearn", project, {"run": first, "ids": ids, "method": "finetune"})["run"]
    results = [perform("export_run", project, {"store": str(folder / "store"), "run": run}) for run in (first, second)]
    return folder, project, results


@pytest.fixture(scope="module")
def client(made):
    folder, _, _ = made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow = importlib.import_module("mlflow")
        return mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'store' / 'mlflow.db'}")


def test_what_is_read_back_is_what_the_project_knows(made, client):
    _, project, results = made
    for result in results:
        run, kept = project.run(result["run"]), client.get_run(result["mlflow_run"])
        accuracy = run.body["metrics"]["intervals"]["accuracy"]
        for name, part in (("", "value"), (".low", "low"), (".high", "high"), (".n", "n")):
            assert kept.data.metrics[f"holdout/accuracy{name}"] == pytest.approx(accuracy[part])
        assert kept.info.status == "FINISHED"
        assert kept.data.params["model"] == "logistic"
        assert kept.data.params["recipe.epochs"] == "3" or run.kind == "unlearn"
        assert kept.data.tags["lethe.run"] == run.id
        assert kept.data.tags["lethe.claim"] == run.body["claim"]
        assert kept.data.tags["lethe.data_digest"] == run.dataset
        assert len(kept.data.metrics) == result["metrics"]
        assert len(kept.data.params) == result["params"]
    assert any("by sex" in name for name in kept.data.metrics)
    assert (kept.data.tags["lethe.removed"], kept.data.metrics["removed"], kept.data.tags["lethe.claim"]) == ("3", 3.0, "L1")
    assert kept.data.params["method"] == "finetune"
    assert kept.data.tags["lethe.parent"] == results[0]["run"]


def test_its_files_are_the_model_with_its_card(made, client, tmp_path):
    folder, project, results = made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = client.download_artifacts(results[0]["mlflow_run"], "model", str(tmp_path))
    assert sorted(os.listdir(path)) == ["README.md", "model.json", "model.safetensors", "probe.npz"]
    back = perform("import_model", Project(tmp_path / "p"), {"path": path, "data": str(folder / "people.csv")})
    assert back["metrics"]["accuracy"] == project.run(results[0]["run"]).body["metrics"]["accuracy"]
    card = (tmp_path / "model" / "README.md").read_text()
    assert client.get_run(results[0]["mlflow_run"]).data.tags["mlflow.note.content"] == card


def test_the_ledger_says_so_and_a_second_time_is_refused(made):
    folder, project, results = made
    record = [r for r in project.records() if r.kind == "export_run"][-1]
    assert record.body["settings"]["store"] == str(folder / "store")
    assert record.body["measures"]["mlflow_run"] == results[1]["mlflow_run"]
    with pytest.raises(BadInput, match=f"is in this experiment already, as {results[1]['mlflow_run']}"):
        perform("export_run", project, {"store": str(folder / "store"), "run": results[1]["run"]})
    other = perform("export_run", project, {"store": str(folder / "store"), "run": results[1]["run"], "experiment": "another"})
    assert other["experiment"] == "another"


def test_a_run_that_cannot_be_finished_is_deleted_again(made, client, monkeypatch):
    folder, project, results = made
    mlflow = importlib.import_module("mlflow")
    monkeypatch.setattr(mlflow.MlflowClient, "log_artifacts", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(BadInput, match=r"could not be written to .*disk full"):
        perform("export_run", project, {"store": str(folder / "store"), "run": results[0]["run"], "experiment": "half"})
    where = client.get_experiment_by_name("half").experiment_id
    assert not client.search_runs([where])


def test_nothing_is_set_or_sent_beyond_the_call(made):
    assert not [name for name in tracking.QUIET if name in os.environ]


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("", "is no store"), ("foo://x", "is no store"), ("sqlite://", "is no store"), ("sqlite:///", "is no store"),
        ("databricks://x", "is no store"), ("https://me:secret@host", "MLFLOW_TRACKING_USERNAME"),
        ("http://127.0.0.1:9", r"could not be written to http://127\.0\.0\.1:9"), ("/proc/none", "could not be written to /proc/none"),
    ],
)  # fmt: skip
def test_stores_that_cannot_be_used_are_refused_in_a_sentence(made, monkeypatch, store, said):
    _, project, results = made
    monkeypatch.setitem(tracking.QUIET, "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    before = len([r for r in project.records() if r.kind == "export_run"])
    with pytest.raises(BadInput, match=said) as error:
        perform("export_run", project, {"store": store, "run": results[0]["run"]})
    assert "secret" not in str(error.value)
    assert len([r for r in project.records() if r.kind == "export_run"]) == before


def test_addresses():
    assert address("http://host:5000") == "http://host:5000"
    assert address("sqlite:///a/b.db") == "sqlite:///a/b.db"
    assert address("/a/b") == "sqlite:////a/b/mlflow.db"


def test_without_the_library_one_sentence_says_how_to_get_it(made, monkeypatch):
    _, project, results = made
    real = builtins.__import__
    monkeypatch.setattr(tracking, "import_module", lambda name: real("no_such_library_here"))
    with pytest.raises(
        BadInput, match=r"not installed here \(no_such_library_here\)\. Install it with: pip install -r requirements-mlflow.txt"
    ):
        perform("export_run", project, {"store": "/tmp/never", "run": results[0]["run"]})
