"""Out and in again: every kind of model, the unlearned one too, answers as before; what was changed on the way is refused."""

from __future__ import annotations

import json
import os
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

import influence
from influence.actions import _prices, perform
from influence.actions import export_model as exporting
from influence.errors import BadInput, Cancelled
from influence.exchange.packed import unpacked
from influence.exchange.record import read_record
from influence.registry import models
from influence.store import Project

N = 160
SETTINGS = {
    "logistic": {}, "mlp": {"hidden": (6, 5), "activation": "tanh", "dropout": 0.1}, "cnn": {"channels": (4, 8)},
    "resnet9": {"width": 8, "norm": "batch"}, "resnet18": {"width": 8}, "bag": {"vocabulary": 20, "width": 8, "hidden": (6,)},
    "transformer": {"vocabulary": 20, "width": 8, "heads": 2, "layers": 1},
}  # fmt: skip


def people(n: int = N) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    made = pd.DataFrame({
        "age": rng.integers(18, 80, n), "pay": np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(8, 1, n)),
        "work": rng.choice(["state", "private", "self", None], n), "size": rng.choice(["low", "medium", "high"], n),
        "sex": rng.choice(["f", "m"], n), "name": [f"={i}" for i in range(n)], "note": "no input",
    })  # fmt: skip
    z = 0.05 * (made["age"] - 45) + (made["work"] == "self") + 0.5 * (made["sex"] == "m") + rng.normal(size=n) * 0.5
    return made.assign(grade=np.where(z > 1, "high", np.where(z > -0.5, "mid", "low")), price=1000 * z + 5000)


def arrays(folder, kind: str) -> str:
    rng = np.random.default_rng(1)
    shape = {"cnn": (1, 8, 8), "resnet9": (3, 8, 8), "resnet18": (3, 8, 8)}.get(kind, (6,))
    x = rng.integers(0, 20, (N, *shape)) if len(shape) == 1 else rng.normal(size=(N, *shape)).astype(np.float32)
    y = (x.reshape(N, -1)[:, :3].sum(1) > np.median(x.reshape(N, -1)[:, :3].sum(1))).astype(np.int64)
    group = pd.DataFrame({"group": rng.choice(["a", "b"], N)})
    influence.save_data(folder, x, y, np.arange(N) % 4 == 0, columns=group, classes=("no", "yes"), protected=["group"])
    return str(folder)


def predictions(project: Project, run: str) -> pd.DataFrame:
    table = project.table(project.run(run).body["predictions"])
    return table[[name for name in table if name.startswith("p_") or name == "prediction"]]


def same(first: Project, run: str, second: Project, brought: str, atol: float = 1e-6) -> None:
    a, b = predictions(first, run), predictions(second, brought)
    assert list(a) == list(b)
    assert len(a) == len(b) >= 40
    np.testing.assert_allclose(a / max(1, a.abs().max().max()), b / max(1, a.abs().max().max()), atol=atol)


def verdicts(result) -> dict[str, str]:
    return {check["check"]: check["verdict"] for check in result["checks"]}


