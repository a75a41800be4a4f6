"""Weights that others saved: read where they are numbers by name, refused in a sentence where they are anything else, never executed."""

from __future__ import annotations

import io
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from influence.errors import BadInput
from influence.exchange.weights import read_weights

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "ran"))


def saved(value, path: Path, **how) -> Path:
    torch.save(value, path, **how)
    return path


@pytest.mark.parametrize(
    "wrapped",
    [
        STATE, {"state_dict": STATE}, {"model_state_dict": STATE, "epoch": 3}, {"model": {f"module.{k}": v for k, v in STATE.items()}},
        {"state_dict": {f"model._orig_mod.{k}": v for k, v in STATE.items()}}, {"x": nn.Parameter(torch.ones(2))},
    ],
)  # fmt: skip
def test_weights_are_found_where_people_put_them(tmp_path, wrapped):
    found = read_weights(saved(wrapped, tmp_path / "w.pt")).state
    expected = wrapped if "x" in wrapped else STATE
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.detach())


@pytest.mark.parametrize(
    "beside", [{"lr": 0.3}, {"learning_rate": 0.3}, {"optimizer_state_dict": {"param_groups": [{"lr": 0.3}], "state": {}}}, {}]
)
def test_the_step_size_beside_them_is_read(tmp_path, beside):
    found = read_weights(saved({"model_state_dict": STATE, **beside}, tmp_path / "w.pt")).lr
    assert found == (0.3 if beside else None)


def test_safetensors_come_in_the_order_of_layers(tmp_path):
    names = [f"layers.{k}.{part}" for k in (0, 1, 2, 10) for part in ("weight", "bias")]
    save_file({name: torch.zeros(1) for name in reversed(names)}, tmp_path / "w.safetensors")
    assert list(read_weights(tmp_path / "w.safetensors").state) == names


def test_a_name_does_not_decide_what_a_file_is(tmp_path):
    save_file(STATE, tmp_path / "w.pt")
    assert set(read_weights(tmp_path / "w.pt").state) == set(STATE)


def legacy(path: Path) -> Path:
    return saved(STATE, path, _use_new_zipfile_serialization=False)


def rewritten(path: Path, change) -> Path:
    """A good file with one part changed: `change(name, bytes)` gives its bytes."""
    good = io.BytesIO()
    torch.save(STATE, good)
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return path


def swelling(path: Path) -> Path:
    """A tensor that claims a million million numbers of a storage of one."""
    return saved({"a": torch.zeros(1).expand(10**6, 10**6)}, path)


