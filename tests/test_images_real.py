"""Real public images: as files and as arrays they are the same pixels, and a model learns what they show."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from influence.actions import perform
from influence.data.dataset import ROLES
from influence.data.images.prepare import prepare_images, wished
from influence.data.images.sources import find
from influence.store import Project
from tests.imagery import packed

SETS = ("mnist.npz", "fashion_mnist.npz")


def as_pngs(npz: Path, to: Path, train: int, test: int) -> Path:
    """The first images of a set as an archive of PNG files in class folders, each named by its place."""
    with np.load(npz) as arrays, zipfile.ZipFile(to, "w") as archive:
        for part, count in (("train", train), ("test", test)):
            x, y = arrays[f"x_{part}"][:count], arrays[f"y_{part}"][:count]
            for place in range(count):
                archive.writestr(f"{npz.stem}/{part}/{y[place]}/{place}.png", packed(x[place]))
    return to


def pixels(data) -> dict[str, tuple[str, np.ndarray]]:
    """Class and pixels of every image, by its part and its place there."""
    found = {}
    for role in ROLES:
        examples = data.split(role)
        for id, y, x in zip(examples.ids, examples.y, examples.x, strict=True):
            parts = str(id).split("/")
            found[f"{parts[0]}/{parts[-1]}"] = (examples.classes[y], x)
    return found


def cut(npz: Path, to: Path, train: int, test: int) -> Path:
    """The first images of a set as arrays."""
    with np.load(npz) as arrays:
        parts = {f"{a}_{part}": arrays[f"{a}_{part}"][:n] for a in "xy" for part, n in (("train", train), ("test", test))}
        np.savez(to, **parts, **({"class_names": arrays["class_names"]} if "class_names" in arrays else {}))
    return to


def compared(npz: Path, tmp_path: Path, train: int, test: int) -> None:
    images, tree = find(npz), find(as_pngs(npz, tmp_path / "set.zip", train, test))
    arrays = pixels(prepare_images(images, wished(images), folder=tmp_path))
    files = pixels(prepare_images(tree, wished(tree), folder=tmp_path))
    with np.load(npz) as raw:
        names = raw["class_names"] if "class_names" in raw else np.arange(10)
        first = raw["x_train"][3]
    assert set(arrays) == set(files)
    assert len(files) == train + test
    np.testing.assert_array_equal(arrays["train/3"][1], first[None] / np.float32(255))
    for id, (label, x) in files.items():
        assert arrays[id][0] == str(names[int(label)])
        np.testing.assert_array_equal(arrays[id][1], x)


@pytest.mark.parametrize("name", SETS)
def test_files_and_arrays_are_the_same_pixels(lethe_data, tmp_path, name):
    compared(cut(lethe_data / name, tmp_path / name, 1000, 500), tmp_path, 1000, 500)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_all_files_and_arrays_are_the_same_pixels(lethe_data, tmp_path, name):
    compared(lethe_data / name, tmp_path, 60_000, 10_000)


def test_cifar_with_its_three_parts(lethe_data, tmp_path):
    images = find(lethe_data / "cifar10_subset.npz")
    data = prepare_images(images, wished(images), folder=tmp_path)
    assert [len(data.split(role)) for role in ROLES] == [10_000, 1_000, 1_000]
    assert data.train.shape == (3, 32, 32)
    assert (data.train.classes[0], data.train.classes[-1]) == ("airplane", "truck")
    with np.load(lethe_data / "cifar10_subset.npz") as raw:
        np.testing.assert_array_equal(data.train.x[77], np.moveaxis(raw["x_train"][77], 2, 0) / np.float32(255))
        assert data.train.classes[data.train.y[77]] == raw["class_names"][raw["y_train"][77]]
        np.testing.assert_array_equal(data.holdout.columns["index"], raw["test_index"])
    assert data.notes == "Images: 32 x 32, colour."


@pytest.mark.slow
def test_a_cnn_learns_mnist_from_an_archive_and_is_asked(lethe_data, tmp_path):
    project = Project(tmp_path / "p")
    source = as_pngs(lethe_data / "mnist.npz", tmp_path / "mnist.zip", 2000, 1000)
    result = perform("train", project, {"data": str(source)})
    assert project.run(result["run"]).body["model"]["name"] == "cnn"
    assert result["metrics"]["accuracy"] > 0.93
    found = perform("attribute", project, {"run": result["run"], "query": "loss", "method": "tracin"})
    values = project.scores(found["scores"]).values
    assert values.shape == (2000, 1)
    assert np.ptp(values) > 0
