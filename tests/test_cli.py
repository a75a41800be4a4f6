"""The commands: one JSON object on standard output, exit code 0; or 2 with one clear line, and the project as it was."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from influence import workspace
from influence.__main__ import app
from influence.commands import ranked_ids
from influence.store import Project

ROOT = Path(__file__).resolve().parents[1]
GAP = ["--query", "equal_opportunity_gap", "--query-set", "group=group"]


def good(n: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"age": rng.integers(18, 80, n), "income": rng.normal(size=n), "group": rng.choice(["A", "B"], n)})
    return frame.assign(label=np.where(frame["income"] + rng.normal(size=n) > 0, "yes", "no"))


def call(*args: str):
    return CliRunner().invoke(app, list(args))


def answer(*args: str) -> dict:
    """What a command prints with --json; NaN and Infinity are no JSON."""
    done = call(*args, "--json")
    assert done.exit_code == 0, done.output
    assert done.stderr == ""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON: {done.stdout}")

    return json.loads(done.stdout, parse_constant=refuse)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    good(600).to_csv(folder / "good.csv", index=False)
    made = answer(
        "train", str(folder / "good.csv"), "--target", "label", "--protected", "group", "--set", "epochs=12", "--project", str(folder / "p")
    )
    assert {"run", "n_train", "metrics", "predictions"} <= set(made)
    return folder / "p"


def fingerprint(folder: Path) -> dict[str, str]:
    """Content of every stored object and of every row of the catalogue (not of its write-ahead log's bytes)."""
    import sqlite3

    found = {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((folder / "objects").rglob("*")) if p.is_file()}
    with sqlite3.connect(folder / "catalogue.sqlite") as catalogue:
        found["catalogue"] = hashlib.sha256("\n".join(catalogue.iterdump()).encode()).hexdigest()
    return found


def test_the_whole_job_by_commands(project, tmp_path):
    out, ids, home = tmp_path / "new" / "scores.parquet", tmp_path / "ids.csv", ["--project", str(project)]
    result = answer("attribute", *GAP, "--method", "metagradient", "--out", str(out), *home)
    assert {"scores", "calibrated", "seconds", "walk_seconds", "train_seconds", "replayed"} <= set(result)
    assert [path.name for path in out.parent.iterdir()] == ["scores.parquet"]
    table = pd.read_parquet(out)
    assert table.columns[0] == "id"
    assert table["id"].is_unique
    seen = answer("preview", "--scores", str(out), "--top", "5", *home)
    assert all({"change", "low", "high", "calibrated"} <= set(entry) for entry in seen["predicted"].values())
    table.nsmallest(5, table.columns[1])[["id"]].to_csv(ids, index=False)
    assert answer("preview", "--ids", str(ids), *home)["predicted"] == seen["predicted"]
    true = answer("fidelity", *GAP, "--fraction", "0.05", "--subsets", "8", *home)
    assert {"lds", "lds_low", "lds_high", "slope", "lds_measured", "noise_ceiling"} <= set(true)
    more = answer("fidelity", *GAP, "--fractions", "0.05,0.5", "--subsets", "8", *home)
    assert [r["fraction"] for r in more["by_fraction"]] == [0.05, 0.5]
    assert (more["lds"], more["bank"]["trained"]) == (true["lds"], 8), "the models of the first fraction were kept"
    kept = answer("attribute", *GAP, "--kept", *home)
    assert (kept["found"], kept["train_seconds"]) == (True, None)
    answer("attribute", *GAP, "--method", "random", *home)
    both = answer("agreement", *GAP, *home)
    assert set(both["names"]) >= {"metagradient", "random"}
    assert {"correlation", "overlap", "top", "n", "sentence"} <= set(both)
    made = answer("unlearn", "--ids", str(ids), "--method", "finetune", *home)
    assert {"run", "claim", "metrics", "seconds", "retrain_seconds"} <= set(made)
    assert answer("attribute", *GAP, "--method", "tracin", *home)["run"] == result["run"]  # the newest trained run, not the unlearned one


def test_a_better_question_ranks_from_the_other_end(project, tmp_path):
    out, home = tmp_path / "margin.parquet", ["--project", str(project)]
    answer("attribute", "--query", "accuracy_margin", "--method", "tracin", "--out", str(out), *home)
    table = pd.read_parquet(out)
    assert ranked_ids(out, 3) == table.nlargest(3, table.columns[1])["id"].tolist()


@pytest.fixture(scope="module")
def named(tmp_path_factory) -> Path:
    """A project whose rows have text for ids, some of which look like numbers."""
    folder = tmp_path_factory.mktemp("named")
    frame = good(200).assign(key=[f"{place:03d}" if place % 2 else f"row {place}" for place in range(200)])
    frame.to_csv(folder / "named.csv", index=False)
    answer("train", str(folder / "named.csv"), "--target", "label", "--id", "key", "--project", str(folder / "p"))
    return folder


def weights(project: Path, run: str) -> str:
    return Project(project).run(run).body["checkpoints"][-1]["digest"]


def test_ids_of_text_are_taken_as_they_are_written(named, tmp_path):
    home = ["--project", str(named / "p")]
    train = Project(named / "p").dataset(Project(named / "p").run().dataset).train
    numerals = [id for id in train.ids.tolist() if id.isdigit()][:3]
    assert any(id.startswith("0") for id in numerals)
    pd.DataFrame({"remark": "a", "id": numerals}).to_csv(tmp_path / "ids.csv", index=False)
    made = answer("unlearn", "--ids", str(tmp_path / "ids.csv"), "--method", "retrain", *home)
    assert sorted(Project(named / "p").run(made["run"]).body["removed"]) == sorted(numerals)
    data = [str(named / "named.csv"), "--target", "label", "--id", "key", "--exclude", str(tmp_path / "ids.csv")]
    excluded = answer("train", *data, *home)
    assert excluded["n_train"] == len(train) - 3
    assert weights(named / "p", excluded["run"]) == weights(named / "p", made["run"])  # both are truth same


def test_a_seed_is_another_model_and_another_split(project, tmp_path):
    good(200).to_csv(tmp_path / "good.csv", index=False)
    data = ["train", str(tmp_path / "good.csv"), "--target", "label", "--project", str(tmp_path / "p")]
    runs = [answer(*data, "--seed", seed)["run"] for seed in ("1", "1", "2")]
    first, again, other = (Project(tmp_path / "p").run(run) for run in runs)
    assert weights(tmp_path / "p", first.id) == weights(tmp_path / "p", again.id)
    assert first.dataset == again.dataset
    assert first.dataset != other.dataset
    assert weights(tmp_path / "p", first.id) != weights(tmp_path / "p", other.id)


def test_a_second_file_holds_the_test_rows(tmp_path):
    good(200).to_csv(tmp_path / "train.csv", index=False)
    good(100).iloc[::-1].to_csv(tmp_path / "test.csv", index=False)
    files = [str(tmp_path / "train.csv"), "--eval", str(tmp_path / "test.csv")]
    made = answer("train", *files, "--target", "label", "--project", str(tmp_path / "p"))
    data = Project(tmp_path / "p").dataset(Project(tmp_path / "p").run(made["run"]).dataset)
    assert made["n_train"] == len(data.train) == 200
    assert len(data.evaluation) + len(data.holdout) == 100


@pytest.mark.slow
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
        "kind without value": [ok, *target, "--kind", "age"],
        "setting without value": [ok, *target, "--set", "lr"],
        "CNN on a table": [ok, *target, "--model", "cnn"],
        "diverging": [ok, *target, "--set", "lr=10", "--set", "loss=cross_entropy", "--set", "weight_decay=1"],
        "wrong loss": [ok, *target, "--set", "loss=squared"],
        "unknown bundled set": ["bundled:iris"],
        "setting given twice": [ok, *target, "--set", "lr=0.1", "--set", "lr=0.2"],
        "setting that is no number": [ok, *target, "--set", "lr=nan"],
        "negative seed": [ok, *target, "--seed", "-1"],
        "seed of text": [ok, *target, "--seed", "one"],
        "unknown option": [ok, *target, "--depth", "3"],
        "no file given": [*target],
        "two files given": [ok, ok, *target],
        "no list of excluded ids": [ok, *target, "--exclude", str(folder / "absent.csv")],
        "excluded ids of text": [ok, *target, "--exclude", csv("words.csv", pd.DataFrame({"id": ["first"]}))],
        "excluded ids that are no whole numbers": [ok, *target, "--exclude", csv("halves.csv", pd.DataFrame({"id": [1.5]}))],
        "empty excluded id": [ok, *target, "--exclude", csv("gaps.csv", pd.DataFrame({"id": ["1", None], "b": [1, 2]}))],
        "everything excluded": [ok, *target, "--exclude", csv("all.csv", pd.DataFrame({"id": range(len(frame))}))],
        "unknown excluded id": [ok, *target, "--exclude", csv("unknown.csv", pd.DataFrame({"id": [10**6]}))],
        "second file of other columns": [ok, *target, "--eval", csv("other.csv", frame.rename(columns={"age": "years"}))],
    }  # fmt: skip


