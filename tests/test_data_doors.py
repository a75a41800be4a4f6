"""Tables through the action and the command: kinds, sheets and queries arrive, are recorded, and no credentials are kept."""

import sqlite3
from contextlib import closing

import numpy as np
import openpyxl
import pandas as pd
import pytest
from safetensors.torch import save_file
from typer.testing import CliRunner

from influence.__main__ import app
from influence.actions import perform
from influence.data.kinds import KINDS
from influence.data.readers import sql
from influence.errors import BadInput
from influence.store import Project

QUICK = {"epochs": 1}


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    made = pd.DataFrame(
        {"code": rng.integers(1, 5, 200), "size": rng.choice(["small", "large", "medium"], 200), "w": rng.uniform(1, 2, 200)}
    )
    return made.assign(y=np.where(made["code"] + rng.normal(size=200) > 2.5, "yes", "no"))


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "p")


def call(*args):
    return CliRunner().invoke(app, list(map(str, args)))


def test_kinds_are_recorded_and_used(project, frame, tmp_path):
    frame.to_csv(tmp_path / "t.csv", index=False)
    kinds = {"code": "category", "size": "ordered", "w": "weight"}
    result = perform("train", project, {"data": str(tmp_path / "t.csv"), "target": "y", "kinds": kinds, "set": QUICK})
    dataset = project.dataset(project.run(result["run"]).dataset)
    assert [entry["kind"] for entry in dataset.encoding["columns"]] == ["category", "ordered"]
    assert project.records()[-1].body["settings"]["kinds"] == kinds
    assert "neither inputs nor used in training: w" in result["notes"]


def test_the_command_takes_kinds(project, frame, tmp_path):
    frame.to_csv(tmp_path / "t.csv", index=False)
    usual = ("train", tmp_path / "t.csv", "--target", "y", "--project", project.path, "--set", "epochs=1")
    assert call(*usual, "--kind", "code=category", "--kind", "size=ordered:small,medium,large").exit_code == 0
    dataset = project.dataset(project.run().dataset)
    assert dataset.encoding["columns"][1]["levels"] == ["small", "medium", "large"]
    for wrong, message in (("code=nominal", "There is no kind 'nominal'"), ("code", "COL=KIND"), ("cod=flag", "Did you mean 'code'")):
        done = call(*usual, "--kind", wrong)
        assert done.exit_code == 2
        assert message in done.stderr


def test_the_help_names_every_kind():
    said = " ".join(call("train", "--help").output.split())
    assert ", ".join(KINDS) in said


def test_a_sheet_is_chosen_by_the_command(project, frame, tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["nothing"])
    sheet = book.create_sheet("Data")
    for row in (list(frame), *frame.to_numpy().tolist()):
        sheet.append(row)
    book.save(tmp_path / "t.xlsx")
    usual = ("train", tmp_path / "t.xlsx", "--target", "y", "--project", project.path, "--set", "epochs=1")
    assert call(*usual, "--sheet", "Data").exit_code == 0
    assert "Sheet 'Data' of 'Sheet', 'Data' was read." in project.dataset(project.run().dataset).notes
    done = call(*usual, "--sheet", "Dta")
    assert done.exit_code == 2
    assert "There are: 'Sheet', 'Data'" in done.stderr


def test_a_query_is_trained_on(project, frame, tmp_path):
    with sqlite3.connect(tmp_path / "t.db") as connection:
        frame.to_sql("people", connection, index=False)
    connection.close()
    url = f"sqlite:///{tmp_path / 't.db'}"
    done = call("train", url, "--sql", "SELECT * FROM people", "--target", "y", "--project", project.path, "--set", "epochs=1")
    assert done.exit_code == 0, done.output
    settings = project.records()[-1].body["settings"]
    assert (settings["data"], settings["sql"]) == (url, "SELECT * FROM people")
    assert project.run().name == "t"
    assert call("train", url, "--target", "y", "--project", project.path).exit_code == 2


def test_a_model_is_brought_with_a_sheet_or_a_query_as_it_was_trained(project, frame, tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["nothing"])
    sheet = book.create_sheet("Data")
    for row in (list(frame), *frame.to_numpy().tolist()):
        sheet.append(row)
    book.save(tmp_path / "t.xlsx")
    with closing(sqlite3.connect(tmp_path / "t.db")) as connection, connection:
        frame.to_sql("people", connection, index=False)
    url = f"sqlite:///{tmp_path / 't.db'}"
    usual = ("--target", "y", "--kind", "code=category", "--project", project.path)
    assert call("train", tmp_path / "t.xlsx", "--sheet", "Data", *usual, "--set", "epochs=1").exit_code == 0
    save_file(project.trained(project.run().id).final.load(), tmp_path / "w.safetensors")
    for data in ((tmp_path / "t.xlsx", "--sheet", "Data"), (url, "--sql", "SELECT * FROM people")):
        done = call("import-model", tmp_path / "w.safetensors", *data, *usual)
        assert done.exit_code == 0, done.output
        settings = project.records()[-1].body["settings"]
        assert (settings["data"], settings["sheet"] or settings["sql"]) == (str(data[0]), data[2])
        assert settings["kinds"] == {"code": "category"}


def test_credentials_are_kept_nowhere(project, frame, monkeypatch):
    secrets = ["hunter2", "somebody", "s3cr3t"]
    url = "postgresql+psycopg://somebody:hunter2@host:5432/base?password=s3cr3t"
    monkeypatch.setattr(sql, "read", lambda *given: frame)
    result = perform("train", project, {"data": url, "sql": "SELECT 1", "target": "y", "set": QUICK})
    assert project.run(result["run"]).body["source"]["data"] == "postgresql+psycopg://host:5432/base"
    save_file(project.trained(result["run"]).final.load(), project.path.parent / "w.safetensors")
    weights = str(project.path.parent / "w.safetensors")
    result |= perform("import_model", project, {"path": weights, "data": url, "sql": "SELECT 1", "target": "y"})
    assert project.run(result["run"]).body["source"]["data"] == "postgresql+psycopg://host:5432/base"
    kept = [file.read_bytes() for file in project.path.rglob("*") if file.is_file()]
    assert any(b"postgresql+psycopg://host:5432/base" in content for content in kept)
    assert not [secret for secret in secrets for content in kept if secret.encode() in content]
    assert not [secret for secret in secrets if secret in repr(result)]


def test_a_refused_table_leaves_the_project_as_it_was(project, tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\x80\x04K\x01.")
    before = sorted(map(str, project.path.rglob("*")))
    with pytest.raises(BadInput, match="pickle"):
        perform("train", project, {"data": str(tmp_path / "t.csv"), "target": "y"})
    assert sorted(map(str, project.path.rglob("*"))) == before
