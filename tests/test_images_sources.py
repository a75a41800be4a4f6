"""Where images come from: one set as folder, archive, arrays and table is one data set, and what folders and arrays say is understood."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from influence.data.images.found import Images
from influence.data.images.prepare import prepare_images, wished
from influence.data.images.sources import find, holds_images
from influence.errors import BadInput
from tests.imagery import as_folder, as_zip, colour, grey, packed, two_classes

FILES = two_classes(20)


def made(images: Images, tmp_path, **wish):
    return prepare_images(images, wished(images, **wish), folder=tmp_path / "scratch")


def rows(data) -> dict[str, tuple[str, np.ndarray]]:
    """Label and pixels of every row by id, over all roles."""
    splits = [data.split(role) for role in ("train", "evaluation", "holdout")]
    return {str(id): (s.classes[y], np.array(x)) for s in splits for id, y, x in zip(s.ids, s.y, s.x, strict=True)}


def test_a_folder_and_its_archive_are_one_data_set(tmp_path):
    folder = as_folder(tmp_path / "set", FILES)
    bare = made(find(folder), tmp_path)
    inside = {f"set/{path}": data for path, data in FILES.items()}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        assert made(find(as_zip(tmp_path / "set.zip", FILES, method)), tmp_path).digest == bare.digest
        assert made(find(as_zip(tmp_path / "set.zip", inside, method)), tmp_path).digest == bare.digest
    assert bare.train.classes == ("dark", "light")
    found = rows(bare)
    assert len(found) == 40
    label, pixels = found["light/007"]
    assert label == "light"
    np.testing.assert_array_equal(pixels, grey(130_007, bright=130)[None] / np.float32(255))


def test_names_with_backslashes_are_paths(tmp_path):
    with zipfile.ZipFile(tmp_path / "windows.zip", "w") as archive:
        for path, data in FILES.items():
            archive.writestr(path.replace("/", "\\"), data)
    assert made(find(tmp_path / "windows.zip"), tmp_path, name="a").digest == made(find(as_zip(tmp_path / "a.zip", FILES)), tmp_path).digest


def test_arrays_are_the_same_pixels_as_files(tmp_path):
    x = np.stack([grey(i) for i in range(60)])
    y = np.arange(60) % 3
    np.savez_compressed(tmp_path / "set.npz", x=x, y=y)
    files = {f"{y[i]}/{i}.png": packed(x[i]) for i in range(60)}
    arrays, tree = rows(made(find(tmp_path / "set.npz"), tmp_path)), rows(made(find(as_zip(tmp_path / "set.zip", files)), tmp_path))
    for i in range(60):
        label, pixels = tree[f"{y[i]}/{i}"]
        assert arrays[str(i)][0] == label == str(y[i])
        np.testing.assert_array_equal(arrays[str(i)][1], pixels)


SPLITS = {
    "train and test": (("train", "test"), (1.0, 0.5, 0.5)),
    "all three": (("Train", "val", "TEST"), (1.0, 1.0, 1.0)),
    "training and validation": (("training", "validation"), (1.0, 0.5, 0.5)),
}


@pytest.mark.parametrize("case", SPLITS)
def test_split_folders_say_the_roles(tmp_path, case):
    parts, shares = SPLITS[case]
    files = {f"data/{part}/{path}": data for part in parts for path, data in FILES.items()}
    data = made(find(as_zip(tmp_path / "set.zip", files)), tmp_path)
    sizes = [len(data.split(role)) for role in ("train", "evaluation", "holdout")]
    assert sizes[0] == 40
    assert all(abs(size - 40 * share) < 12 for size, share in zip(sizes, shares, strict=True))
    assert sum(sizes) == 40 * len(parts)
    assert {str(id).split("/")[0] for id in data.train.ids} == {parts[0]}
    assert "split" not in data.train.columns


def test_a_folder_that_says_nothing_is_passed(tmp_path):
    for root in ("", "one/", "one/two/"):
        images = find(as_zip(tmp_path / "set.zip", {root + path: data for path, data in FILES.items()}))
        assert images.table["path"].tolist() == sorted(FILES)


def test_classes_named_by_numbers_are_in_their_order(tmp_path):
    files = {f"{c}/{i}.png": packed(grey(20 * c + i)) for c in range(11) for i in range(6)}
    assert made(find(as_zip(tmp_path / "set.zip", files)), tmp_path).train.classes == tuple(map(str, range(11)))
    padded = {path.replace("/", "/0"): data for path, data in files.items()} | {f"007/{i}.png": packed(grey(i)) for i in range(6)}
    assert "007" in made(find(as_zip(tmp_path / "set.zip", padded)), tmp_path).train.classes


def test_test_images_without_labels_are_left_out_and_said(tmp_path):
    files = {f"train/{path}": data for path, data in FILES.items()} | {f"test/{i}.png": packed(grey(i)) for i in range(5)}
    data = made(find(as_zip(tmp_path / "set.zip", files)), tmp_path)
    assert "5 images without a value of label were left out" in data.notes
    assert len(rows(data)) == 40


def test_what_systems_leave_behind_is_not_seen_and_other_files_are_told(tmp_path):
    junk = {"__MACOSX/dark/._1.png": b"x", ".DS_Store": b"x", "dark/.hidden.png": b"x", "dark/Thumbs.db": b"x"}
    images = find(as_folder(tmp_path / "set", FILES | junk | {"README.txt": b"hello", "dark/notes.md": b"x"}))
    assert len(images) == 40
    assert images.remarks == ("2 other files passed over: README.txt, dark/notes.md.",)


def test_ids_are_paths_without_suffixes_where_these_are_distinct(tmp_path):
    assert find(as_zip(tmp_path / "a.zip", FILES)).ids[0] == "dark/000"
    both = FILES | {"dark/000.bmp": packed(grey(5), "BMP")}
    assert find(as_zip(tmp_path / "b.zip", both)).ids[:2].tolist() == ["dark/000.bmp", "dark/000.png"]


def test_names_that_differ_in_case_are_two_images(tmp_path):
    images = find(as_zip(tmp_path / "set.zip", FILES | {"dark/A.png": packed(grey(1)), "dark/a.png": packed(grey(2))}))
    assert {"dark/A", "dark/a"} <= set(images.ids)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("place", ["", "train/"])
def test_metadata_beside_images_are_columns(tmp_path, form, place):
    names = [f"{i}.png" for i in range(120)]
    told = pd.DataFrame({"file_name": names, "label": ["cat", "dog"] * 60, "age": range(120), "sex": ["f", "f", "m", "m"] * 30})
    text = told.to_csv(index=False) if form == "csv" else told.to_json(orient="records", lines=True)
    files = {place + name: packed(grey(i)) for i, name in enumerate(names)} | {f"{place}metadata.{form}": text.encode()}
    for images in (find(as_zip(tmp_path / "set.zip", files)), find(as_folder(tmp_path / f"set{form}", files))):
        data = made(images, tmp_path, protected=["sex"])
        assert data.target == "label"
        assert data.protected == ("sex",)
        found = rows(data)[f"{place}7"]
        assert found[0] == "dog"
        ages = pd.concat([data.split(r).columns for r in ("train", "evaluation", "holdout")])["age"]
        assert sorted(ages) == list(range(120))


def test_metadata_replace_the_labels_of_folders_and_may_be_the_target(tmp_path):
    told = pd.DataFrame({"file_name": list(FILES), "label": ["x", "y"] * 20, "weight": np.linspace(0, 1, 40)})
    images = find(as_zip(tmp_path / "set.zip", FILES | {"metadata.csv": told.to_csv(index=False).encode()}))
    assert made(images, tmp_path).train.classes == ("x", "y")
    number = made(images, tmp_path, target="weight")
    assert number.train.classes == ()
    assert number.encoding["target"]["kind"] == "number"


BAD_METADATA = {
    "no names": ("metadata.csv", "name,age\na.png,1\nb.png,2\n", "has no column 'file_name'"),
    "absent": ("metadata.csv", "file_name,age\ndark/000.png,1\nnot/there.png,2\n", "names? 'not/there.png', which is not there"),
    "climbing": ("metadata.csv", "file_name,age\n../secret.png,1\ndark/000.png,2\n", "which is not there"),
    "twice": ("metadata.csv", "file_name,age\ndark/000.png,1\ndark/000.png,2\n", "twice"),
    "no json": ("metadata.jsonl", '{"file_name": "dark/000.png"\n', "JSON"),
    "boxes": ("metadata.jsonl", '{"file_name": "dark/000.png", "boxes": [[1, 2]]}\n', "list"),
}


@pytest.mark.parametrize("case", BAD_METADATA)
def test_bad_metadata_are_one_sentence(tmp_path, case):
    name, text, reason = BAD_METADATA[case]
    with pytest.raises(BadInput, match=reason):
        find(as_zip(tmp_path / "set.zip", FILES | {name: text.encode()}))


# --- arrays


def savez(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


X = np.stack([grey(i, (7, 5)) for i in range(60)])
Y = np.arange(60) % 3

LAYOUTS = {
    "plain": ({"x": X, "y": Y}, ("0", "1", "2")),
    "images and labels": ({"images": X, "labels": Y.astype(np.uint8)[:, None]}, ("0", "1", "2")),
    "data and target": ({"data": X, "target": np.array(["a", "b", "c"])[Y]}, ("a", "b", "c")),
    "keras": ({"x_train": X[:40], "y_train": Y[:40], "x_test": X[40:], "y_test": Y[40:]}, ("0", "1", "2")),
    "medmnist": (
        {"train_images": X[:40], "train_labels": Y[:40], "val_images": X[40:50], "val_labels": Y[40:50], "test_images": X[50:],
         "test_labels": Y[50:]},
        ("0", "1", "2"),
    ),
    "named": ({"x": X, "y": Y, "class_names": np.array(["zebra", "ant", "cow"])}, ("ant", "cow", "zebra")),
    "one hot": ({"X": X, "Y": np.eye(3)[Y]}, ("0", "1", "2")),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
def test_arrays_of_usual_names_are_understood(tmp_path, case):
    arrays, classes = LAYOUTS[case]
    data = made(find(savez(tmp_path / "set.npz", **arrays)), tmp_path)
    assert data.train.classes == classes
    assert data.train.shape == (1, 7, 5)
    found = rows(data)
    assert len(found) == 60
    where = {"keras": "test/5", "medmnist": "val/5"}.get(case, "45")
    np.testing.assert_array_equal(found[where][1], X[45][None] / np.float32(255))
    assert found[where][0] == {"data and target": "a", "named": "zebra"}.get(case, "0")


def test_arrays_of_as_many_rows_are_columns(tmp_path):
    sex, number = np.array(["f", "m"])[np.arange(60) // 2 % 2], np.arange(60)
    arrays = {"x_train": X[:40], "y_train": Y[:40], "x_test": X[40:], "y_test": Y[40:]}
    told = {"sex_train": sex[:40], "sex_test": sex[40:], "train_number": number[:40], "test_number": number[40:], "extra": np.zeros((3, 3))}
    data = made(find(savez(tmp_path / "set.npz", **arrays, **told)), tmp_path, protected=["sex"])
    assert data.protected == ("sex",)
    assert data.train.columns["number"].tolist() == list(range(40))
    assert "Other arrays passed over: extra." in data.notes


SCALES = {
    "bytes": (np.uint8, 1, 255),
    "shares": (np.float32, 1 / 255, 1),
    "doubles to 255": (np.float64, 1, 255),
    "sixteen bits": (np.uint16, 257, 65_535),
}


@pytest.mark.parametrize("case", SCALES)
def test_pixels_of_every_range_become_shares(tmp_path, case):
    kind, factor, top = SCALES[case]
    full = X.copy()
    full[0, 0, 0] = 255
    data = made(find(savez(tmp_path / "set.npz", x=(full * np.float64(factor)).astype(kind), y=Y)), tmp_path)
    np.testing.assert_allclose(rows(data)["45"][1], X[45][None] / 255, atol=1e-6)
    assert (f"Pixels are shares of {top:,}." in data.notes) == (top != 255)


def test_ones_and_zeros_are_black_and_white(tmp_path):
    for kind in (bool, np.uint8, np.int64):
        data = made(find(savez(tmp_path / "set.npz", x=(X > 60).astype(kind), y=Y)), tmp_path)
        np.testing.assert_array_equal(rows(data)["45"][1], (X[45] > 60)[None].astype(np.float32))


@pytest.mark.parametrize("axis", [1, 3])
def test_channels_stand_first_or_last(tmp_path, axis):
    rgb = np.stack([colour(i) for i in range(60)])
    data = made(find(savez(tmp_path / "set.npz", x=np.ascontiguousarray(np.moveaxis(rgb, 3, axis)), y=Y)), tmp_path)
    np.testing.assert_array_equal(rows(data)["45"][1], np.moveaxis(rgb[45], 2, 0) / np.float32(255))


BAD_ARRAYS = {
    "no labels": ({"x": X}, "images without labels"),
    "no images": ({"y": Y}, "labels without images"),
    "other names": ({"arr_0": X, "arr_1": Y}, "arr_0 60x7x5"),
    "fewer labels": ({"x": X, "y": Y[:50]}, "60 images in 'x' and 50 labels"),
    "flat": ({"x": X.reshape(60, -1), "y": Y}, r"have shape \(60, 35\).*Reshape"),
    "four channels": ({"x": np.zeros((60, 5, 5, 4), np.uint8), "y": Y}, "with 1 or 3 channels"),
    "normalised": ({"x": X / 127.5 - 1, "y": Y}, "before they are normalised"),
    "large": ({"x": X * 1e6, "y": Y}, "before they are normalised"),
    "infinite": ({"x": np.where(X > 100, np.inf, X), "y": Y}, "not finite"),
    "several labels": ({"x": X, "y": np.ones((60, 3), int)}, "multi-label"),
    "text": ({"x": X.astype(str), "y": Y}, "must be numbers"),
    "two shapes": ({"x_train": X[:40], "y_train": Y[:40], "x_test": X[40:, :5], "y_test": Y[40:]}, "different shapes"),
    "twice": ({"x": X, "images": X, "y": Y}, "mean the same"),
    "too few names": ({"x": X, "y": Y, "class_names": np.array(["a", "b"])}, "names 2 classes"),
    "by column": ({"x": np.asfortranarray(X), "y": Y}, "ascontiguousarray"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_arrays_that_do_not_fit_are_one_sentence(tmp_path, case):
    arrays, reason = BAD_ARRAYS[case]
    with pytest.raises(BadInput, match=reason) as caught:
        find(savez(tmp_path / "set.npz", **arrays))
    assert str(caught.value).endswith(".")


# --- tables


def listed(tmp_path, **columns) -> pd.DataFrame:
    as_folder(tmp_path / "data", FILES)
    labels = [path.split("/")[0] for path in FILES]
    return pd.DataFrame({"file": list(FILES), "kind": labels, "sex": ["f", "m"] * 20, **columns})


def test_a_table_of_paths_is_a_data_set(tmp_path):
    listed(tmp_path).to_csv(tmp_path / "data" / "table.csv", index=False)
    data = made(find(tmp_path / "data" / "table.csv", "file"), tmp_path, target="kind", protected=["sex"])
    tree = rows(made(find(tmp_path / "data"), tmp_path))
    for id, (label, pixels) in rows(data).items():
        assert label == tree[id][0]
        np.testing.assert_array_equal(pixels, tree[id][1])


def test_a_table_may_say_ids_and_split_and_its_own_path(tmp_path):
    table = listed(tmp_path, number=range(100, 140), part=["train"] * 30 + ["test"] * 10, path="somewhere", label=["a", "b"] * 20)
    table.to_parquet(tmp_path / "data" / "table.parquet")
    data = made(find(tmp_path / "data" / "table.parquet", "file"), tmp_path, id="number", split="part")
    assert data.target == "label"
    assert data.train.ids.tolist() == list(range(100, 130))
    assert data.train.columns["path"].tolist() == list(FILES)[:30]
    assert set(data.train.columns["path (data)"]) == {"somewhere"}


def test_paths_may_lie_in_open_folders(tmp_path, monkeypatch):
    table = listed(tmp_path)
    (tmp_path / "tables").mkdir()
    table.to_csv(tmp_path / "tables" / "table.csv", index=False)
    with pytest.raises(BadInput, match=r"None of the images of 'table.csv' can be read: 'dark/000.png' is not there"):
        made(find(tmp_path / "tables" / "table.csv", "file"), tmp_path, target="kind")
    monkeypatch.setenv("INFLUENCE_DATA_ROOTS", os.pathsep.join([str(tmp_path / "none"), str(tmp_path / "data")]))
    assert len(rows(made(find(tmp_path / "tables" / "table.csv", "file"), tmp_path, target="kind"))) == 40


BAD_PATHS = {
    "climbing": "../secret.png",
    "absolute": "/etc/passwd",
    "zero": "dark/\0.png",
    "address": "https://example.org/a.png",
    "file address": "file:///etc/passwd",
}


@pytest.mark.parametrize("case", BAD_PATHS)
def test_a_table_reads_nothing_outside(tmp_path, case):
    table = listed(tmp_path)
    table.loc[7, "file"] = BAD_PATHS[case]
    table.to_parquet(tmp_path / "data" / "table.parquet")
    (tmp_path / "secret.png").write_bytes(packed(grey()))
    with pytest.raises(BadInput, match=r"leads out of the table's folder|nothing is fetched"):
        find(tmp_path / "data" / "table.parquet", "file")


def test_a_link_beside_a_table_leads_nowhere(tmp_path):
    table = listed(tmp_path)
    (tmp_path / "secret.png").write_bytes(packed(grey()))
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "secret.png")
    table.loc[7, "file"] = "link.png"
    table.to_csv(tmp_path / "data" / "table.csv", index=False)
    with pytest.raises(BadInput, match="leads out"):
        find(tmp_path / "data" / "table.csv", "file")


@pytest.mark.parametrize("form", ["bytes", "struct"])
def test_a_column_of_bytes_is_read(tmp_path, form):
    data = list(FILES.values())
    cells = pa.array(data) if form == "bytes" else pa.array([{"bytes": d, "path": None} for d in data])
    labels = [path.split("/")[0] for path in FILES]
    table = pa.table({"image": cells, "label": labels, "boxes": pa.array([[1.0]] * 40)})
    pq.write_table(table, tmp_path / "set.parquet", row_group_size=7)
    assert holds_images(tmp_path / "set.parquet")
    found = rows(made(find(tmp_path / "set.parquet"), tmp_path))
    tree = rows(made(find(as_zip(tmp_path / "set.zip", FILES)), tmp_path))
    for place, path in enumerate(FILES):
        assert found[str(place)][0] == labels[place]
        np.testing.assert_array_equal(found[str(place)][1], tree[path.removesuffix(".png")][1])
    with find(tmp_path / "set.parquet").opened() as read:
        assert [read(place) for place in (30, 2, 39)] == [data[place] for place in (30, 2, 39)], "also backwards"


def test_ordinary_tables_are_no_images(tmp_path):
    frame = pd.DataFrame({"a": range(30), "label": ["x", "y"] * 15})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    assert not holds_images(tmp_path / "t.csv")
    assert not holds_images(tmp_path / "t.parquet")
    assert not holds_images(tmp_path / "absent.csv")
    with pytest.raises(BadInput, match=r"Did you mean 'label'\?"):
        find(tmp_path / "t.csv", "labels")
    with pytest.raises(BadInput, match="no paths of images"):
        find(tmp_path / "t.csv", "a")


def test_a_folder_that_is_given_as_a_dot_has_a_name(tmp_path, monkeypatch):
    from influence.data.images.folder import from_folder

    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.zip").write_bytes(b"PK")
    monkeypatch.chdir(tmp_path / "pictures")
    with pytest.raises(BadInput, match="'pictures' holds an archive"):
        from_folder(Path())


def test_the_arrays_of_a_model_from_elsewhere_are_no_images(tmp_path):
    from influence.data.arrays import save_data

    save_data(tmp_path / "saved", np.zeros((30, 4), np.float32), np.arange(30) % 2, np.arange(30) > 20, classes=["a", "b"])
    assert not holds_images(tmp_path / "saved")


def test_one_array_alone_is_no_set(tmp_path):
    file = io.BytesIO()
    np.save(file, X)
    (tmp_path / "x.npy").write_bytes(file.getvalue())
    (tmp_path / "x.npz").write_bytes(file.getvalue())
    for name in ("x.npy", "x.npz"):
        with pytest.raises(BadInput, match="images need labels"):
            find(tmp_path / name)
