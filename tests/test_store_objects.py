"""Arrays, tables, JSON and weights in the store: equal values have one digest, and nothing half-written is ever read."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from influence.digest import digest
from influence.errors import BadInput
from influence.store import Project
from influence.store.formats import canonical

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path / "p")


def objects(project: Project) -> list[Path]:
    return sorted(path for path in (project.path / "objects").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(12)[::-2],
        np.zeros((0, 5)),
        np.array(3.5),
        np.array([True, False]),
        np.array(["a", "", "näïve", "a longer text"]),
        np.array([], dtype="<U3"),
        np.array([1, 2], dtype=">i4"),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
    ],
    ids=lambda a: f"{a.dtype.str}{a.shape}",
)
def test_arrays_come_back_as_read_only_maps(project, array):
    name = project.put_array(array)
    back = project.array(name)
    assert isinstance(back, np.memmap)
    assert not back.flags.writeable
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)
    np.testing.assert_array_equal(np.load(project.objects.path(name, "npy"), allow_pickle=False), array)


def test_an_array_is_the_same_file_as_numpy_writes(project, tmp_path):
    array = np.random.default_rng(0).normal(size=(7, 3))
    np.save(tmp_path / "theirs.npy", array)
    name = project.put_array(array)
    assert name == hashlib.sha256((tmp_path / "theirs.npy").read_bytes()).hexdigest()
    assert project.objects.path(name, "npy").relative_to(project.path) == Path("objects", name[:2], f"{name}.npy")
    assert project.put_array(np.asfortranarray(array)) == name


def test_an_array_is_not_copied_on_its_way_to_the_store(tmp_path):
    code = """
import resource, sys
import numpy as np
from influence.store import Project
project = Project(sys.argv[1])
array = np.ones(8 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
project.put_array(array)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024) / array.nbytes)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "p"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.2


@pytest.mark.parametrize(
    "array", [np.array(["a", None], dtype=object), np.array(["a"], dtype=np.dtypes.StringDType())], ids=["object", "string"]
)
def test_arrays_of_objects_are_refused(project, array):
    with pytest.raises(BadInput, match="fixed width"):
        project.put_array(array)
    assert not objects(project)


def columns() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "whole": np.array([3, 1, 2], dtype=np.int8),
            "real": np.array([1.5, np.nan, -0.0], dtype=np.float32),
            "text": pd.Series(["a", None, "ü"], dtype="str"),
            "text of pandas 2": pd.Series(["a", pd.NA, "c"], dtype="string"),
            "objects": pd.Series(["a", None, "c"], dtype=object),
            "flags with gaps": pd.Series([True, None, False], dtype=object),
            "numbers as objects": pd.Series([1, None, 3], dtype=object),
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "kind": pd.Categorical(["b", "a", None], categories=["unused", "b", "a"]),
            "grade": pd.Categorical([3, 1, 2], categories=[1, 2, 3], ordered=True),
            "day": pd.to_datetime(["2020-01-01", None, "2021-06-01"]).astype("datetime64[s]"),
            "moment": pd.to_datetime(["2020-01-01", None, "2021-06-01"]).tz_localize("Europe/Berlin"),
            "span": pd.to_timedelta([1, None, 3], unit="s"),
        }
    )


@pytest.mark.parametrize("name", [*columns(), None])
def test_tables_keep_types_values_and_identity(project, name):
    frame = columns() if name is None else columns()[[name]]
    kept = project.put_table(frame)
    back = project.table(kept)
    pd.testing.assert_frame_equal(back, frame)
    assert digest(back) == digest(frame)
    assert project.put_table(back) == kept
    assert kept == hashlib.sha256(project.table_path(kept).read_bytes()).hexdigest()


def test_equal_tables_have_one_digest_and_other_programs_read_them(project):
    import duckdb

    frame = columns()
    shuffled = frame.iloc[[2, 0, 1]]
    assert project.put_table(shuffled) == project.put_table(shuffled.reset_index(drop=True))
    assert project.put_table(frame) != project.put_table(shuffled)
    path = project.table_path(project.put_table(frame))
    assert duckdb.sql(f"SELECT text, grade FROM '{path}' ORDER BY whole").fetchall() == [(None, 1), ("ü", 2), ("a", 3)]