def squeezed(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", b"\0" * 10**7)
    return path


def archived(path: Path) -> Path:
    with path.open("wb") as file:
        np.savez(file, a=np.ones(2))
    return path


HOSTILE = {
    "whole model": (lambda p: saved(nn.Linear(2, 2), p), r"would run .*Save model.state_dict\(\)"),
    "pickle": (lambda p: p.write_bytes(pickle.dumps(STATE)) and p, "a Python pickle, which can run programs"),
    "old format": (legacy, "a Python pickle, which can run programs"),
    "numbers that are not finite": (lambda p: saved({"a": torch.tensor([1.0, float("nan")])}, p), "'a' .* not finite"),
    "infinite": (lambda p: saved({"a": torch.tensor([float("inf")])}, p), "not finite"),
    "nothing by name": (lambda p: saved([torch.ones(2)], p), "no weights by name"),
    "empty": (lambda p: p.write_bytes(b"") or p, "of another kind"),
    "text": (lambda p: p.write_text("weights") and p, "of another kind"),
    "npz": (lambda p: archived(p), "none of weights: it holds 'a.npy'"),
    "climbing": (lambda p: zipped(p, "../../x/data.pkl"), "none of weights"),
    "cut short": (lambda p: p.write_bytes(whole()[: len(whole()) // 2]) and p, "damaged"),
    "garbled safetensors": (lambda p: p.write_bytes((20).to_bytes(8, "little") + b"{" + b"x" * 30) and p, "damaged"),
    "swelling": (swelling, "claims more numbers than the file holds"),
    "squeezed": (squeezed, "packed as PyTorch never packs"),
    "code beside": (lambda p: zipped(p, "w/code/run.py"), "none of weights: it holds 'w/code/run.py'"),
    "damaged pickle": (lambda p: rewritten(p, lambda n, b: b"\x80\x02garbage" if n.endswith("pkl") else b), "damaged|cannot be read"),
}


def whole() -> bytes:
    good = io.BytesIO()
    torch.save(STATE, good)
    return good.getvalue()


def zipped(path: Path, name: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"x")
    return path


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_not_weights_is_refused_in_a_sentence(tmp_path, kind):
    make, said = HOSTILE[kind]
    path = tmp_path / "w.pt"
    make(path)
    with pytest.raises(BadInput, match=said):
        read_weights(path)


SYSTEM, SIZE = b"\x8c\x05posix\x94\x8c\x06system\x94", b"\x8c\x05torch\x8c\x04Size00"
HIDDEN = {
    "STACK_GLOBAL": b"\x80\x04" + SYSTEM + SIZE + b"h\x00h\x01\x93\x8c\x04true\x85R.",  # shows torch.Size, calls os.system
    "EXT1": b"\x80\x02\x82\x01.", "EXT2": b"\x80\x02\x83\x01\x01.", "EXT4": b"\x80\x02\x84\x01\x01\x01\x01.",
    "INST": b"(itorch\nSize\n.", "OBJ": b"(ctorch\nSize\no.", "NEWOBJ_EX": b"\x80\x04ctorch\nSize\n)}\x92.",
}  # fmt: skip


@pytest.mark.parametrize("instruction", HIDDEN)
def test_an_instruction_that_hides_what_it_calls_is_refused_by_us(tmp_path, instruction):
    """Whatever name stands before it, allowed or not; PyTorch's own reader is not reached."""
    path = rewritten(tmp_path / "w.pt", lambda name, data: HIDDEN[instruction] if name.endswith("data.pkl") else data)
    with pytest.raises(BadInput, match=rf"would run something that it names as torch\.save never does \({instruction}\)"):
        read_weights(path)


@pytest.mark.parametrize("how", ["pt", "safetensors"])
@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_a_program_in_disguise_never_runs(tmp_path, how, protocol):
    canary, path = tmp_path / "ran", tmp_path / f"w.{how}"
    program = pickle.dumps({"a": Canary(canary)}, protocol=protocol)
    path.write_bytes(program)
    with pytest.raises(BadInput):
        read_weights(path)
    rewritten(path, lambda name, data: program if name.endswith("data.pkl") else data)
    with pytest.raises(BadInput, match=r"would run .* when opened"):
        read_weights(path)
    assert not canary.exists()
    pickle.loads(program)
    assert canary.exists(), "the canary sings where it is let"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, len(whole()) - 1), byte=st.integers(0, 255), cut=st.integers(0, 40))
@example(place=29, byte=6, cut=0)  # a name said to be longer: what is read runs into the end of the file
def test_a_changed_byte_gives_weights_or_a_sentence(tmp_path, place, byte, cut):
    data = bytearray(whole())
    data[place] = byte
    path = tmp_path / "w.pt"
    path.write_bytes(bytes(data[: len(data) - cut]))
    with suppress(BadInput):  # anything else is a defect
        assert all(isinstance(value, torch.Tensor) for value in read_weights(path).state.values())


def test_a_missing_file_and_a_huge_one(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="does not exist"):
        read_weights(tmp_path / "none.pt")
    with pytest.raises(BadInput, match="is no file"):
        read_weights(tmp_path)
    monkeypatch.setattr("influence.exchange.weights.MOST_BYTES", 10)
    with pytest.raises(BadInput, match="at most"):
        read_weights(saved(STATE, tmp_path / "w.pt"))
