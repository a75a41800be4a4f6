"""The commands: one JSON object on standard output, exit code 0; or 2 with one clear line, and the project as it was."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from influence.__main__ import app

ROOT = Path(__file__).resolve().parents[1]
GAP = ["--query", "equal_opportunity_gap", "--query-set", "group=group"]


def good(n: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"age": rng.integers(18, 80, n), "income": rng.normal(size=n), "group": rng.choice(["A", "B"], n)})
    return frame.assign(label=np.where(frame["income"] + rng.normal(size=n) > 0, "yes", "no"))


def call(*args: str):
    return CliRunner().invoke(app, list(args))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    good().to_csv(folder / "good.csv", index=False)
    done = call("train", str(folder / "good.csv"), "--target", "label", "--protected", "group", "--project", str(folder / "p"), "--json")
    assert done.exit_code == 0, done.output
    return folder / "p"


def fingerprint(folder: Path) -> dict[str, str]:
    """Content of every stored object and of every row of the catalogue (not of its write-ahead log's bytes)."""
    import sqlite3

    found = {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((folder / "objects").rglob("*")) if p.is_file()}
    with sqlite3.connect(folder / "catalogue.sqlite") as catalogue:
        found["catalogue"] = hashlib.sha256("\n".join(catalogue.iterdump()).encode()).hexdigest()
    return found


def test_the_whole_job_by_commands(project, tmp_path):
    out = tmp_path / "scores.parquet"
    scored = call("attribute", *GAP, "--method", "metagradient", "--out", str(out), "--project", str(project), "--json")
    result = json.loads(scored.stdout)
    assert {"scores", "calibrated", "seconds", "walk_seconds", "train_seconds", "replayed"} <= set(result)
    table = pd.read_parquet(out)
    assert table.columns[0] == "id"
    assert table["id"].is_unique
    seen = json.loads(call("preview", "--scores", str(out), "--top", "5", "--project", str(project), "--json").stdout)
    assert all({"change", "low", "high", "calibrated"} <= set(entry) for entry in seen["predicted"].values())
    table.nsmallest(5, table.columns[1])[["id"]].to_csv(tmp_path / "ids.csv", index=False)
    by_ids = json.loads(call("preview", "--ids", str(tmp_path / "ids.csv"), "--project", str(project), "--json").stdout)
    assert by_ids["predicted"] == seen["predicted"]
    true = json.loads(call("fidelity", *GAP, "--fraction", "0.05", "--subsets", "8", "--project", str(project), "--json").stdout)
    assert {"lds", "lds_low", "lds_high", "slope", "lds_measured", "noise_ceiling"} <= set(true)
    made = json.loads(
        call("unlearn", "--ids", str(tmp_path / "ids.csv"), "--method", "finetune", "--project", str(project), "--json").stdout
    )
    assert {"run", "claim", "metrics", "seconds", "retrain_seconds"} <= set(made)
    again = json.loads(call("attribute", *GAP, "--method", "tracin", "--project", str(project), "--json").stdout)
    assert again["run"] == result["run"]  # the newest trained run, not the unlearned one


def test_standard_output_holds_json_only_and_the_module_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "influence", "demo", "--name", "breast_cancer", "--project", str(tmp_path / "p"), "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {"project", "run", "metrics"} <= set(json.loads(done.stdout))


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("executed.flag"),))


