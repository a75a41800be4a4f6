"""The project folder: what goes in comes out, its history stays, and folders that are none of ours are left alone."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from influence.data.dataset import Dataset
from influence.errors import BadInput
from influence.store import Project
from influence.store.catalogue import VERSION
from influence.types import Examples, Recipe, Scores, Selection, Trained
from tests.test_store_objects import columns, objects

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path / "p")


def examples(n: int, seed: int, tree: bool = False, text_ids: bool = False, numeric: bool = False) -> Examples:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    ids = np.array([f"row {seed} {i}" for i in range(n)]) if text_ids else np.arange(n) + 1000 * seed
    y = rng.normal(size=n).astype(np.float32) if numeric else rng.integers(0, 2, n)
    shown = columns().iloc[rng.integers(0, 3, n)].reset_index(drop=True)
    return Examples({"words": rng.integers(0, 9, (n, 5)), "mask": x > 0} if tree else x, y, ids, shown, () if numeric else ("no", "yes"))


def dataset(**how: bool) -> Dataset:
    parts = {role: examples(n, seed, **how) for seed, (role, n) in enumerate({"train": 20, "evaluation": 6, "holdout": 5}.items())}
    ids = parts["train"].ids
    return Dataset(
        "sample",
        **parts,
        target="y",
        protected=("kind",),
        audit=("text",),
        encoding={"mean": 0.1, "fitted": True, "levels": ["a", "b"]},
        columns=[{"name": "kind", "kind": "category", "share": 1 / 3}],
        source={"path": "sample.csv"},
        simulated=True,
        planted=(ids[3], ids[1]),
        notes="Made for a test.",
    )


@pytest.mark.parametrize("how", [{}, {"tree": True}, {"text_ids": True}, {"numeric": True}], ids=lambda how: next(iter(how), "plain"))
def test_data_sets_keep_their_identity(project, how):
    first = dataset(**how)
    name = project.put_dataset(first)
    back = project.dataset(name)
    assert back.digest == first.digest
    assert back.source == first.source
    assert (back.planted, back.protected, back.train.classes) == (first.planted, first.protected, first.train.classes)
    assert isinstance(back.train.ids, np.memmap)
    assert set(back.train.x) == {"words", "mask"} if how.get("tree") else isinstance(back.train.x, np.memmap)
    pd.testing.assert_frame_equal(back.holdout.columns, first.holdout.columns)
    before = objects(project)
    assert project.put_dataset(back) == name
    assert objects(project) == before
    assert project.put_dataset(replace(first, notes="Other.")) != name


def test_scores_and_selections_come_back(project):
    ids = np.array(["a", "bb", "c"])
    scores = Scores(np.random.default_rng(0).normal(size=(3, 2)), ids, ("loss", "gap"), "tracin", False)
    back = project.scores(project.put_scores(scores))
    np.testing.assert_array_equal(back.values, scores.values)
    np.testing.assert_array_equal(back.ids, ids)
    assert (back.labels, back.method, back.calibrated) == (scores.labels, "tracin", False)
    chosen = Selection((np.int64(4), 2), "weight", {"rule": "top", "k": 2})
    assert project.selection(project.put_selection(chosen)) == Selection((4, 2), "weight", {"rule": "top", "k": 2})
    assert project.selection(project.put_selection(chosen)).digest == chosen.digest


def trained(project: Project) -> tuple[Trained, str]:
    from influence.registry import models
    from influence.training import train

    data = dataset()
    model = replace(models.make("mlp", {"hidden": (4,)}), inputs=data.train.shape, outputs=data.train.outputs)
    made = train(model, data.train, Recipe(epochs=3, batch_size=8, checkpoints=3, momentum=0.5), removed=(3,), record=8)
    with project.transaction():
        body = project.put_trained(made)
        run = project.add_run("train", project.put_dataset(data), body, name="first")
        project.record(
            "train", outputs={"run": run.id, "weights": body["checkpoints"][-1]["digest"]}, measures={"accuracy": np.float32(0.5)}
        )
    return made, run.id


def test_models_come_back_with_weights_and_trajectory(project):
    import torch

    made, run = trained(project)
    back = Project(project.path).trained(run)
    assert (back.model, back.recipe, back.claim, back.removed) == (made.model, made.recipe, made.claim, made.removed)
    assert [(c.step, c.lr) for c in back.checkpoints] == [(c.step, c.lr) for c in made.checkpoints]
    for ours, theirs in zip(back.checkpoints, made.checkpoints, strict=True):
        assert all(torch.equal(ours.load()[key], value) for key, value in theirs.load().items())
    assert made.trajectory is not None
    for key, states in made.trajectory.load().items():
        np.testing.assert_array_equal(back.trajectory.load()[key], states)
        assert isinstance(back.trajectory.load()[key], np.memmap)
    assert project.put_trained(back) == project.run(run).body
    outside = project.put_trained(replace(made, recipe=None, trajectory=None, checkpoints=made.checkpoints[-1:]))
    assert project.rebuilt(outside).recipe is None
    assert project.rebuilt(outside).trajectory is None


def test_the_newest_run_that_somebody_trained_is_the_default(project):
    with pytest.raises(BadInput, match="no trained model yet"):
        project.run()
    first = project.add_run("train", "d" * 64, {})
    second = project.add_run("import", "d" * 64, {}, name="second")
    third = project.add_run("unlearn", "d" * 64, {"claim": "L1"}, parent=second.id)
    assert project.run() == second
    assert project.run(third.id).body == {"claim": "L1"}
    assert [run.id for run in project.runs()] == [third.id, second.id, first.id]
    with pytest.raises(BadInput, match=third.id):
        project.run("no such run")
    with pytest.raises(BadInput, match="no run"):
        project.add_run("unlearn", "d" * 64, {}, parent="no such run")
    assert len(project.runs()) == 3


def test_a_transaction_is_all_or_nothing(project):
    def fail() -> None:
        with project.transaction():
            run = project.add_run("train", "d" * 64, {})
            project.note("n", 1)
            project.record("train")
            assert project.run().id == run.id  # it sees its own
            assert Project(project.path).runs() == []  # nobody else does
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (project.runs(), project.records(), project.noted("n")) == ([], [], None)
    with project.transaction(), project.transaction():
        project.note("n", {"a": [1]})
    project.note("n", {"a": [2]})
    assert project.noted("n") == {"a": [2]}


def test_notes_are_found_by_how_their_names_begin(project):
    for place, name in enumerate(("a/50%_b", "a/50 b", "a_c")):
        project.note(name, place)
    assert project.notes("a/50%_") == {"a/50%_b": 0}
    assert project.notes("a/") == {"a/50 b": 1, "a/50%_b": 0}
    assert project.notes("a_") == {"a_c": 2}


def test_the_selection_has_a_history(project):
    a, b, c = (Selection((i,), reason={"rule": str(i)}) for i in range(3))
    assert project.current() is None
    assert project.undo() is None
    for chosen in (a, b, b):
        project.choose(chosen)
    assert project.current() == b
    assert project.undo() == a
    project.choose(c)
    assert Project(project.path).current() == c
    assert [project.undo(), project.undo(), project.undo()] == [a, None, None]
    project.choose(b)
    assert project.undo() is None


def test_each_data_set_has_a_selection_of_its_own(project):
    a, b, c = (Selection((i,), reason={"dataset": name}) for i, name in enumerate("DDE"))
    for chosen in (a, b, c):
        project.choose(chosen)
    assert [project.current(name) for name in ("D", "E", "F", "")] == [b, c, None, c]
    assert project.chosen_at("D") < project.chosen_at("E")
    assert not project.chosen_at("F")
    assert project.undo("D") == a
    assert project.current("E") == c
    assert project.undo() is None, "of D, where the last step was taken"
    assert [project.current(name) for name in ("D", "E")] == [None, c]
    project.choose(Selection((), reason={"dataset": "E"}))
    project.choose(a)
    assert not project.current("E")
    assert project.undo("E") == c
    assert project.current("D") == a
    project.choose(Selection(()))
    assert not any(project.current(name) for name in "DEF"), "what names no data set is of all"


def test_a_project_of_before_data_sets_had_selections_of_their_own_opens(project):
    old, new = (Selection((i,), reason={"dataset": name}) for i, name in enumerate("DE"))
    project.choose(old)
    project.close()
    with sqlite3.connect(project.path / "catalogue.sqlite") as connection:
        connection.execute("DROP TABLE selection_of")
    again = Project(project.path)
    assert again.current("D") == old
    again.choose(new)
    assert [again.current("D"), again.current("E")] == [old, new]


def test_a_folder_that_holds_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match="holds other things"):
        Project(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(BadInput, match="is a file"):
        Project(tmp_path / "thesis.txt")
    with pytest.raises(BadInput, match="cannot be made"):
        Project(tmp_path / "thesis.txt" / "p")
    (tmp_path / "empty").mkdir()
    assert Project(tmp_path / "empty").runs() == []


def test_catalogues_that_are_none_or_too_new_are_refused(tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "catalogue.sqlite").write_text("no database, however long this text is " * 50)
    with pytest.raises(BadInput, match="no catalogue"):
        Project(tmp_path / "text")
    (tmp_path / "other").mkdir()
    with sqlite3.connect(tmp_path / "other" / "catalogue.sqlite") as other:
        other.execute("CREATE TABLE phone (number)")
    other.close()
    with pytest.raises(BadInput, match="no catalogue"):
        Project(tmp_path / "other")
    Project(tmp_path / "new").close()
    with sqlite3.connect(tmp_path / "new" / "catalogue.sqlite") as new:
        new.execute("UPDATE schema SET version = version + 1")
    new.close()
    with pytest.raises(BadInput, match=f"format is {VERSION + 1}.* Update"):
        Project(tmp_path / "new")


def test_many_processes_may_open_a_new_project_at_once(tmp_path):
    code = "import sys; from influence.store import Project; Project(sys.argv[1]).note(sys.argv[2], 1)"
    started = [subprocess.Popen([sys.executable, "-c", code, tmp_path / "p", str(i)], cwd=ROOT) for i in range(3)]
    assert [process.wait() for process in started] == [0] * 3
    assert [Project(tmp_path / "p").noted(str(i)) for i in range(3)] == [1] * 3