def test_a_table_without_columns_keeps_its_rows(project):
    assert project.table(project.put_table(pd.DataFrame(index=range(4)))).shape == (4, 0)
    assert project.table(project.put_table(columns().head(0))).dtypes.equals(columns().dtypes)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame({"m": [1, "a"]}), "values of one type"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "name of its own"),
        (pd.DataFrame({"c": pd.cut([1, 5], 2)}), "interval"),
    ],
)
def test_tables_that_cannot_be_kept_are_refused(project, frame, said):
    with pytest.raises(BadInput, match=said):
        project.put_table(frame)
    assert not objects(project)


def test_json_is_canonical(project):
    value = {"b": (1, np.float32(0.5), np.int64(2)), "a": {"x": float("nan"), "ü": [True, None]}, 3: Path("here")}
    assert canonical(value) == '{"3":"here","a":{"x":null,"ü":[true,null]},"b":[1,0.5,2]}'
    assert project.json(project.put_json(value)) == {"3": "here", "a": {"x": None, "ü": [True, None]}, "b": [1, 0.5, 2]}
    assert project.put_json({"a": 1, "b": 2}) == project.put_json({"b": 2, "a": 1})
    with pytest.raises(TypeError):
        project.put_json({"a": object()})


def test_weights_come_back_bit_equal(project):
    import torch

    shared = torch.randn(6)
    state = {
        "w": torch.randn(3, 4).T,
        "b": shared[:2],
        "c": shared[2:],
        "tied": shared[:2],
        "n": torch.tensor(7),
        "h": torch.randn(2).half(),
    }
    name = project.put_state(state)
    back = project.state(name)
    assert {key: value.dtype for key, value in back.items()} == {key: value.dtype for key, value in state.items()}
    assert all(torch.equal(back[key], value) for key, value in state.items())
    assert project.put_state(dict(reversed(back.items()))) == name


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63, "0" * 64])
def test_what_is_no_object_is_not_read(project, name):
    for read in (project.json, project.array, project.table, project.state, project.table_path, project.dataset):
        with pytest.raises(BadInput):
            read(name)


def test_damaged_objects_are_refused_with_a_sentence(project):
    import torch

    put = {
        project.json: project.put_json({"a": 1}),
        project.array: project.put_array(np.arange(9)),
        project.table: project.put_table(columns()),
        project.state: project.put_state({"w": torch.ones(3)}),
    }
    for path in objects(project):
        path.write_bytes(path.read_bytes()[:-8])
    for read, name in put.items():
        with pytest.raises(BadInput, match="damaged"):
            read(name)


def test_an_object_that_exists_is_not_written_again(project):
    name = project.put_array(np.arange(5))
    before = project.objects.path(name, "npy").stat()
    assert project.put_array(np.arange(5)) == name
    after = project.objects.path(name, "npy").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_a_killed_writer_leaves_nothing_that_can_be_read(project):
    code = """
import sys
import numpy as np
from influence.store import Project
project = Project(sys.argv[1])
big = np.zeros(2**22)
print("writing", flush=True)
for i in range(10**6):
    big[0] = i
    project.put_array(big)
"""
    writer = subprocess.Popen([sys.executable, "-c", code, project.path], cwd=ROOT, stdout=subprocess.PIPE)
    with writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        end = time.monotonic() + 10
        while not list((project.path / "objects").glob("*/.*.half")) and time.monotonic() < end:
            pass
        os.kill(writer.pid, signal.SIGKILL)
    left = objects(project)
    half = [path for path in left if path.name.endswith(".half")]
    assert len(half) == 1
    for path in left:
        if path not in half:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    project.objects.sweep()
    assert half[0].exists()  # it could still be written
    os.utime(half[0], (0, 0))
    project.objects.sweep()
    assert [path for path in left if path.exists()] == [path for path in left if path not in half]


def test_a_failed_write_leaves_nothing(project, monkeypatch):
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        project.put_array(np.arange(5))
    assert not objects(project)
