"""From images that were found to a data set: sizes, colours, roles, what is told of it, and how little memory it takes."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from influence.actions import perform
from influence.data.dataset import ROLES
from influence.data.images import fill, stack
from influence.data.images.prepare import outline, prepare_images, wished
from influence.data.images.settings import Reading
from influence.data.images.sources import find
from influence.errors import BadInput, Cancelled
from influence.store import Project
from influence.types import Event
from tests.imagery import as_folder, as_zip, colour, grey, packed, two_classes


@pytest.fixture
def prepared(tmp_path):
    """Makes the data set of these files."""

    def make(files, report=lambda event: None, **wish):
        images = find(as_zip(tmp_path / "set.zip", files))
        return prepare_images(images, wished(images, **wish), folder=tmp_path / "scratch", report=report)

    return make


def every(data, column: str) -> pd.Series:
    return pd.concat([data.split(role).columns for role in ROLES], ignore_index=True)[column]


def one(data, id: str) -> np.ndarray:
    return next(data.split(role).x[data.split(role).mask([id])][0] for role in ROLES if id in data.split(role).ids)


def test_images_of_one_size_keep_it(prepared):
    data = prepared(two_classes(20, size=(9, 7)))
    assert data.train.shape == (1, 9, 7)
    assert data.train.x.dtype == np.float32
    assert data.notes == "Images: 7 x 9, grey."
    assert (every(data, "width").unique().tolist(), every(data, "height").unique().tolist()) == ([7], [9])
    assert data.encoding["shape"] == [1, 9, 7]


def test_images_of_many_sizes_get_their_median(prepared):
    files = {f"{'ab'[i % 2]}/{i}.png": packed(grey(i, (10 + i % 5, 20 + i % 7))) for i in range(70)}
    data = prepared(files)
    assert data.train.shape == (1, 12, 23)
    assert "scaled from 35 sizes (20 to 26 wide, 10 to 14 high), and cut evenly" in data.notes


def test_large_images_are_made_smaller_unless_a_size_is_chosen(prepared):
    files = {f"{'ab'[i % 2]}/{i}.png": packed(grey(i, (100, 200))) for i in range(40)}
    assert prepared(files).train.shape == (1, 32, 64)
    assert "Images: 64 x 32, grey, scaled from 200 x 100." in prepared(files).notes
    assert prepared(files, reading=Reading(size=20)).train.shape == (1, 20, 20)


def test_one_colour_image_makes_all_colour(prepared):
    files = two_classes(20)
    plain = prepared(files)
    mixed = prepared(files | {"dark/zz.png": packed(colour())})
    assert (plain.train.shape[0], mixed.train.shape[0]) == (1, 3)
    for id in ("dark/000", "light/019"):
        np.testing.assert_array_equal(one(mixed, id), np.repeat(one(plain, id), 3, axis=0))
    np.testing.assert_array_equal(one(mixed, "dark/zz"), np.moveaxis(colour(), 2, 0) / np.float32(255))
    assert prepared(files | {"dark/zz.png": packed(colour())}, reading=Reading(channels="grey")).train.shape[0] == 1
    assert prepared(files, reading=Reading(channels="colour")).train.shape[0] == 3


def test_grey_in_three_channels_is_grey(prepared):
    files = {path: packed(np.repeat(np.asarray(Image.open(io.BytesIO(data)))[..., None], 3, 2)) for path, data in two_classes(20).items()}
    assert prepared(files).train.shape[0] == 1
    np.testing.assert_array_equal(one(prepared(files), "dark/003"), one(prepared(two_classes(20)), "dark/003"))


def test_a_few_unreadable_images_are_left_out_and_named(prepared):
    files = two_classes(100)
    files |= {"dark/007.png": b"these are words", "light/050.png": files["light/050.png"][:-30]}
    data = prepared(files)
    assert sum(len(data.split(role)) for role in ROLES) == 198
    assert "2 of 200 images could not be read and were left out: 'dark/007.png' is no PNG" in data.notes
    assert "'light/050.png' is damaged or cut short" in data.notes
    whole = prepared(two_classes(100))
    for role in ROLES:  # nobody else has moved
        kept = whole.split(role).take(~np.isin(whole.split(role).ids, ["dark/007", "light/050"]))
        np.testing.assert_array_equal(data.split(role).ids, kept.ids)
        np.testing.assert_array_equal(data.split(role).x, kept.x)
        np.testing.assert_array_equal(data.split(role).y, kept.y)


def test_more_than_one_in_a_hundred_are_refused(prepared, tmp_path):
    files = two_classes(100) | {f"dark/{i:03d}.png": b"words" for i in (1, 2, 3)}
    with pytest.raises(BadInput, match=r"'dark/001\.png' is no PNG.*; 3 such images so far.*one in a hundred of the 200 images"):
        prepared(files)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_was_done_to_images_is_said(prepared):
    exif = Image.Exif()
    exif[0x0112] = 6
    files = two_classes(100)
    files["dark/001.png"] = packed(grey(), "JPEG", exif=exif)
    files["dark/002.png"] = packed(np.dstack([grey(), grey(1), grey(2), grey(3)]))
    files["dark/003.png"] = packed((grey().astype(np.uint16) + 1) * 200)
    notes = prepared(files).notes
    assert "1 turned upright, as the camera noted (EXIF); 1 with transparent parts, laid on white; 1 of 16 bits, rounded to 8." in notes


def test_copies_across_the_split_and_torn_labels_are_counted(prepared):
    files = {f"{part}/{path}": data for part in ("train", "test") for path, data in two_classes(20).items()}
    files = {path: packed(grey(zlib.crc32(path.encode()))) for path in files}
    for i in range(3):
        files[f"test/dark/{i:03d}.png"] = files[f"train/dark/{i:03d}.png"]
    files["test/light/004.png"] = files["train/dark/000.png"]
    files["train/light/009.png"] = files["train/dark/009.png"]
    data = prepared(files)
    assert "4 test images are exact copies of training images. 1 training image occurs again with another label." in data.notes


def test_brightness_is_an_audit_column(prepared):
    data = prepared(two_classes(40))
    assert data.audit == ("brightness_level",)
    assert every(data, "brightness_level").value_counts().to_dict() == {"low": 40, "high": 40}
    bright = every(data, "path").str.startswith("light")
    assert (every(data, "brightness_level")[bright] == "high").all()
    row = data.train.columns.iloc[0]
    assert row["brightness"] == pytest.approx(float(data.train.x[0].mean()), abs=1e-4)


def test_where_all_are_equally_bright_there_is_no_such_group(prepared):
    files = {f"{'ab'[i % 2]}/{i}.png": packed(np.full((5, 5), 99, np.uint8)) for i in range(40)}
    assert prepared(files).audit == ()


def test_columns_keep_their_names_and_ours_give_way(tmp_path):
    as_folder(tmp_path / "data", two_classes(30))
    paths = list(two_classes(30))
    frame = pd.DataFrame({"f": paths, "label": [p[0] for p in paths], "width": "wide", "brightness_level": ["x", "y"] * 30})
    frame.to_csv(tmp_path / "data" / "t.csv", index=False)
    images = find(tmp_path / "data" / "t.csv", "f")
    data = prepare_images(images, wished(images, audit=["brightness_level"]), folder=tmp_path)
    assert data.audit == ("brightness_level", "brightness_level (image)")
    assert set(data.train.columns["width"]) == {"wide"}
    assert set(data.train.columns["width (image)"]) == {6}


def test_the_outline_is_the_data_set_without_pixels(tmp_path):
    images = find(as_zip(tmp_path / "set.zip", two_classes(30)))
    wish = wished(images, test_share=0.4, seed=3)
    drawn, data = outline(images, wish), prepare_images(images, wish, folder=tmp_path)
    for role in ROLES:
        np.testing.assert_array_equal(drawn.split(role).ids, data.split(role).ids)
        np.testing.assert_array_equal(drawn.split(role).y, data.split(role).y)
        assert drawn.split(role).x.shape == data.split(role).x.shape
        assert drawn.split(role).x.strides == (0, 0, 0, 0), "no memory"
    assert (drawn.target, drawn.train.classes, drawn.encoding) == (data.target, data.train.classes, data.encoding)


def test_the_file_of_pixels_goes_with_the_data(prepared, tmp_path):
    data = prepared(two_classes(20) | {"dark/zz.png": packed(colour())})
    assert len(list((tmp_path / "scratch").iterdir())) == 3
    assert isinstance(data.train.x, np.memmap)
    del data
    gc.collect()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_cancel_leaves_no_file(prepared, tmp_path):
    def cancel(event: Event) -> None:
        if event.done > 10:
            raise Cancelled

    with pytest.raises(Cancelled):
        prepared(two_classes(20), report=cancel)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_killed_processes_left_is_swept_and_others_stay(tmp_path):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    for pid in (gone.stdout.strip(), os.getpid()):
        (tmp_path / f"{stack.PREFIX}{pid}-abc.f32").write_bytes(b"x")
    stack.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{stack.PREFIX}{os.getpid()}-abc.f32"]


def test_progress_is_told(prepared):
    events: list[Event] = []
    prepared(two_classes(20), report=events.append)
    assert [event.done for event in events] == list(range(41))
    assert {(event.stage, event.total) for event in events} == {("read", 40)}


def test_too_many_pixels_in_all_are_refused(prepared, monkeypatch):
    monkeypatch.setattr(fill, "MOST_PIXELS", 1000)
    with pytest.raises(BadInput, match="Scale the images down first"):
        prepared(two_classes(20))


def test_what_would_not_fit_is_refused_before_a_pixel_is_read(prepared, monkeypatch):
    from influence.data.images import prepare

    monkeypatch.setattr(prepare, "MOST_BYTES", 1000)
    monkeypatch.setattr(prepare, "fill", lambda *given: pytest.fail("it was read"))
    with pytest.raises(BadInput, match=r"40 images of 6 x 6 would take .* Choose a smaller size"):
        prepared(two_classes(20))


CHOICES = {
    "few images": (two_classes(5), {}, "has 10 rows"),
    "no such target": (two_classes(20), {"target": "breed"}, "'breed' is not a column"),
    "no such group": (two_classes(20), {"protected": ["sex"]}, "'sex' is not a column"),
    "rare class": (two_classes(20) | {"rare/1.png": packed(grey())}, {}, "'rare'.*at least 2 are needed"),
    "no test image": (two_classes(20), {"test_share": 0.001}, "share of test rows"),
}


@pytest.mark.parametrize("case", CHOICES)
def test_choices_that_do_not_fit_are_one_sentence(prepared, case):
    files, wish, reason = CHOICES[case]
    with pytest.raises(BadInput, match=reason):
        prepared(files, **wish)


# --- the action


def test_a_size_that_others_decided_is_no_exact_unlearning(tmp_path):
    """The median is of all images, also of those removed: weights that never saw them are not all that there is."""
    project = Project(tmp_path / "p")
    mixed = {path: packed(grey(i, (5 + i % 3, 6), bright=100 * (i % 2))) for i, path in enumerate(two_classes(30))}
    claims = {}
    for name, files, size in (("mixed", mixed, 0), ("chosen", mixed, 6), ("one size", two_classes(30), 0)):
        run = perform(
            "train", project, {"data": str(as_zip(tmp_path / "set.zip", files)), "set": {"epochs": 1}, "data_set": {"size": size}}
        )
        made = perform(
            "unlearn", project, {"run": run["run"], "ids": project.dataset(project.run(run["run"]).dataset).train.ids[:3].tolist()}
        )
        claims[name] = made["claim"]
    assert claims == {"mixed": "L1", "chosen": "L2", "one size": "L2"}


def test_images_are_trained_with_a_cnn_and_replayed(tmp_path):
    project = Project(tmp_path / "p")
    source = as_zip(tmp_path / "set.zip", two_classes(60))
    result = perform("train", project, {"data": str(source), "set": {"epochs": 3}, "data_set": {"size": "5"}})
    run = project.run(result["run"])
    assert run.body["model"]["name"] == "cnn"
    assert run.body["model"]["inputs"] == [1, 5, 5]
    assert run.body["groups"] == ["brightness_level"]
    data = project.dataset(run.dataset)
    assert data.source == {"path": "set.zip", "kind": "zip"}
    assert list((project.path / "work").glob(f"{stack.PREFIX}*")) == []
    again = perform("train", project, {"data": str(source), "set": {"epochs": 3}, "data_set": {"size": 5}})
    assert project.run(again["run"]).body["checkpoints"] == run.body["checkpoints"]
    assert project.run(again["run"]).dataset == run.dataset
    scores = perform("attribute", project, {"run": run.id, "query": "loss"})
    assert len(project.scores(scores["scores"]).ids) == len(data.train)
    assert project.check() == []


def test_the_command_reads_images(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from influence.__main__ import app

    folder = as_folder(tmp_path / "set", two_classes(30))
    paths = list(two_classes(30))
    pd.DataFrame({"f": paths, "kind": [p[0] for p in paths]}).to_csv(folder / "t.csv", index=False)
    where = ["--project", str(tmp_path / "p"), "--set", "epochs=1", "--json"]
    for data, more in ((folder, ["--data-set", "size=5"]), (folder / "t.csv", ["--image", "f", "--target", "kind", "--model", "mlp"])):
        done = CliRunner().invoke(app, ["train", str(data), *more, *where])
        assert done.exit_code == 0, done.output
    names = [run.body["model"]["name"] for run in Project(tmp_path / "p").runs()]
    assert sorted(names) == ["cnn", "mlp"]
    refused = CliRunner().invoke(app, ["train", str(folder), "--eval", str(folder), *where])
    assert refused.exit_code == 2
    assert "A second file of test rows is for tables" in refused.output


@pytest.mark.slow
def test_a_hundred_thousand_small_files_take_little_memory(tmp_path):
    as_folder(tmp_path, {f"set/{'ab'[i % 2]}/{i}.png": packed(grey(i, (8, 8), bright=100 * (i % 2))) for i in range(50)})
    for i in range(50, 100_000):
        os.link(tmp_path / f"set/{'ab'[i % 2]}/{i % 50}.png", tmp_path / f"set/{'ab'[i % 2]}/{i}.png")
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from influence.data.images.prepare import prepare_images, wished\n"
        "from influence.data.images.sources import find\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "images = find(sys.argv[1])\n"
        "data = prepare_images(images, wished(images), folder=Path(sys.argv[2]))\n"
        "print(len(data.train) + len(data.evaluation) + len(data.holdout), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    given = [sys.executable, "-c", code, str(tmp_path / "set"), str(tmp_path)]
    done = subprocess.run(given, capture_output=True, text=True, check=True)
    count, kib = map(int, done.stdout.split())
    assert count == 100_000
    assert kib < 400_000
