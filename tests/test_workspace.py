"""Costly state is computed once, found again, taken up after an interruption, and never taken for whole when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from influence.attribution import metagradient
from influence.errors import BadInput, Cancelled
from influence.replay import walk
from influence.training import train
from influence.workspace import MANIFEST, MEMORY, Workspace, allowed, finished
from tests.tiny import bind, examples, question, recipe


def write(folder: Path) -> None:
    (folder / "part").mkdir(exist_ok=True)
    (folder / "part" / "a.bin").write_bytes(b"12345")


def never(folder: Path) -> None:
    raise AssertionError("computed again")


def test_state_is_made_once_per_key(tmp_path):
    place = Workspace(tmp_path)
    made = place.kept("factors", {"damping": 0.1}, write)
    assert place.kept("factors", {"damping": 0.1}, never) == made
    assert Workspace(tmp_path).kept("factors", {"damping": 0.1}, never) == made
    assert place.kept("factors", {"damping": 0.2}, write) != made
    assert place.kept("index", {"damping": 0.1}, write) != made
    assert finished(made)


def test_an_interrupted_computation_goes_on_from_what_is_there(tmp_path):
    def stops(folder: Path) -> None:
        (folder / "first.bin").write_bytes(b"done")
        raise Cancelled

    def goes_on(folder: Path) -> None:
        assert (folder / "first.bin").read_bytes() == b"done"
        (folder / "second.bin").write_bytes(b"too")

    place = Workspace(tmp_path)
    with pytest.raises(Cancelled):
        place.kept("walk", 1, stops)
    assert not finished(place.place("walk", 1))
    assert {path.name for path in place.kept("walk", 1, goes_on).iterdir()} == {"first.bin", "second.bin", MANIFEST}


@pytest.mark.parametrize("harm", [b"", b"1234", b"123456"])
def test_a_file_of_another_size_is_computed_again(tmp_path, harm):
    place = Workspace(tmp_path)
    made = place.kept("factors", 1, write)
    (made / "part" / "a.bin").write_bytes(harm)
    assert not finished(made)
    assert (place.kept("factors", 1, write) / "part" / "a.bin").read_bytes() == b"12345"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"gone.bin": {"size": 1}}', '{"part": 3}'])
def test_a_manifest_that_says_nothing_does_not_hold(tmp_path, text):
    made = Workspace(tmp_path).kept("factors", 1, write)
    (made / MANIFEST).write_text(text, encoding="utf-8")
    assert not finished(made)


def test_without_a_folder_it_is_gone_with_the_object():
    place = Workspace()
    folder = place.kept("factors", 1, write)
    assert folder.exists()
    del place
    assert not folder.exists()


def test_the_environment_says_how_much_memory_may_be_taken(monkeypatch):
    monkeypatch.delenv("INFLUENCE_MEMORY", raising=False)
    assert Workspace().memory == allowed() == MEMORY
    monkeypatch.setenv("INFLUENCE_MEMORY", "512")
    assert Workspace().memory == 512
    assert Workspace(memory=0.5).memory == 0.5, "what is given is meant"
    for wrong in ("lots", "0", "-1", "2.5", "\N{SUPERSCRIPT TWO}"):
        monkeypatch.setenv("INFLUENCE_MEMORY", wrong)
        with pytest.raises(BadInput, match=f"INFLUENCE_MEMORY is '{wrong}'; it must be a whole number of MiB"):
            Workspace()


@pytest.mark.parametrize(("own", "environment", "expected"), [(0, "16", 16), (8, "16", 8), (32, "16", 16)])
def test_the_metagradient_takes_what_is_allowed(monkeypatch, own, environment, expected):
    monkeypatch.setenv("INFLUENCE_MEMORY", environment)
    given, rows = [], examples(10)
    trained = train(bind("logistic", rows), rows, recipe())

    def seen(*args, **rest):
        given.append(args[3])
        return walk(*args, **rest)

    monkeypatch.setattr(metagradient, "walk", seen)
    for workspace in (None, Workspace()):
        metagradient.Metagradient(memory=own)(trained, rows, question(examples(5, seed=1)), workspace=workspace)
    assert given == [expected, expected]
