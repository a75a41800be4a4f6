"""The ledger: any change of what was recorded shows, and writers in many processes make one chain."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from influence.store import Project
from influence.store.ledger import GENESIS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def project(tmp_path) -> Project:
    """Three records; the second has a run with weights, the third scores."""
    project = Project(tmp_path / "p")
    project.record("load", inputs={"path": "a.csv"}, seconds=0.5)
    weights = project.put_state({"w": torch.ones(2)})
    data = project.put_json({"objects": {"y": project.put_array(np.arange(4))}})
    with project.transaction():
        run = project.add_run("train", data, {"checkpoints": [{"digest": weights, "step": 1, "lr": 0.1}], "trajectory": None})
        project.record("train", settings={"seed": 3}, outputs={"run": run.id, "weights": weights}, measures={"accuracy": 0.9})
    project.record("attribute", outputs={"scores": project.put_json({"objects": {"values": project.put_array(np.eye(2))}})})
    return project


def edit(project: Project, *commands: str) -> None:
    """Change the catalogue behind the project's back, as somebody would who has the file."""
    with closing(sqlite3.connect(project.path / "catalogue.sqlite")) as catalogue, catalogue:
        for command in ("DROP TRIGGER record_no_update", "DROP TRIGGER record_no_delete", *commands):
            catalogue.execute(command)


def test_records_say_what_was_done_with_what(project):
    first, second, third = project.records()
    assert (first.kind, second.kind, third.kind) == ("load", "train", "attribute")
    assert (first.prev, second.prev, third.prev) == (GENESIS, first.hash, second.hash)
    body = second.body
    assert (body["settings"], body["measures"], body["inputs"]) == ({"seed": 3}, {"accuracy": 0.9}, {})
    assert list(body["runs"]) == [project.run().id]
    assert set(body["environment"]) == {"lethe", "python", "torch", "numpy", "pandas", "platform", "cpu"}
    assert all(body["environment"].values())
    assert second.created.endswith("+00:00")
    assert project.check(deep=True) == []


def test_the_chain_can_be_checked_without_our_code(project):
    prev = "0" * 64
    with closing(sqlite3.connect(project.path / "catalogue.sqlite")) as catalogue:
        for body, kept, own in catalogue.execute("SELECT body, prev, hash FROM record ORDER BY seq"):
            assert kept == prev
            assert own == hashlib.sha256((prev + body).encode()).hexdigest()
            assert body == json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            prev = own


@pytest.mark.parametrize("command", ["UPDATE record SET kind = 'x'", "DELETE FROM record WHERE seq = 1"])
def test_records_cannot_be_changed(project, command):
    with (
        closing(sqlite3.connect(project.path / "catalogue.sqlite")) as catalogue,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        catalogue.execute(command)
    assert project.check() == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("UPDATE record SET body = replace(body, '0.9', '0.99') WHERE seq = 2", "Record 2: its content was changed"),
        ("UPDATE record SET body = 'no json' WHERE seq = 2", "Record 2: its content was changed"),
        ("UPDATE record SET kind = 'import' WHERE seq = 2", "Record 2: its number, kind or time was changed"),
        ("UPDATE record SET created = '2001-01-01T00:00:00+00:00' WHERE seq = 3", "Record 3: its number, kind or time was changed"),
        ("DELETE FROM record WHERE seq = 2", "Record 3: it does not follow"),
        ("DELETE FROM record WHERE seq = 1", "Record 2: its number should be 1"),
        ("UPDATE record SET prev = hash WHERE seq = 3", "Record 3: it does not follow"),
        ("UPDATE run SET body = replace(body, '0.1', '0.2')", "was changed"),
        ("DELETE FROM run", "is gone"),
    ],
)
def test_tampering_shows(project, command, said):
    edit(project, command)
    assert any(said in finding for finding in project.check()), project.check()


def test_a_rewritten_record_breaks_the_chain_after_it(project):
    record = project.records()[1]
    body = json.dumps({**record.body, "measures": {"accuracy": 1.0}}, sort_keys=True, separators=(",", ":"))
    forged = hashlib.sha256((record.prev + body).encode()).hexdigest()
    edit(project, f"UPDATE record SET body = '{body}', hash = '{forged}' WHERE seq = 2")
    assert project.check() == ["Record 3: it does not follow the record before it."]


def test_lost_and_changed_objects_show(project):
    assert project.check(deep=True) == []
    for path in sorted((project.path / "objects").rglob("*.*")):
        whole = path.read_bytes()
        path.write_bytes(whole.replace(whole[-1:], bytes([whole[-1] ^ 1])))
        assert any("was changed" in finding for finding in project.check(deep=True)), path
        path.unlink()
        assert any("is gone" in finding for finding in project.check()), path
        path.write_bytes(whole)
    assert project.check(deep=True) == []


def test_writers_in_many_processes_make_one_chain(project):
    code = """
import sys
from influence.store import Project
project = Project(sys.argv[1])
for i in range(25):
    project.record("count", settings={"writer": sys.argv[2], "i": i})
"""
    started = [subprocess.Popen([sys.executable, "-c", code, project.path, str(i)], cwd=ROOT) for i in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    records = project.records()
    assert len(records) == 3 + 75
    assert project.check() == []
    for writer in "012":
        assert [r.body["settings"]["i"] for r in records[3:] if r.body["settings"]["writer"] == writer] == list(range(25))
