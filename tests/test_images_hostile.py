"""Sources made to do harm: one clear sentence each, nothing is run, nothing is written, and memory stays bounded."""

from __future__ import annotations

import os
import pickle
import stat
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from influence.actions import perform
from influence.data.images import zipped
from influence.data.images.decode import Unreadable
from influence.data.images.prepare import prepare_images, wished
from influence.data.images.sources import find
from influence.errors import BadInput
from influence.store import Project
from influence.ui import sources
from tests.imagery import as_folder, as_zip, grey, packed, two_classes

FILES = two_classes(15)


class Explosive:
    """Unpickling makes a file: proof that code ran."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


def refused(path: Path, reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as caught:
        find(path)
    text = str(caught.value)
    assert path.name in text
    assert text.endswith(".")
    assert "\n" not in text


NAMES = {
    "climbing": "../../evil.png",
    "climbing inside": "dark/../../evil.png",
    "absolute": "/etc/evil.png",
    "drive": "C:/evil.png",
    "climbing in Windows' way": "dark\\..\\..\\evil.png",
    "network": "\\\\server\\share\\evil.png",
}


@pytest.mark.parametrize("case", NAMES)
def test_names_that_lead_out_are_refused(tmp_path, case):
    refused(as_zip(tmp_path / "set.zip", FILES | {NAMES[case]: packed(grey())}), "leads out of the archive")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set.zip"]


def test_links_in_an_archive_are_refused(tmp_path):
    with zipfile.ZipFile(as_zip(tmp_path / "set.zip", FILES), "a") as archive:
        info = zipfile.ZipInfo("dark/link.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    refused(tmp_path / "set.zip", "is a link")


@pytest.mark.parametrize("name", ["inner.zip", "dark/inner.ZIP", "a.tar.gz", "b.7z", "c.npz"])
def test_archives_inside_are_refused(tmp_path, name):
    refused(as_zip(tmp_path / "set.zip", FILES | {name: b"PK\x03\x04"}), "archives inside are not opened")
    refused(as_folder(tmp_path / "set", FILES | {name: b"PK\x03\x04"}), "archives inside are not opened")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_repeat_are_refused(tmp_path):
    path = as_zip(tmp_path / "set.zip", FILES)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("dark/000.png", packed(grey(9)))
    refused(path, "'dark/000.png' twice")


def test_encrypted_and_rarely_packed_members_are_refused(tmp_path):
    path = as_zip(tmp_path / "set.zip", FILES)
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(data)
    refused(path, "is encrypted")
    refused(as_zip(tmp_path / "rare.zip", FILES, zipfile.ZIP_LZMA), "packed in a way that is not read")


def test_an_archive_that_swells_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    bomb = as_zip(tmp_path / "set.zip", {f"{c}/{i}.bmp": bytes(20_000_000) for c in "ab" for i in range(10)})
    assert bomb.stat().st_size < 1_000_000
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *given: pytest.fail("it was unpacked"))
    refused(bomb, "would unpack to 400 MB")


def test_a_member_gives_no_more_than_it_declares(tmp_path):
    """A list that tells less than there is passes the bound; what is read stays within what was told."""
    path = as_zip(tmp_path / "set.zip", FILES | {"dark/bomb.bmp": bytes(60_000_000)})
    data = bytearray(path.read_bytes())
    for mark, size in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.rfind(mark, 0, data.rfind(b"dark/bomb.bmp") if mark == b"PK\x01\x02" else data.find(b"dark/bomb.bmp"))
        data[at + size : at + size + 4] = struct.pack("<I", 1000)
    path.write_bytes(data)
    images = find(path)
    place = images.table["path"].tolist().index("dark/bomb.bmp")
    tracemalloc.start()
    with images.opened() as read, pytest.raises(Unreadable, match="is damaged in the archive"):
        read(place)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("wide", [False, True])
def test_a_list_of_names_without_end_is_not_read(tmp_path, monkeypatch, wide):
    path = as_zip(tmp_path / "set.zip", FILES)
    data = path.read_bytes()
    end = data.rfind(zipped.END)
    if wide:
        record = zipped.WIDE + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 1, 1, 5_000_000_000, 0)
        assert len(record) == 56
        locator = zipped.LOCATOR + struct.pack("<LQL", 0, end, 1)
        path.write_bytes(data[:end] + record + locator + data[end:])
    else:
        path.write_bytes(data[: end + 12] + struct.pack("<I", 2_000_000_000) + data[end + 16 :])
    monkeypatch.setattr(zipfile, "ZipFile", lambda *given: pytest.fail("it was read"))
    refused(path, "lists more files than can be dealt with")


@pytest.mark.parametrize("wide", [False, True])
def test_a_list_of_very_many_short_names_is_not_read(tmp_path, monkeypatch, wide):
    path = as_zip(tmp_path / "set.zip", FILES)
    data = path.read_bytes()
    end = data.rfind(zipped.END)
    if wide:
        count, length, start = len(FILES), *struct.unpack("<LL", data[end + 12 : end + 20])
        record = zipped.WIDE + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, count, count, length, start)
        path.write_bytes(data[:end] + record + zipped.LOCATOR + struct.pack("<LQL", 0, end, 1) + data[end:])
    monkeypatch.setattr(zipped, "MOST_MEMBERS", len(FILES))
    assert len(zipped.members(path)) == len(FILES)
    monkeypatch.setattr(zipped, "MOST_MEMBERS", len(FILES) - 1)
    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", lambda archive: pytest.fail("it was read"))
    refused(path, "lists more files than can be dealt with")


@pytest.mark.parametrize("images", [False, True])
def test_an_upload_that_lists_names_without_end_is_not_read(tmp_path, monkeypatch, images):
    path = as_zip(tmp_path / "set.zip", FILES)
    data = path.read_bytes()
    end = data.rfind(zipped.END)
    data = data[: end + 12] + struct.pack("<I", 2_000_000_000) + data[end + 16 :]
    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", lambda archive: pytest.fail("it was read"))
    with pytest.raises(BadInput):
        sources.keep(tmp_path / "kept", "set.zip", data, images)
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("images", [False, True])
def test_an_upload_whose_names_are_no_text_is_a_sentence(tmp_path, images):
    path = as_zip(tmp_path / "set.zip", {"dark/é.png": b"x"})
    content = path.read_bytes().replace("é".encode(), b"\xff\xff")
    with pytest.raises(BadInput):
        sources.keep(tmp_path / "kept", "set.zip", content, images)


@pytest.mark.parametrize("images", [False, True])
def test_arrays_of_a_model_uploaded_as_data_are_told(tmp_path, images):
    path = as_zip(tmp_path / "set.zip", {f"arrays/{name}": b"x" for name in ("data.json", "data.npz", "columns.parquet")})
    with pytest.raises(BadInput, match="Bring it on Bring a model"):
        sources.keep(tmp_path / "kept", "set.zip", path.read_bytes(), images)


@pytest.mark.parametrize("cut", [10, 100, -10, -60])
def test_a_cut_archive_is_refused(tmp_path, cut):
    path = as_zip(tmp_path / "set.zip", FILES)
    path.write_bytes(path.read_bytes()[:cut])
    refused(path, r"no zip archive, or damaged|is not a zip archive")


NOT_ARCHIVES = {
    "empty.zip": b"",
    "text.zip": b"hello",
    "text.npz": b"hello",
    "pickle.npz": pickle.dumps([1]),
    "pickle.npy": pickle.dumps([1]),
}


@pytest.mark.parametrize("name", NOT_ARCHIVES)
def test_what_is_no_archive_is_not_opened(tmp_path, name):
    (tmp_path / name).write_bytes(NOT_ARCHIVES[name])
    refused(tmp_path / name, "whatever its name says" if NOT_ARCHIVES[name] else "is empty. Save it again")


def test_no_code_runs_from_pickles_in_arrays(tmp_path):
    trace = tmp_path / "ran"
    bomb = np.empty(30, dtype=object)
    bomb[:] = [Explosive(trace)] * 30
    x, y = np.zeros((30, 5, 5), np.uint8), np.arange(30) % 2
    for name, arrays in {"labels": {"x": x, "y": bomb}, "images": {"x": bomb, "y": y}, "other": {"x": x, "y": y, "more": bomb}}.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        refused(tmp_path / f"{name}.npz", "holds Python objects")
    with zipfile.ZipFile(tmp_path / "member.npz", "w") as archive:
        archive.writestr("x.npy", pickle.dumps(Explosive(trace)))
        archive.writestr("y.npy", pickle.dumps(Explosive(trace)))
    refused(tmp_path / "member.npz", "damaged or no plain array")
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(Explosive(trace)))
    refused(tmp_path / "bare.npz", "is not opened")
    assert not trace.exists()
    pickle.loads(pickle.dumps(Explosive(trace)))
    assert trace.exists(), "the canary was dead: the test shows nothing"


def npy(shape: str, dtype: str = "|u1", data: bytes = b"") -> bytes:
    head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (63 - (len(head) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


HEADS = {
    "far more than there is": npy("(1000000, 1000, 1000)"),
    "negative": npy("(-1, 5, 5)"),
    "code": npy("__import__('os').system('true')"),
    "another type": npy("(2, 5, 5)", "|V9999", bytes(2 * 25 * 9999)),
    "cut": npy("(30, 5, 5)")[:40],
    "version": b"\x93NUMPY\x09\x00" + npy("(30, 5, 5)", data=bytes(750))[8:],
}


@pytest.mark.parametrize("case", HEADS)
def test_arrays_whose_heads_lie_are_refused(tmp_path, case):
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("x.npy", HEADS[case])
        archive.writestr("y.npy", npy("(30,)", data=bytes(30)))
    refused(tmp_path / "set.npz", r"damaged|numbers or text are needed")


def test_arrays_beside_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "set.npz", x=np.zeros((30, 5, 5), np.uint8), y=np.arange(30) % 2)
    with zipfile.ZipFile(tmp_path / "set.npz", "a") as archive:
        archive.writestr("run.py", b"import os")
    refused(tmp_path / "set.npz", "'run.py'")


# --- folders


@pytest.mark.parametrize("to", ["file", "folder"])
def test_links_that_lead_out_of_a_folder_are_refused(tmp_path, to):
    folder = as_folder(tmp_path / "set", FILES)
    outside = as_folder(tmp_path / "secret", {"a.png": packed(grey())})
    (folder / "dark" / "link.png").symlink_to(outside / "a.png" if to == "file" else outside)
    refused(folder, "leads out of 'set'")


def test_links_inside_are_read_and_folders_not_followed(tmp_path):
    folder = as_folder(tmp_path / "set", FILES)
    (folder / "dark" / "again.png").symlink_to(folder / "dark" / "000.png")
    images = find(folder)
    place = images.table["path"].tolist().index("dark/again.png")
    with images.opened() as read:
        assert read(place) == FILES["dark/000.png"]
    (folder / "loop").symlink_to(folder)
    with pytest.raises(BadInput, match="not followed"):
        find(folder)


def test_a_file_that_becomes_a_link_is_not_read(tmp_path):
    folder = as_folder(tmp_path / "set", FILES)
    images = find(folder)
    secret = tmp_path / "secret.png"
    secret.write_bytes(packed(grey()))
    (folder / "dark" / "000.png").unlink()
    (folder / "dark" / "000.png").symlink_to(secret)
    with images.opened() as read, pytest.raises(Unreadable, match="leads out of the folder"):
        read(0)


def test_pipes_are_not_waited_for(tmp_path):
    folder = as_folder(tmp_path / "set", FILES)
    images = find(folder)
    (folder / "dark" / "000.png").unlink()
    os.mkfifo(folder / "dark" / "000.png")
    with images.opened() as read, pytest.raises(Unreadable, match="no ordinary file"):
        read(0)
    with pytest.raises(BadInput, match="neither a file nor a folder"):
        find(folder)


EMPTY = {
    "no image": ({"a.txt": b"x", "b/c.csv": b"x"}, "holds no image"),
    "nothing": ({}, "holds no image"),
    "class without images": (FILES | {"none/readme.txt": b"x"}, "The folder 'none' of 'set[^']*' holds no image"),
    "classes alike": (FILES | {"Dark/1.png": packed(grey())}, "differ in upper and lower case only"),
}


@pytest.mark.parametrize("case", EMPTY)
def test_folders_that_say_no_classes_are_refused(tmp_path, case):
    files, reason = EMPTY[case]
    (tmp_path / "set").mkdir()
    for source in (as_folder(tmp_path / "set", files), as_zip(tmp_path / "set.zip", files)):
        with pytest.raises(BadInput, match=reason):
            find(source)


def test_an_empty_class_folder_is_refused(tmp_path):
    (as_folder(tmp_path / "set", FILES) / "none").mkdir()
    with pytest.raises(BadInput, match="'none' of 'set' holds no image"):
        find(tmp_path / "set")
    (as_folder(tmp_path / "two", {f"dark/{i}.png": packed(grey(i)) for i in range(30)}) / "light").mkdir()
    with pytest.raises(BadInput, match="'light' of 'two' holds no image"):
        find(tmp_path / "two")


def test_one_class_is_refused(tmp_path):
    images = find(as_zip(tmp_path / "set.zip", {f"dark/{i}.png": packed(grey(i)) for i in range(30)}))
    with pytest.raises(BadInput, match=r"All 30 labelled images of 'set\.zip' are of one class, 'dark'"):
        prepare_images(images, wished(images), folder=tmp_path / "scratch")


@pytest.mark.parametrize("split", ["", "part"])
def test_labels_that_are_all_empty_are_said_to_be(tmp_path, split):
    """Rows without a label are left out, and a split column without rows is not what is wrong."""
    names = [f"{i}.png" for i in range(30)]
    listed = "file_name,label,part\n" + "".join(f"{name},,{'test' if i % 3 else 'train'}\n" for i, name in enumerate(names))
    images = find(as_zip(tmp_path / "set.zip", {name: packed(grey(i)) for i, name in enumerate(names)} | {"metadata.csv": listed.encode()}))
    with pytest.raises(BadInput, match=r"The target 'label' has no value for any image of 'set\.zip'\. Fill it, or choose another target"):
        prepare_images(images, wished(images, target="label", split=split), folder=tmp_path)


def test_images_without_classes_are_refused(tmp_path):
    images = find(as_zip(tmp_path / "set.zip", {f"{i}.png": packed(grey(i)) for i in range(30)}))
    with pytest.raises(BadInput, match="Nothing says what the images"):
        wished(images)


# --- all the way


HOSTILE = {
    "bomb": lambda path: as_zip(path, {f"{c}/{i}.bmp": bytes(20_000_000) for c in "ab" for i in range(10)}),
    "broken images": lambda path: as_zip(path, FILES | {f"dark/bad{i}.png": b"no image" for i in range(5)}),
    "drawings": lambda path: as_zip(path, {f"{c}/{i}.svg": b"<svg></svg>" for c in "ab" for i in range(15)}),
    "one class": lambda path: as_zip(path, {f"a/{i}.png": packed(grey(i)) for i in range(30)}),
    "text": lambda path: path.write_bytes(b"text") and path,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_refused_leaves_the_project_as_it_was(tmp_path, case):
    project = Project(tmp_path / "project")
    path = HOSTILE[case](tmp_path / "set.zip")
    with pytest.raises(BadInput):
        perform("train", project, {"data": str(path), "set": {"epochs": 1}})
    assert [project.runs(), project.records()] == [[], []]
    files = [p for p in project.path.rglob("*") if p.is_file() and not p.name.startswith("catalogue.")]
    assert files == [], "nothing half-written"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["project", "set.zip"]
