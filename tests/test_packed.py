"""A record that comes as one zip: written where we say, whole or not at all, and nothing but its known files."""

from __future__ import annotations

import io
import zipfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from influence.data.images import zipped
from influence.errors import BadInput
from influence.exchange.packed import is_packed, unpacked
from influence.ui.modelfiles import keep


def archive(path: Path, members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return path


def linked(path: Path) -> Path:
    entry = zipfile.ZipInfo("m/record.json")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(entry, "/etc/passwd")
    return path


GOOD = {"my-model/record.json": b"{}", "my-model/start.safetensors": b"s", "my-model/checkpoint-0000010.safetensors": b"c"}


def test_a_folder_comes_out_flat(tmp_path):
    found = unpacked(archive(tmp_path / "a.zip", {**GOOD, "__MACOSX/._x": b"", "my-model/": b""}), tmp_path / "out")
    assert {p.name: p.read_bytes() for p in found.iterdir()} == {Path(n).name: c for n, c in GOOD.items()}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: archive(p, {"../../evil.py": b"x"}), "no part of a model"), (linked, "no part of a model"),
        (lambda p: archive(p, {"m/run.py": b"x"}), "no part of a model"), (lambda p: archive(p, GOOD | {"n/data.json": b""}), "2 folders"),
        (lambda p: p.write_bytes(b"PK\x03\x04 cut") and p, "damaged"),
        (lambda p: p.write_bytes(archive(p, GOOD).read_bytes()[:-30]) and p, "damaged"), (lambda p: archive(p, {}), "0 folders"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_and_nothing_is_written(tmp_path, make, said):
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in" / "a.zip")
    (tmp_path / "to").mkdir()
    with pytest.raises(BadInput, match=said):
        unpacked(path, tmp_path / "to" / "out")
    assert not list((tmp_path / "to").iterdir())


def test_a_climbing_path_lands_in_the_folder_or_nowhere(tmp_path):
    path = archive(tmp_path / "a.zip", {"../../record.json": b"{}", "../../start.safetensors": b""})
    found = unpacked(path, tmp_path / "deep" / "out")
    assert {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.json")} == {"deep/out/record.json"}
    assert found.is_dir()


def test_a_bomb_stops_at_its_bound(tmp_path, monkeypatch):
    path = archive(tmp_path / "a.zip", {"m/data.npz": b"\0" * 10**7})
    monkeypatch.setattr("influence.exchange.packed.SMALL", 10**4)
    with pytest.raises(BadInput, match="unpacks to 10 MB of files; at most 1 MB"):
        unpacked(path, tmp_path / "out")
    liar = bytearray(path.read_bytes())
    at = liar.rindex(b"PK\x01\x02") + 24  # the directory's word for the unpacked size
    liar[at : at + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(bytes(liar))
    with pytest.raises(BadInput):
        unpacked(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "most"), [("model.safetensors", 10), ("data.npz", 100)])
def test_an_upload_that_swells_is_refused_and_nothing_of_it_is_kept(tmp_path, monkeypatch, name, most):
    """So many zeros in weights are no weights; tables and pictures shrink more."""
    monkeypatch.setattr("influence.exchange.packed.SMALL", 10**5)
    for size, refused in ((most * 10**5 + 1, True), (most * 10**5, False)):
        content = archive(tmp_path / "a.zip", {f"m/{name}": bytes(size)}).read_bytes()
        assert len(content) < 10**5
        with pytest.raises(BadInput, match=f"at most {most // 10} MB") if refused else nullcontext():
            keep(tmp_path / "kept", "a.zip", content)
        assert len(list((tmp_path / "kept").iterdir())) == (not refused)


def test_an_upload_unpacks_to_ten_uploads_at_most(tmp_path, monkeypatch):
    monkeypatch.setenv("INFLUENCE_MAX_MB", "1")
    path = archive(tmp_path / "b.zip", {"m/data.npz": bytes(2 * 10**7)})
    with pytest.raises(BadInput, match="at most 10 MB"):
        keep(tmp_path / "more", "b.zip", path.read_bytes())
    assert not list((tmp_path / "more").iterdir())


def test_an_upload_is_kept_once_by_its_content(tmp_path):
    content = archive(tmp_path / "a.zip", GOOD).read_bytes()
    first, second = keep(tmp_path / "kept", "a.zip", content), keep(tmp_path / "kept", "b.zip", content)
    assert first == second
    assert (first / "record.json").is_file()
    weights = io.BytesIO(b"not a zip")
    assert keep(tmp_path / "kept", "../w.pt", weights.getvalue()).name == "w.pt"
    with pytest.raises(BadInput):
        keep(tmp_path / "kept", "c.zip", archive(tmp_path / "c.zip", {**GOOD, "x/run.py": b""}).read_bytes())
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_weights_of_pytorch_are_no_packed_folder(tmp_path):
    import torch

    torch.save({"a": torch.ones(2)}, tmp_path / "w.pt")
    assert not is_packed(tmp_path / "w.pt")
    assert is_packed(archive(tmp_path / "a.zip", GOOD))


def test_an_uploaded_archive_may_be_called_as_it_likes(tmp_path):
    content = archive(tmp_path / "a.zip", GOOD).read_bytes()
    for name in ("unpacked.zip", "x"):
        kept = keep(tmp_path / name, name, content)
        assert (kept.name, {path.name for path in kept.iterdir()}) == (Path(name).stem, {Path(n).name for n in GOOD})


def misnamed(path: Path) -> Path:
    """An archive whose names are said to be UTF-8 and are not."""
    content = archive(path, {"m/récord.json": b"{}"}).read_bytes()
    path.write_bytes(content.replace("é".encode(), b"\xff\xff"))
    return path


def odd_version(path: Path) -> Path:
    """An archive that asks for a later zip than there is."""
    content = bytearray(archive(path, GOOD).read_bytes())
    content[content.find(b"PK\x01\x02") + 6] = 99
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("make", [misnamed, odd_version])
def test_an_archive_that_cannot_be_listed_is_no_packed_folder(tmp_path, make):
    path = make(tmp_path / "a.zip")
    assert not is_packed(path)
    with pytest.raises(BadInput, match="damaged"):
        unpacked(path, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_a_damaged_part_is_a_sentence(tmp_path):
    path = archive(tmp_path / "a.zip", {"m/record.json": bytes(range(256)) * 20})
    content = bytearray(path.read_bytes())
    at = content.index(b"record.json") + len("record.json")
    content[at : at + 8] = b"\xff" * 8
    path.write_bytes(bytes(content))
    with pytest.raises(BadInput, match="damaged"):
        unpacked(path, tmp_path / "out")


def test_a_list_without_end_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = archive(tmp_path / "a.zip", GOOD)
    content = bytearray(path.read_bytes())
    content[-10:-6] = (zipped.SHORT + 1).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    monkeypatch.setattr(zipfile, "ZipFile", lambda *given: pytest.fail("it was read"))
    for read in (
        is_packed,
        lambda path: unpacked(path, tmp_path / "out"),
        lambda path: keep(tmp_path / "kept", "a.zip", path.read_bytes()),
    ):
        with pytest.raises(BadInput, match="lists more files than can be dealt with"):
            read(path)
    assert not list((tmp_path / "kept").iterdir())