def test_every_architecture_is_tried_here():
    """All but those that are only brought, with a config of their own, and what training in shards makes (`test_sisa.py`)."""
    assert {name for name, cls in models.classes.items() if not getattr(cls, "brought", False)} == {*SETTINGS, "ensemble"}


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.slow] * kind.startswith("resnet")) for kind in SETTINGS])
def test_every_architecture_comes_back_the_same_and_its_training_is_followed(tmp_path, kind):
    table = kind in ("logistic", "mlp")
    if table:
        people().to_parquet(tmp_path / "d.parquet")
    data = str(tmp_path / "d.parquet") if table else arrays(tmp_path / "data", kind)
    named = {"target": "grade", "protected": ["sex"], "audit": ["size"], "drop": ["price", "note"], "id": "name"} if table else {}
    first, second = Project(tmp_path / "a"), Project(tmp_path / "b")
    given = {"data": data, "model": kind, "set": {**SETTINGS[kind], "epochs": 2, "batch_size": 32}, "seed": 3, **named}
    run = perform("train", first, given)["run"]
    for form in ("record", "pt2"):
        written = perform("export_model", first, {"out": str(tmp_path / form), "run": run, "format": form})
        result = perform("import_model", second, {"path": written["path"], "data": data})
        same(first, run, second, result["run"])
        assert verdicts(result)["Answers as where it was trained"] == verdicts(result)["Inputs as where it was trained"] == "good"
    followed = perform("import_model", second, {"path": str(tmp_path / "record"), "data": data})
    assert verdicts(followed)["Its training can be followed"] == "good"
    assert second.trained(followed["run"]).recipe == first.trained(run).recipe
    timed, brought = second.run(followed["run"]), second.run(result["run"])
    assert 0 < _prices.training_seconds(timed) < timed.body["seconds"], "of its training, not of bringing it"
    assert _prices.training_seconds(brought) is None, "a graph says nothing of its training"
    rows = second.dataset(second.run(followed["run"]).dataset)
    assert (rows.protected, rows.audit) == (("sex",), ("size",)) if table else (("group",), ())
    graph = torch.export.load(tmp_path / "pt2" / "model.pt2").module()
    for n in (1, 7):
        x = torch.from_numpy(np.array(rows.holdout.x[:n]))
        real = influence.load_model(tmp_path / "pt2").bound.module(x)
        torch.testing.assert_close(graph(x), real, atol=1e-6, rtol=1e-6)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with a trained, a retrained and a fine-tuned model of people, and its table."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("made")
    people(400).to_csv(folder / "people.csv", index=False)
    project = Project(folder / "project")
    named = {"target": "grade", "protected": ["sex"], "drop": ["price", "note"], "id": "name"}
    run = perform("train", project, {"data": str(folder / "people.csv"), **named, "set": {"epochs": 4}})["run"]
    scores = perform("attribute", project, {"query": "loss", "method": "tracin"})
    ids = [row["id"] for row in scores["first"]]
    again = perform("unlearn", project, {"ids": ids, "method": "retrain"})["run"]
    tuned = perform("unlearn", project, {"ids": ids, "method": "finetune"})["run"]
    return folder, project, {"trained": run, "retrained": again, "tuned": tuned}, ids


