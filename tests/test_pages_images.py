"""Load and Influence for images: what was found is seen before training, what only tables need is not asked, and rows have pictures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from influence import jobs
from influence.actions import perform
from influence.data.images import thumbnails
from influence.data.images.folder import allowed_folder
from influence.errors import BadInput
from influence.store import Project
from influence.ui import pictures, sources
from tests import drawing
from tests.drawing import Draw, drawn, press, text, work
from tests.imagery import as_folder, as_zip, packed, two_classes

no_worker, empty, shown = drawing.no_worker, drawing.empty, drawing.shown

FILES = two_classes(30)
PICTURE = "data:image/png;base64,"


def uploaded(shown: Draw, project: Project, name: str, content: bytes) -> AppTest:
    at = shown(project, "load", source="Upload")
    at.file_uploader[0].set_value((name, content, "application/zip"))
    return drawn(at)


def labels(at: AppTest) -> set[str]:
    kinds = (at.selectbox, at.multiselect, at.number_input, at.slider, at.segmented_control)
    return {widget.label for kind in kinds for widget in kind}


def pick(at: AppTest, label: str, value) -> AppTest:
    kinds = (at.selectbox, at.multiselect, at.number_input, at.slider)
    next(widget for kind in kinds for widget in kind if widget.label == label).set_value(value)
    return drawn(at)


def test_an_uploaded_archive_is_seen_checked_and_trained(empty, shown, tmp_path):
    at = uploaded(shown, empty, "set.zip", as_zip(tmp_path / "set.zip", FILES).read_bytes())
    assert "**set**: 60 images" in text(at)
    first, classes = at.dataframe[0].value, at.dataframe[1].value
    assert first["path"].tolist() == sorted(FILES)[:20]
    assert first["image"].str.startswith(PICTURE).all()
    assert classes["label"].tolist() == ["dark", "light"]
    assert classes["images"].tolist() == [30, 30]
    assert classes.filter(like="picture").map(lambda cell: cell.startswith(PICTURE)).all(axis=None)
    assert "The model sees 6 x 6 pixels, grey" in text(at)
    assert {"Size", "Channels", "Share of test images", "Epochs"} <= labels(at)
    assert not {"Target", "Protected columns", "Audit columns", "Leave out", "ID column", "What the images show"} & labels(at)
    assert next(radio for radio in at.radio if radio.label == "Model").value == "cnn"
    pick(pick(pick(at, "Size", 5), "Share of test images", 0.4), "Epochs", 2)
    assert "The model sees 5 x 5 pixels, grey" in text(at)
    press(at, "Check")
    assert work(empty).state == "done"
    assert "can be trained" in text(drawn(at))
    assert not list((empty.path / "work").glob("*")), "no pixels stay behind"
    press(at, "Train")
    job = work(empty)
    assert job.state == "done", job.error
    assert (job.args["data_set"], job.args["test_share"], job.args["model"]) == ({"size": 5}, 0.4, "cnn")
    run = empty.run(job.result["run"])
    assert run.body["model"]["inputs"] == [1, 5, 5]
    drawn(at)
    assert "Images: 5 x 5, grey, scaled from 6 x 6" in text(at)


def test_arrays_with_their_own_parts_are_taken_as_they_are(empty, shown, tmp_path):
    x, y = np.random.default_rng(0).integers(0, 255, (80, 6, 6, 3)).astype(np.uint8), np.arange(80) % 4
    arrays = {"x_train": x[:60], "y_train": y[:60], "x_test": x[60:], "y_test": y[60:], "site_train": y[:60] // 2, "site_test": y[60:] // 2}
    np.savez(tmp_path / "set.npz", class_names=np.array(["a", "b", "c", "d"]), **arrays)
    at = uploaded(shown, empty, "set.npz", (tmp_path / "set.npz").read_bytes())
    assert "Test images as the arrays say: 60 train, 20 test" in text(at).replace("**", "")
    assert "Share of test images" not in labels(at)
    assert at.dataframe[1].value["label"].tolist() == ["a", "b", "c", "d"]
    pick(pick(at, "Protected columns", ["site"]), "Epochs", 1)
    press(at, "Train")
    job = work(empty)
    assert job.state == "done", job.error
    assert empty.run(job.result["run"]).body["groups"] == ["site", "brightness_level"]


BAD = {
    "climbing.zip": ({"../../evil.png": packed(np.zeros((5, 5), np.uint8))}, "leads out of the archive"),
    "nested.zip": ({"inner.zip": b"PK"}, "archives inside are not opened"),
    "nothing.zip": ({"readme.txt": b"hello"}, "holds no image"),
    "empty class.zip": (FILES | {"none/readme.txt": b"x"}, "holds no image"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_archive_is_one_sentence_and_leaves_the_project_as_it_was(empty, shown, tmp_path, name):
    files, reason = BAD[name]
    at = uploaded(shown, empty, name, as_zip(tmp_path / "set.zip", files).read_bytes())
    assert len(at.error) == 1
    assert reason in at.error[0].value.replace("\\", "")
    assert not (empty.path / "uploads").exists()
    assert [empty.runs(), empty.records(), jobs.listed(empty)] == [[], [], []]


LATE = {
    "one class": ({f"a/{i}.png": packed(np.full((5, 5), i, np.uint8)) for i in range(30)}, "are of one class"),
    "text": ({f"{c}/{i}.png": b"words" for c in "ab" for i in range(30)}, "None of the images"),
}


@pytest.mark.parametrize("case", LATE)
def test_images_that_cannot_be_trained_are_told_before_a_model_is_asked_for(empty, shown, tmp_path, case):
    files, reason = LATE[case]
    at = uploaded(shown, empty, "set.zip", as_zip(tmp_path / "set.zip", files).read_bytes())
    assert len(at.error) == 1
    assert reason in at.error[0].value.replace("\\", "")
    assert not at.button or "Train" not in [b.label for b in at.main.button]


def test_folders_and_archives_are_listed_in_open_folders(tmp_path):
    as_folder(tmp_path / "roots" / "flat", FILES)
    as_folder(tmp_path / "roots" / "parted", {f"{part}/{path}": data for part in ("train", "test") for path, data in FILES.items()})
    as_zip(tmp_path / "roots" / "set.zip", FILES)
    (tmp_path / "roots" / "t.csv").write_text("a,b\n1,2\n")
    assert sources.listed((tmp_path / "roots",), images=True) == ["set.zip", "t.csv", "flat", "parted"]
    assert sources.listed((tmp_path / "roots",)) == ["t.csv"]


def test_a_folder_is_taken_by_path_inside_open_folders_only(empty, shown, tmp_path, monkeypatch):
    roots = as_folder(tmp_path / "roots", {f"set/{path}": data for path, data in FILES.items()})
    secret = as_folder(tmp_path / "secret", FILES)
    (roots / "link").symlink_to(secret)
    (roots / "link.zip").symlink_to(as_zip(tmp_path / "secret.zip", FILES))
    monkeypatch.setenv("INFLUENCE_DATA_ROOTS", str(roots))
    at = shown(empty, "load", source="Path")
    label = "A table, or a folder, .zip or .npz of images"
    pick(at, label, "set")
    assert "**set**: 60 images" in text(at)
    pick(at, label, "link.zip")
    assert len(at.error) == 1
    assert "is no file inside an allowed folder" in at.error[0].value.replace("\\", "")
    assert allowed_folder("set", [roots]) == allowed_folder(roots / "set", [roots]) == roots / "set"
    assert allowed_folder(".", [roots]) == roots
    for outside in ("link", "../secret", secret, "none", "a\0b", "set/dark/000.png"):
        with pytest.raises(BadInput, match="no folder inside an allowed one"):
            allowed_folder(outside, [roots])


def test_a_table_that_names_images_asks_which_column(empty, shown, tmp_path, monkeypatch):
    as_folder(tmp_path / "roots", FILES)
    frame = pd.DataFrame({"file": list(FILES), "kind": [p.split("/")[0] for p in FILES], "sex": ["f", "f", "m", "m"] * 15})
    frame.to_csv(tmp_path / "roots" / "t.csv", index=False)
    monkeypatch.setenv("INFLUENCE_DATA_ROOTS", str(tmp_path / "roots"))
    at = pick(shown(empty, "load", source="Path"), "A table, or a folder, .zip or .npz of images", "t.csv")
    assert next(s for s in at.selectbox if s.label == "Images are named by the column").value == "file"
    pick(at, "What the images show", "kind")
    assert at.dataframe[1].value["kind"].tolist() == ["dark", "light"]
    pick(at, "Epochs", 1)
    press(at, "Train")
    job = work(empty)
    assert job.state == "done", job.error
    assert job.args["data_set"] == {"image": "file"}
    assert empty.dataset(empty.run(job.result["run"]).dataset).train.shape == (1, 6, 6)
    pick(at, "Images are named by the column", "None: train on the other columns")
    assert "Target" in labels(at)


def test_rows_have_pictures_on_influence_and_among_wrong_labels(tmp_path, shown):
    project = Project(tmp_path / "p")
    run = perform("train", project, {"data": "bundled:digits", "set": {"epochs": 1}})["run"]
    perform("attribute", project, {"run": run, "query": "loss"})
    perform("mislabelled", project, {"run": run, "method": "loss"})
    at = shown(project, "influence", query="loss")
    tables = [table.value for table in at.dataframe if "image" in table.value]
    assert len(tables) >= 2
    train = project.dataset(project.run(run).dataset).train
    for table in tables:
        assert table["image"].str.startswith(PICTURE).all()
        assert table.columns[0] == "image"
    row = tables[0].iloc[3]
    assert row["image"] == thumbnails.of_pixels(train.x[train.mask([row["id"]])][0])


def test_rows_to_remove_and_flipped_predictions_have_pictures(tmp_path, shown):
    project = Project(tmp_path / "p")
    run = perform("train", project, {"data": "bundled:digits", "set": {"epochs": 2}})["run"]
    made = project.dataset(project.run(run).dataset)
    drawing.choose_rows(project, 200)
    perform("prepare", project, {"run": run, "group": "ink_level"})
    table = next(table.value for table in shown(project, "plan", run=run).dataframe if "image" in table.value)
    assert table["id"].tolist() == made.train.ids[: pictures.PAGE].tolist()
    assert table["image"].tolist() == [thumbnails.of_pixels(x) for x in made.train.x[: pictures.PAGE]]
    new = perform("unlearn", project, {"run": run, "method": "retrain"})["run"]
    perform("compare", project, {"run": new, "group": "ink_level"})
    at = shown(project, "compare", run=new, **{"compare.part": "Decisions"})
    table = next(table.value for table in at.dataframe if "image" in table.value)
    assert len(table)
    row = table.iloc[0]
    assert row["image"] == thumbnails.of_pixels(made.holdout.x[made.holdout.mask([row["id"]])][0])


def test_tables_have_no_pictures(tmp_path, shown):
    project = Project(tmp_path / "p")
    run = perform("train", project, drawing.SMALL)["run"]
    perform("attribute", project, {"run": run, "query": "loss"})
    at = shown(project, "influence", query="loss")
    assert at.dataframe
    assert not any("image" in table.value for table in at.dataframe)


def test_a_bundled_set_of_images_is_previewed_with_pictures(empty, shown):
    at = shown(empty, "load")
    at.radio[0].set_value("digits")
    drawn(at)
    assert at.dataframe[0].value["image"].str.startswith(PICTURE).all()