def _files(folder: Path) -> dict[str, list[str]]:
    """Bad files and choices: name -> arguments of train."""
    frame, target = good(), ["--target", "label"]

    def csv(name: str, table: pd.DataFrame, header: bool = True) -> str:
        table.to_csv(folder / name, index=False, header=header)
        return str(folder / name)

    def raw(name: str, content: bytes) -> str:
        (folder / name).write_bytes(content)
        return str(folder / name)

    with zipfile.ZipFile(folder / "climb.csv", "w") as archive:
        archive.writestr("../../evil.csv", "a,b\n1,2\n")
    with (folder / "huge.csv").open("wb") as huge:
        huge.truncate(5 * 2**30)
    ok = csv("ok.csv", frame)
    return {
        "no such file": [str(folder / "absent.csv"), *target],
        "a folder": [str(folder), *target],
        "empty": [raw("empty.csv", b""), *target],
        "header only": [csv("header.csv", frame.head(0)), *target],
        "no header": [csv("bare.csv", frame[["age", "income"]].round(3), header=False), "--target", "0"],
        "binary": [raw("binary.csv", bytes(range(256)) * 40), *target],
        "pickle named .csv": [raw("pickle.csv", pickle.dumps(Bomb())), *target],
        "zip named .csv": [str(folder / "climb.csv"), *target],
        "broken Parquet": [raw("broken.parquet", b"PAR1" + b"x" * 500 + b"PAR1"), *target],
        "unknown kind": [raw("data.xyz", b"a\x00b"), *target],
        "huge file": [str(folder / "huge.csv"), *target],
        "ragged": [raw("ragged.csv", b"a,b,label\n1,2,yes\n1,2,3,4,no\n" * 20), *target],
        "repeated column": [raw("twice.csv", b"a,a,label\n" + b"1,2,yes\n3,4,no\n" * 30), *target],
        "target missing": [ok, "--target", "labell"],
        "no target given": [ok],
        "one class": [csv("one.csv", frame.assign(label="yes")), *target],
        "empty target": [csv("nan.csv", frame.assign(label=None)), *target],
        "text as target": [csv("text.csv", frame.assign(label=[f"a long remark number {i}" for i in range(len(frame))])), *target],
        "date as target": [csv("date.csv", frame.assign(label=pd.date_range("2020-01-01", periods=len(frame)).astype(str))), *target],
        "repeated ids": [csv("ids.csv", frame.assign(key=1)), *target, "--id", "key"],
        "protected column missing": [ok, *target, "--protected", "sex"],
        "one group": [csv("group.csv", frame.assign(group="A")), *target, "--protected", "group"],
        "too few rows": [csv("few.csv", frame.head(5)), *target],
        "infinite values": [csv("inf.csv", frame.assign(income=frame["income"].where(frame.index % 9 > 0, np.inf))), *target],
        "bad split": [csv("split.csv", frame.assign(part="left")), *target, "--split", "part"],
        "target protected": [ok, *target, "--protected", "label"],
        "unknown model": [ok, *target, "--model", "forest"],
        "unknown setting": [ok, *target, "--set", "depth=3"],
        "setting out of range": [ok, *target, "--set", "lr=-1"],
        "setting without value": [ok, *target, "--set", "lr"],
        "CNN on a table": [ok, *target, "--model", "cnn"],
        "diverging": [ok, *target, "--set", "lr=10", "--set", "loss=cross_entropy", "--set", "weight_decay=1"],
        "wrong loss": [ok, *target, "--set", "loss=squared"],
        "unknown bundled set": ["bundled:iris"],
        "unknown excluded id": [ok, *target, "--exclude", csv("unknown.csv", pd.DataFrame({"id": [10**6]}))],
        "second file of other columns": [ok, *target, "--eval", csv("other.csv", frame.rename(columns={"age": "years"}))],
    }  # fmt: skip


NAMES = sorted([
    "no such file", "a folder", "empty", "header only", "no header", "binary", "pickle named .csv", "zip named .csv", "broken Parquet",
    "unknown kind", "huge file", "ragged", "repeated column", "target missing", "no target given", "one class", "empty target",
    "text as target", "date as target", "repeated ids", "protected column missing", "one group", "too few rows", "infinite values",
    "bad split",
    "target protected", "unknown model", "unknown setting", "setting out of range", "setting without value", "CNN on a table", "diverging",
    "wrong loss", "unknown bundled set", "unknown excluded id", "second file of other columns",
])  # fmt: skip


@pytest.fixture(scope="module")
def bad(tmp_path_factory) -> dict[str, list[str]]:
    return _files(tmp_path_factory.mktemp("bad"))


def test_every_bad_case_is_tried(bad):
    assert sorted(bad) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_bad_files_and_choices_give_one_line_and_leave_the_project_as_it_was(name, bad, project, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = fingerprint(project)
    done = call("train", *bad[name], "--project", str(project), "--json")
    assert done.exit_code == 2, (name, done.output, done.exception)
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("influence train: ")
    assert len(lines[0]) > 40
    assert "Traceback" not in done.stderr
    assert fingerprint(project) == before
    assert not (tmp_path / "executed.flag").exists()


@pytest.mark.parametrize(
    "args",
    [
        ["attribute", "--query", "no_such_query"],
        ["attribute", "--query", "equal_opportunity_gap", "--query-set", "group=nothing"],
        ["attribute", *GAP, "--method", "magic"],
        ["attribute", *GAP, "--run", "nothing"],
        ["preview"],
        ["preview", "--ids", "absent.csv"],
        ["fidelity", *GAP, "--fraction", "2"],
        ["unlearn", "--method", "finetune"],
        ["demo", "--name", "nothing"],
    ],
)
def test_bad_questions_give_one_line_too(args, project):
    before = fingerprint(project)
    done = call(*args, "--project", str(project), "--json")
    assert done.exit_code == 2, done.output
    assert len(done.stderr.strip().splitlines()) == 1
    assert fingerprint(project) == before


def test_a_folder_that_is_no_project_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    done = call("demo", "--project", str(tmp_path))
    assert done.exit_code == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["thesis.txt"]