@pytest.mark.parametrize("which", ["trained", "retrained", "tuned"])
def test_an_unlearned_model_leaves_with_what_may_be_claimed_of_it(made, tmp_path, which):
    folder, project, runs, ids = made
    result = perform("export_model", project, {"out": str(tmp_path / "m"), "run": runs[which], "format": "record"})
    body, card = project.run(runs[which]).body, (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert (result["claim"], result["removed"]) == (body["claim"], 0 if which == "trained" else len(ids))
    record = next(r for r in project.records() if r.body["outputs"].get("run") == runs[which])
    assert record.hash in card
    assert json.loads((tmp_path / "m" / "model.json").read_text())["run"]["record"] == record.hash
    accuracy = body["metrics"]["intervals"]["accuracy"]
    assert f"| accuracy | {accuracy['value']:.3f} | {accuracy['low']:.3f} to {accuracy['high']:.3f} | {accuracy['n']} |" in card
    assert "### Groups of sex" in card
    assert ("without 10 training rows" in card) == (which != "trained")
    assert f"Claim **{body['claim']}" in card
    assert not any(str(id) in card for id in ids)
    second = Project(tmp_path / "second")
    brought = perform("import_model", second, {"path": str(tmp_path / "m"), "data": str(folder / "people.csv")})
    same(project, runs[which], second, brought["run"])
    assert verdicts(brought)["Its training can be followed"] == ("none" if which == "tuned" else "good")
    assert ("What it claims" in verdicts(brought)) == (which != "trained")
    if which == "retrained":
        assert second.trained(brought["run"]).removed == tuple(ids)
        assert perform("attribute", second, {"query": "loss"})["calibrated"]


def test_a_model_whose_labels_were_corrected_is_not_said_to_do_without_rows(made, tmp_path):
    folder, project, runs, _ = made
    train = project.dataset(project.run(runs["trained"]).dataset).train
    ids, label = train.ids[train.y == 0][:3].tolist(), train.classes[1]
    run = perform("unlearn", project, {"run": runs["trained"], "ids": ids, "labels": [label], "method": "influence_step"})["run"]
    perform("export_model", project, {"out": str(tmp_path / "m"), "run": run})
    brought = perform("import_model", Project(tmp_path / "second"), {"path": str(tmp_path / "m"), "data": str(folder / "people.csv")})
    said = next(check["found"] for check in brought["checks"] if check["check"] == "What it claims")
    assert said.startswith("it says L1. That is its sender's word")


def test_a_recorded_training_leaves_with_its_course(tmp_path):
    from tests.test_exchange import outside

    outside(tmp_path)
    first, second = Project(tmp_path / "a"), Project(tmp_path / "b")
    data = str(tmp_path / "data")
    run = perform("import_model", first, {"path": str(tmp_path / "model"), "data": data})["run"]
    perform("export_model", first, {"out": str(tmp_path / "again"), "format": "record"})
    result = perform("import_model", second, {"path": str(tmp_path / "again"), "data": data})
    assert verdicts(result)["Its training can be followed"] == "good"
    same(first, run, second, result["run"])
    assert second.trained(result["run"]).recipe.went is not None


def test_raw_rows_are_answered_by_the_folder_alone(made, tmp_path):
    _, project, runs, _ = made
    perform("export_model", project, {"out": str(tmp_path / "m"), "run": runs["trained"]})
    rows = project.dataset(project.run(runs["trained"]).dataset).holdout
    said = influence.load_model(tmp_path / "m").predict(rows.columns)
    known = project.table(project.run(runs["trained"]).body["predictions"])
    known = known[known["split"] == "holdout"].set_index("id").loc[rows.ids]
    np.testing.assert_allclose(said, known[list(said)], atol=1e-6)
    with pytest.raises(BadInput, match="The column 'age' is not in the table"):
        influence.load_model(tmp_path / "m").predict(rows.columns.drop(columns="age"))


def test_a_zip_from_the_project_can_be_brought(made, tmp_path):
    folder, project, runs, _ = made
    result = perform("export_model", project, {"run": runs["retrained"], "format": "record"})
    assert result["path"].startswith(str(project.path / "exports"))
    inside = unpacked(project.path / "exports" / f"{runs['retrained']}-record.zip", tmp_path / "m")
    brought = perform("import_model", Project(tmp_path / "p"), {"path": str(inside), "data": str(folder / "people.csv")})
    assert verdicts(brought)["Its training can be followed"] == "good"
    assert [p.name for p in (project.path / "exports").iterdir() if p.name.startswith(".")] == []


# ---- Scores and data


def test_data_without_the_removed_rows_and_why_they_went(made, tmp_path):
    _, project, runs, ids = made
    train = project.dataset(project.run(runs["trained"]).dataset).train
    result = perform("export_data", project, {"out": str(tmp_path / "d"), "run": runs["retrained"]})
    assert (result["n_train"], result["n_removed"]) == (len(train) - 10, 10)
    kept, plain = pd.read_parquet(tmp_path / "d" / "train.parquet"), pd.read_csv(tmp_path / "d" / "train.csv")
    assert kept["name"].tolist() == [id for id in train.ids if id not in ids]
    assert plain["name"].tolist() == [f"'{id}" for id in kept["name"]], "ids such as =1 are no formulas"
    pd.testing.assert_frame_equal(kept.drop(columns="name"), plain.drop(columns="name"), check_dtype=False)
    gone = pd.read_csv(tmp_path / "d" / "removed.csv")
    assert gone["id"].str[1:].tolist() == ids
    assert set(gone["claim"]) == {"L1"}
    assert set(gone["run"]) == {runs["retrained"]}


def test_rows_that_were_ranked_leave_with_score_and_rank(tmp_path):
    people(300).to_parquet(tmp_path / "p.parquet")
    project = Project(tmp_path / "project")
    perform("train", project, {"data": str(tmp_path / "p.parquet"), "target": "price", "drop": ["grade", "name"], "set": {"epochs": 3}})
    with pytest.raises(BadInput, match="does without no row"):
        perform("export_data", project, {"out": str(tmp_path / "d")})
    found = perform("attribute", project, {"query": "loss", "method": "tracin"})
    from influence.registry import finders

    run, scores = project.run(), project.scores(found["scores"])
    chosen = finders.make("top_k", {"k": 7})(scores, project.dataset(run.dataset).train)
    from influence.types import Selection

    project.choose(Selection(chosen.ids, reason={**chosen.reason, "scores": found["scores"], "dataset": run.dataset}))
    perform("export_data", project, {"out": str(tmp_path / "chosen")})
    gone = pd.read_csv(tmp_path / "chosen" / "removed.csv")
    assert gone["rank"].tolist() == list(range(1, 8))
    np.testing.assert_allclose(gone["score"], np.sort(scores.column())[:7])
    assert gone["claim"].str.startswith("none").all()
    assert gone["rule"].str.contains("most, by tracin").all()
    made = perform("unlearn", project, {"method": "retrain"})
    result = perform("export_data", project, {"run": made["run"]})
    with zipfile.ZipFile(result["path"]) as archive:
        names = [name.rpartition("/")[2] for name in archive.namelist()]
        later = pd.read_csv(archive.open(archive.namelist()[0]))
    assert names == ["removed.csv", "train.csv", "train.parquet"]
    assert later["rank"].tolist() == gone["rank"].tolist()
    assert set(later["run"]) == {made["run"]}


def test_scores_leave_by_question_or_all_together(made, tmp_path):
    _, project, runs, _ = made
    run = runs["trained"]
    with pytest.raises(BadInput, match="was not computed"):
        perform("export_scores", project, {"run": run, "query": "accuracy_margin", "method": "tracin"})
    found = perform("attribute", project, {"run": run, "query": "loss", "method": "tracin"})
    perform("attribute", project, {"run": run, "query": "loss", "method": "gradient_similarity"})
    one = perform("export_scores", project, {"run": run, "query": "loss", "method": "tracin", "out": str(tmp_path / "one.parquet")})
    scores = project.scores(found["scores"])
    table = pd.read_parquet(one["path"])
    assert table["id"].tolist() == scores.ids.tolist()
    np.testing.assert_array_equal(table.iloc[:, 1], scores.column())
    both = perform("export_scores", project, {"run": run})
    assert both["columns"] == ["Mean loss (tracin)", "Mean loss (gradient_similarity)"]
    assert pd.read_csv(both["path"])["id"].str.startswith("'=").all()
    with pytest.raises(BadInput, match="No scores were computed"):
        perform("export_scores", project, {"run": runs["tuned"]})


# ---- What may stand in the way


def test_nothing_is_written_over_and_nothing_is_left_half_written(made, tmp_path, monkeypatch):
    _, project, runs, _ = made
    (tmp_path / "there").mkdir()
    with pytest.raises(BadInput, match="exists already"):
        perform("export_model", project, {"out": str(tmp_path / "there")})
    with pytest.raises(BadInput, match="There is no format 'pickle'"):
        perform("export_model", project, {"out": str(tmp_path / "m"), "format": "pickle"})
    (tmp_path / "file").write_text("")
    for action in ("export_model", "export_data"):
        with pytest.raises(BadInput, match="cannot be written"):
            perform(action, project, {"out": str(tmp_path / "file" / "m"), "run": runs["tuned"]})
    before = len(project.records())
    for action, last in (("export_model", 3), ("export_data", 3)):
        for stop in range(last):

            def cancel(event, stop=stop):
                if event.done == stop:
                    raise Cancelled

            for out in (str(tmp_path / "m"), ""):
                listed = sorted(os.listdir(project.path / "exports"))
                with pytest.raises(Cancelled):
                    perform(action, project, {"out": out, "run": runs["tuned"]}, cancel)
                assert sorted(os.listdir(project.path / "exports")) == listed
    assert sorted(os.listdir(tmp_path)) == ["file", "there"]
    assert len(project.records()) == before
    monkeypatch.setattr(exporting, "write_exported", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(BadInput, match="No space left"):
        perform("export_model", project, {"out": str(tmp_path / "m")})
    assert sorted(os.listdir(tmp_path)) == ["file", "there"]


def test_an_export_is_recorded_with_the_digests_of_its_files(made, tmp_path):
    import hashlib

    _, project, runs, _ = made
    result = perform("export_model", project, {"out": str(tmp_path / "m"), "run": runs["tuned"]})
    record = project.records()[-1]
    assert (record.kind, record.body["inputs"]["run"]) == ("export_model", runs["tuned"])
    assert record.body["measures"]["files"] == result["files"]
    for name, digest in result["files"].items():
        assert hashlib.sha256((tmp_path / "m" / name).read_bytes()).hexdigest() == digest
    assert project.check() == []


def changed(told, path: tuple, value):
    """Return a model.json with one part replaced; ... takes it out."""
    made = json.loads(json.dumps(told))
    inner = made
    for part in path[:-1]:
        inner = inner[part]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return made


HOSTILE = {
    "another format": (("format",), 2, "format 1"),
    "unknown architecture": (("model", "name"), "os", "There is no model 'os'"),
    "no architecture": (("model", "name"), ..., "There is no model"),
    "a setting out of range": (("model", "given", "dropout"), 7, "dropout must be between"),
    "an unknown setting": (("model", "given", "code"), "import os", "has no setting 'code'"),
    "settings of another kind": (("model", "given"), ["a"], "settings by name"),
    "too many layers": (("model", "given", "hidden"), [1] * 100_000, "settings by name"),
    "a layer for giants": (("model", "given", "hidden"), [10**12], "of different models"),
    "negative inputs": (("model", "inputs"), [-3], "no shape"),
    "inputs for giants": (("model", "inputs"), [2**20, 2**20], "no shape"),
    "true outputs": (("model", "outputs"), True, "no shape"),
    "other outputs": (("model", "outputs"), 4, "4 outputs and 3 classes"),
    "another dtype": (("model", "dtype"), "object", "no shape"),
    "fewer columns": (("encoding", "columns"), [], "no column"),
    "an sd of nothing": (("encoding", "columns", 0, "sd"), 0, "sd of 'age' is 0"),
    "an sd that is no number": (("encoding", "columns", 0, "sd"), "NaN", "`sd` of 'age'"),
    "levels twice": (("encoding", "columns", 2, "levels"), ["self", "self"], "`levels` of 'work'"),
    "classes that are none": (("encoding", "target", "classes"), ["a", "a", "b"], "`classes` of 'grade'"),
    "no target": (("encoding", "target"), ..., "what the target is"),
    "an unknown field": (("encoding", "columns", 0, "path"), "/etc/passwd", "'path', which is not known"),
    "no claim": (("claim",), ..., "describes no model"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_model_json_that_states_what_cannot_be_is_refused(made, tmp_path, what):
    folder, project, runs, _ = made
    perform("export_model", project, {"out": str(tmp_path / "m"), "run": runs["trained"]})
    path, value, said = HOSTILE[what]
    file = tmp_path / "m" / "model.json"
    file.write_text(json.dumps(changed(json.loads(file.read_text()), path, value)))
    second = Project(tmp_path / "p")
    with pytest.raises(BadInput, match=said):
        perform("import_model", second, {"path": str(tmp_path / "m"), "data": str(folder / "people.csv")})
    with pytest.raises(BadInput):
        influence.load_model(tmp_path / "m")
    assert second.runs() == []
    assert second.records() == []


def test_weights_and_files_that_were_changed_are_refused(made, tmp_path):
    folder, project, runs, _ = made
    perform("export_model", project, {"out": str(tmp_path / "m"), "run": runs["trained"], "format": "record"})
    weights = load_file(tmp_path / "m" / "model.safetensors")

    def refused(said: str) -> None:
        with pytest.raises(BadInput, match=said):
            perform("import_model", Project(tmp_path / "p"), {"path": str(tmp_path / "bad"), "data": str(folder / "people.csv")})
        shutil.rmtree(tmp_path / "bad")

    def copy():
        shutil.copytree(tmp_path / "m", tmp_path / "bad")
        return tmp_path / "bad"

    save_file({**weights, "1.weight": weights["1.weight"][:, :-1].contiguous()}, copy() / "model.safetensors")
    refused("of different models: '1.weight'")
    save_file({**weights, "more": torch.ones(3)}, copy() / "model.safetensors")
    refused("of different models: 'more'")
    save_file({**weights, "1.weight": weights["1.weight"] + 1}, copy() / "model.safetensors")
    refused("answers otherwise than where it was trained")
    (copy() / "model.safetensors").unlink()
    refused("does not exist")
    (copy() / "model.json").write_text("{" * 100_000)
    refused("describes no model")
    record = json.loads((tmp_path / "m" / "record.json").read_text())
    outside = tmp_path / "outside.safetensors"
    save_file(weights, outside)
    for name in ("../outside.safetensors", str(outside)):
        record["checkpoints"][0]["file"] = name
        (copy() / "record.json").write_text(json.dumps(record))
        refused("no file beside it")
    (copy() / "checkpoint-0000.safetensors").unlink()
    (tmp_path / "bad" / "checkpoint-0000.safetensors").symlink_to(outside)
    refused("a link that leads out of the folder")


def test_the_record_says_whose_model_it_is(made, tmp_path):
    _, project, runs, _ = made
    perform("export_model", project, {"out": str(tmp_path / "m"), "run": runs["trained"]})
    record = read_record(tmp_path / "m")
    assert record.classes == ("high", "low", "mid")
    assert record.exported is not None
    with pytest.raises(BadInput, match="inputs"):
        record.trained((3,), 3)


def test_other_data_are_refused_or_seen(made, tmp_path):
    _, project, runs, _ = made
    perform("export_model", project, {"out": str(tmp_path / "m"), "run": runs["trained"]})
    for change, said in (
        (lambda t: t.rename(columns={"age": "years"}), "needs the column 'age'"),
        (lambda t: t.assign(grade="other"), "none of the model's classes"),
        (lambda t: t.assign(work="abroad"), "No cell of 'work'"),
        (lambda t: t.assign(age="old"), "No cell of 'age' is a number"),
    ):
        change(people(400)).to_parquet(tmp_path / "t.parquet")
        with pytest.raises(BadInput, match=said):
            perform("import_model", Project(tmp_path / "p"), {"path": str(tmp_path / "m"), "data": str(tmp_path / "t.parquet")})
    people(400).drop(columns=["price", "note", "name"]).to_parquet(tmp_path / "t.parquet")
    result = perform("import_model", Project(tmp_path / "p"), {"path": str(tmp_path / "m"), "data": str(tmp_path / "t.parquet")})
    assert result["run"], "columns that were never seen by the model may be missing"


# ---- By commands


def call(*args: object):
    from typer.testing import CliRunner

    from influence.__main__ import app

    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_the_way_out_and_in_again_by_commands(made, tmp_path):
    folder, project, runs, _ = made
    here, run = ("--project", project.path), runs["retrained"]
    done = call("export-model", tmp_path / "m", "--run", run, *here)
    assert done.exit_code == 0, done.output
    assert "without 10 rows, claim L1 (approximate)" in done.stdout
    assert "model.safetensors" in done.stdout
    told = json.loads(call("export-model", tmp_path / "again", "--run", run, "--json", *here).stdout)
    assert told["run"] == run
    brought = call("import-model", tmp_path / "m", folder / "people.csv", "--project", tmp_path / "p", "--json")
    assert verdicts(json.loads(brought.stdout))["Answers as where it was trained"] == "good"
    stated = call(
        "train", folder / "people.csv", "--target", "grade", "--preprocessing", tmp_path / "m" / "model.json", "--drop", "price",
        "--set", "epochs=1", "--project", tmp_path / "p", "--json",
    )  # fmt: skip
    assert json.loads(stated.stdout)["notes"].startswith("Preprocessing brought")
    assert "10 removed rows" in call("export-data", tmp_path / "d", "--run", run, *here).stdout
    assert len(pd.read_csv(tmp_path / "d" / "removed.csv")) == 10
    perform("attribute", project, {"run": runs["trained"], "query": "loss", "method": "tracin"})
    assert call("export-scores", tmp_path / "s.csv", "--run", runs["trained"], *here).exit_code == 0
    assert pd.read_csv(tmp_path / "s.csv")["id"].str.startswith("'=").all()


def test_ids_that_look_like_formulas_go_out_and_in_again(made, tmp_path):
    _, project, runs, ids = made
    from influence.commands import read_ids

    perform("export_data", project, {"out": str(tmp_path / "d"), "run": runs["retrained"]})
    assert read_ids(tmp_path / "d" / "removed.csv") == ids


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("export-model", "THERE"), "exists already"), (("export-model", "new", "--format", "onnx"), "no format 'onnx'"),
        (("export-model", "new", "--run", "nobody"), "no run 'nobody'"), (("export-scores", "s.xlsx"), ".csv or .parquet"),
        (("export-scores", "s.csv", "--query", "loss", "--method", "trak"), "was not computed"),
        (("export-data", "THERE", "--run", "RUN"), "exists already"),
    ],
)  # fmt: skip
def test_commands_refuse_in_one_line_and_write_nothing(made, tmp_path, monkeypatch, args, said):
    _, project, runs, _ = made
    monkeypatch.chdir(tmp_path)
    (tmp_path / "THERE").mkdir()
    done = call(*(runs["retrained"] if arg == "RUN" else arg for arg in args), "--project", project.path)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == ["THERE"]