NAMES = sorted([
    "no such file", "a folder", "empty", "header only", "no header", "binary", "pickle named .csv", "zip named .csv", "broken Parquet",
    "unknown kind", "huge file", "ragged", "repeated column", "target missing", "no target given", "one class", "empty target",
    "text as target", "date as target", "repeated ids", "protected column missing", "one group", "too few rows", "infinite values",
    "bad split", "target protected", "unknown model", "unknown setting", "setting out of range", "setting without value",
    "kind without value",
    "CNN on a table", "diverging", "wrong loss", "unknown bundled set", "setting given twice", "setting that is no number",
    "negative seed", "seed of text", "unknown option", "no file given", "two files given", "no list of excluded ids",
    "excluded ids of text", "excluded ids that are no whole numbers", "empty excluded id", "everything excluded", "unknown excluded id",
    "second file of other columns",
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
        ["attribute", "--query", "prediction", "--query-set", "id=nobody"],
        ["attribute", *GAP, "--method", "magic"],
        ["attribute", *GAP, "--run", "nothing"],
        ["attribute", *GAP, "--set", "nothing=1"],
        ["attribute", *GAP, "--out", "."],
        ["attribute", *GAP, "--out", "file.txt/scores.parquet"],
        ["attribute"],
        ["preview"],
        ["preview", "--ids", "absent.csv"],
        ["preview", "--ids", "ids.csv", "--scores", "scores.parquet"],
        ["preview", "--ids", "ids.csv", "--group", "nothing"],
        ["preview", "--scores", "scores.parquet"],
        ["preview", "--scores", "scores.parquet", "--top", "-1"],
        ["preview", "--scores", "scores.parquet", "--top", "4"],
        ["preview", "--scores", "ids.csv", "--top", "1"],
        ["preview", "--scores", "words.parquet", "--top", "1"],
        ["fidelity", *GAP, "--fraction", "2"],
        ["fidelity", *GAP, "--fraction", "nan"],
        ["fidelity", *GAP, "--fraction", "inf"],
        ["fidelity", *GAP, "--subsets", "3"],
        ["fidelity", *GAP, "--truth", "other"],
        ["fidelity", *GAP, "--fractions", "0.01;0.1"],
        ["fidelity", *GAP, "--fractions", "0.1,2"],
        ["agreement", "--query", "nonsense"],
        ["agreement", "--query", "calibration_gap", "--query-set", "group=group"],
        ["agreement"],
        ["unlearn", "--method", "finetune"],
        ["unlearn", "--ids", "ids.csv", "--method", "magic"],
        ["unlearn", "--ids", "ids.csv", "--method", "finetune", "--set", "epochs=0.5"],
        ["demo", "--name", "nothing"],
        ["demo", "loans"],
    ],
    ids=" ".join,
)
def test_bad_questions_give_one_line_too(args, project, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("mine")
    pd.DataFrame({"id": [0, 1]}).to_csv("ids.csv", index=False)
    pd.DataFrame({"id": [0, 1, 2], "score": [0.1, 0.2, 0.3]}).to_parquet("scores.parquet")
    pd.DataFrame({"id": [0, 1, 2], "score": ["a", "b", "c"]}).to_parquet("words.parquet")
    before = fingerprint(project)
    done = call(*args, "--project", str(project), "--json")
    assert done.exit_code == 2, (done.output, done.exception)
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith(f"influence {args[0]}: ")
    assert fingerprint(project) == before


@pytest.mark.parametrize("args", [["forget"], ["--verbose"], ["--verbose", "demo"]], ids=" ".join)
def test_an_unknown_command_is_one_line(args):
    done = call(*args)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("influence: No such ")


def test_no_command_at_all_shows_the_commands():
    done = call()
    assert done.exit_code == 2
    assert all(name in done.output for name in ("demo", "train", "attribute", "preview", "fidelity", "unlearn"))


def test_a_folder_that_is_no_project_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    done = call("demo", "--project", str(tmp_path))
    assert done.exit_code == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["thesis.txt"]


def test_memory_is_an_option_and_a_setting(project, monkeypatch):
    monkeypatch.setenv("INFLUENCE_MEMORY", "2000")
    asked = ["attribute", *GAP, "--set", "recompute=true", "--project", str(project)]
    scores = answer(*asked)["scores"]
    seen: list[str] = []
    monkeypatch.setattr(workspace, "allowed", lambda: seen.append(os.environ["INFLUENCE_MEMORY"]) or 7)
    assert answer(*asked, "--memory", "7")["scores"] == scores, "how much memory there is changes nothing"
    assert set(seen) == {"7"}
    assert os.environ["INFLUENCE_MEMORY"] == "2000"
    monkeypatch.undo()
    for more, told in ((["--memory", "0"], "--memory"), (["--memory", "much"], "--memory")):
        done = call(*asked, *more)
        assert done.exit_code == 2
        assert told in done.stderr
    monkeypatch.setenv("INFLUENCE_MEMORY", "much")
    done = call(*asked)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "INFLUENCE_MEMORY is 'much'; it must be a whole number of MiB" in done.stderr
