"""The arrays that a model from elsewhere was trained on: written there, read here, refused where they do not fit together."""

from __future__ import annotations

import json
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest

import influence
from influence.actions import perform
from influence.data.arrays import is_arrays, prepare_arrays
from influence.errors import BadInput
from influence.store import Project

N = 200
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)
TEST = np.arange(N) % 3 == 0
GROUP = pd.DataFrame({"group": RNG.choice(["a", "b"], N)})


def written(folder, **other):
    given = {"x": X, "y": Y, "test": TEST, "columns": GROUP, "classes": ("no", "yes"), "protected": ("group",), **other}
    return influence.save_data(folder / "data", given.pop("x"), given.pop("y"), given.pop("test"), **given)


def test_the_arrays_come_back_as_they_were(tmp_path):
    folder = written(tmp_path)
    assert is_arrays(folder)
    found = prepare_arrays(folder)
    for part, wanted in ((found.train, ~TEST), (found.evaluation, None), (found.holdout, None)):
        np.testing.assert_array_equal(part.x, X[part.ids])
        np.testing.assert_array_equal(part.y, Y[part.ids])
        assert (part.columns["group"].to_numpy() == GROUP["group"].to_numpy()[part.ids]).all()
        assert wanted is None or part.ids.tolist() == np.flatnonzero(wanted).tolist()
    assert sorted([*found.evaluation.ids, *found.holdout.ids]) == np.flatnonzero(TEST).tolist()
    assert (found.train.classes, found.target, found.protected) == (("no", "yes"), "target", ("group",))
    assert found.train.columns["target"].tolist() == [("no", "yes")[y] for y in found.train.y]


def test_numbers_text_ids_and_several_inputs(tmp_path):
    ids = np.array([f"person {i}" for i in range(N)])
    found = prepare_arrays(written(tmp_path, x={"a": X, "b": X[:, :1]}, y=X[:, 0], classes=(), ids=ids, name="mine"))
    assert set(found.train.x) == {"a", "b"}
    assert found.train.y.dtype == np.float32
    assert found.name == "mine"
    assert found.train.ids[0] == "person 1"


def test_a_model_is_trained_on_them(tmp_path):
    result = perform("train", Project(tmp_path / "p"), {"data": str(written(tmp_path)), "set": {"epochs": 3}})
    assert result["metrics"]["accuracy"] > 0.8
    assert "group" in result["metrics"]["gaps"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"y": Y[:-1]}, "need one length"), ({"test": TEST[:-1]}, "need one length"), ({"columns": GROUP[:-1]}, "need one length"),
        ({"x": np.where(X > 2, np.nan, X)}, "not finite"), ({"y": Y + 1}, "places 0 to 1"), ({"y": X[:, 0]}, "places 0 to 1"),
        ({"ids": np.zeros(N, dtype=int)}, "distinct"), ({"protected": ("sex",)}, "'sex' is chosen to form groups"),
        ({"test": np.ones(N, dtype=bool)}, "0 training"), ({"x": X.astype(object)}, "must be numbers"),
        ({"x": np.array(["a"] * N)}, "must be numbers"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused_and_nothing_is_written(tmp_path, other, said):
    with pytest.raises(BadInput, match=said):
        written(tmp_path, **other)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_left_alone(tmp_path):
    written(tmp_path)
    with pytest.raises(BadInput, match="exists already"):
        written(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "data.json").write_text("["), "missing or damaged"),
        (lambda f: (f / "data.json").write_text(json.dumps({"format": 1})), "missing or damaged"),
        (lambda f: (f / "data.npz").write_bytes(b"PK\x03\x04"), "damaged"),
        (lambda f: np.savez(f / "data.npz", x=X, y=Y), "lacks 'ids'"),
        (lambda f: np.savez(f / "data.npz", x=np.array([{}] * N, dtype=object), y=Y, ids=np.arange(N), test=TEST), "holds Python objects"),
        (lambda f: (f / "columns.parquet").write_bytes(b"PAR1 and nothing"), "Parquet"),
    ],
)
def test_damaged_files_are_refused_in_a_sentence(tmp_path, change, said):
    folder = written(tmp_path)
    change(folder)
    with pytest.raises(BadInput, match=said):
        prepare_arrays(folder)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    folder = written(tmp_path)
    swell(folder / "data.npz", 110_000_000)
    with pytest.raises(BadInput, match=r"would unpack to 110 MB.*at most 2 times.*influence\.save_data"):
        prepare_arrays(folder)


def test_only_what_is_needed_of_the_arrays_is_read(tmp_path):
    """Beside the arrays lies one of 60 MB that nobody asks for: no memory is taken for it."""
    folder = written(tmp_path)
    swell(folder / "data.npz", 60_000_000)
    tracemalloc.start()
    try:
        prepare_arrays(folder)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_link_that_leads_out_of_the_folder_is_not_followed(tmp_path):
    folder = written(tmp_path)
    (folder / "again.npz").symlink_to(folder / "data.npz")
    assert len(prepare_arrays(folder).train) == (~TEST).sum(), "a link within is none"
    (folder / "columns.parquet").rename(tmp_path / "elsewhere.parquet")
    (folder / "columns.parquet").symlink_to(tmp_path / "elsewhere.parquet")
    with pytest.raises(BadInput, match=r"'columns\.parquet' in 'data' is a link that leads out of the folder"):
        prepare_arrays(folder)


def swell(path, size: int) -> None:
    """Add an array of many zeros in few bytes."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("junk.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (size,)})
        for _ in range(0, size, 10**6):
            file.write(bytes(10**6))


@pytest.mark.parametrize("lay", [np.asfortranarray, np.ascontiguousarray, lambda x: x.T.copy().T])
def test_arrays_come_back_however_they_lie(tmp_path, lay):
    """A table's values lie column by column."""
    np.testing.assert_array_equal(prepare_arrays(written(tmp_path, x=lay(X))).train.x, X[~TEST])


def test_text_of_what_are_no_letters_is_refused(tmp_path):
    folder = written(tmp_path)
    with np.load(folder / "data.npz") as found:
        parts = dict(found)
    np.savez(folder / "data.npz", **{**parts, "ids": np.full(N, 2**31, "<u4").view("<U1")})
    with pytest.raises(BadInput, match=r"'ids' in 'data\.npz' is damaged"):
        prepare_arrays(folder)


def test_a_changed_number_is_seen(tmp_path):
    folder = written(tmp_path)
    held = bytearray((folder / "data.npz").read_bytes())
    at = held.index(X.tobytes()) + 100
    held[at] ^= 1
    (folder / "data.npz").write_bytes(held)
    with pytest.raises(BadInput, match=r"'x' in 'data\.npz' is damaged"):
        prepare_arrays(folder)
