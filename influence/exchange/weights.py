"""Read weights that somebody else saved, without ever running what a file says.

A file is safetensors, or a PyTorch file as `torch.save` writes it since 2019: a zip archive with tensors as raw numbers and one pickle that
says how they fit together. Every class and function that this pickle names is looked at before PyTorch's restricted reader opens it
(`weights_only=True`), which has had holes of its own: CVE-2025-32434, CVE-2026-24747.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from influence.data.readers._foreign import WALKED, is_pickle
from influence.errors import BadInput
from influence.types import State

MOST_BYTES = 8_000_000_000
MOST_PICKLE = 50_000_000
"""Bytes of the part that says how tensors fit together; a model of a million tensors needs less."""
NEEDED = "Weights are a .safetensors file, or a .pt file that `torch.save(model.state_dict(), path)` wrote."
ALLOWED = re.compile(
    r"torch\._utils _rebuild_(tensor_v2|parameter)|torch\._tensor _rebuild_from_type_v2|collections OrderedDict|torch Size"
    r"|torch (\w+Storage|float\d+|bfloat16|u?int\d+|bool)|torch\.storage UntypedStorage"
)
"""What weights are made of; anything else in a file is somebody's program."""
HIDING = ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEWOBJ_EX")
"""Instructions of a pickle that call what other instructions prepared, so that a walk does not see its name; torch.save writes none."""
MEMBERS = re.compile(r"[^/]+/(data\.pkl|data/\d+|version|byteorder|\.format_version|\.storage_alignment|\.data/serialization_id)")
PICKLE = "a Python pickle, which can run programs when opened and never is here"
KINDS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
NESTED = ("state_dict", "model_state_dict", "model", "module", "net", "weights")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")


@dataclass(frozen=True)
class Weights:
    """Parameters and buffers by name, and the step size that stood beside them, or None."""

    state: State
    lr: float | None = None


def read_weights(path: str | Path, whole: bool = False) -> Weights:
    """Return the weights in a file; nested ones are found, and prefixes that wrappers leave (DataParallel, compile, Lightning) are cut off.

    `whole`: names stay as they are.

    Raises:
        BadInput: the file is missing, too large, damaged, of another kind, holds a number that is not finite, or would run a program.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"{path.name!r} does not exist or is no file. {NEEDED}")
    if path.stat().st_size > MOST_BYTES:
        raise BadInput(f"{path.name!r} has {path.stat().st_size / 1e9:.1f} GB; at most {MOST_BYTES / 1e9:.0f} GB are read.")
    with path.open("rb") as file:
        head = file.read(10)
    found = _safetensors(path) if _is_safetensors(head) else _pytorch(path) if head.startswith(b"PK\x03\x04") else None
    if found is None:
        raise BadInput(f"{path.name!r} is {PICKLE if begins_as_pickle(path) else 'of another kind'}. {NEEDED}")
    state = _tensors(found)
    if not state:
        raise BadInput(f"{path.name!r} holds no weights by name. {NEEDED}")
    for name, value in state.items():
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise BadInput(f"{name!r} in {path.name!r} claims more numbers than the file holds. Save it again.")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise BadInput(
                f"{name!r} in {path.name!r} holds numbers that are not finite: that training diverged. Bring an earlier checkpoint."
            )
    return Weights(state if whole else _bare(state), _step_size(found))


def begins_as_pickle(path: Path) -> bool:
    """Whether a file is a pickle by itself, not within an archive, judged without executing any of it."""
    try:
        with path.open("rb") as file:
            return is_pickle(file.read(WALKED))
    except OSError:
        return False


def _is_safetensors(head: bytes) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < MOST_PICKLE


def _safetensors(path: Path) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise BadInput(f"{path.name!r} is damaged: {' '.join(str(error).split())[:200]}. Save it again.") from None
    return {name: found[name] for name in sorted(found, key=_natural)}  # the file forgets the order in which they were given


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort parts of names as people count: layer 2 before layer 10, a weight before its bias."""
    *path, kind = name.split(".")
    parts = [part for step in path for part in re.split(r"(\d+)", step) if part]
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts] + [
        (2, KINDS.index(kind) if kind in KINDS else 9, kind)
    ]


def _pytorch(path: Path) -> Any:
    _refuse_programs(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader raises whatever the first wrong byte brings about
        raise BadInput(f"{path.name!r} cannot be read as weights: {' '.join(str(error).split())[:160]}. {NEEDED}") from None


def _refuse_programs(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            odd = [m.filename for m in members if not MEMBERS.fullmatch(m.filename)]
            wrong = next((m for m in members if m.filename.endswith("/data.pkl")), None)
            if odd or wrong is None or "/" not in wrong.filename:
                said = f"it holds {odd[0][:80]!r}" if odd else "it holds no weights"
                raise BadInput(f"{path.name!r} is a zip archive, but none of weights: {said}. {NEEDED}")
            if wrong.file_size > MOST_PICKLE or any(m.compress_type != zipfile.ZIP_STORED for m in members):
                raise BadInput(f"{path.name!r} is packed as PyTorch never packs weights. {NEEDED}")
            names = _named(archive.read(wrong))
    except BadInput:
        raise
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError):
        raise BadInput(f"{path.name!r} is damaged. Save it again. {NEEDED}") from None
    for name in names:
        if name in HIDING:
            raise BadInput(
                f"{path.name!r} would run something that it names as torch.save never does ({name}) when opened, and never is here. "
                "Save model.state_dict() again by torch.save, without a pickle_protocol."
            )
        if not ALLOWED.fullmatch(name):
            raise BadInput(
                f"{path.name!r} would run {name.replace(' ', '.')!r} when opened, and never is here: it holds more than weights (a whole "
                "model, perhaps). Save model.state_dict() instead."
            )


def _named(data: bytes) -> list[str]:
    """Return the classes and functions that a pickle names, found by walking its opcodes without executing any; of `HIDING`, their own.

    Raises:
        ValueError: it is no pickle.
    """
    found = []
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL":
            found.append(str(argument))
        elif opcode.name in HIDING:
            found.append(opcode.name)
    return found


def _tensors(found: Any) -> State:
    """Return the tensors by name: at the top, or in a part that is usually called so."""
    if not isinstance(found, Mapping):
        return {}
    own = {str(name): value for name, value in found.items() if isinstance(value, torch.Tensor)}
    if own:
        return own
    return next((inner for name in NESTED if (inner := _tensors(found.get(name)))), {})


def _step_size(found: Any) -> float | None:
    """Return the step size that a checkpoint tells, by itself or in its optimiser."""
    if not isinstance(found, Mapping):
        return None
    groups = next((part.get("param_groups") for name, part in found.items() if "optim" in str(name) and isinstance(part, Mapping)), None)
    given = [found.get("lr"), found.get("learning_rate"), groups[0].get("lr") if groups else None]
    return next((float(lr) for lr in given if isinstance(lr, int | float) and not isinstance(lr, bool)), None)


def _bare(state: State) -> State:
    """Return the state without a prefix that all names share because a wrapper was saved."""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            return _bare({name.removeprefix(prefix): value for name, value in state.items()})
    return state
