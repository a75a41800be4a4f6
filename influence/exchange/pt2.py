"""Read what `torch.export.save` wrote, without PyTorch's own reader, which unpickles inputs and evaluates expressions that a file holds.

A .pt2 file is a zip archive: the graph and the table of its tensors are JSON, tensors are raw numbers. Its one pickle, the inputs that the
model was shown, is never opened. PyTorch: torch/export/pt2_archive and torch/_export/serde/schema.py (version 8).
"""

from __future__ import annotations

import json
import math
import re
import stat
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from influence.errors import BadInput
from influence.exchange._nodes import DTYPES, condensed
from influence.exchange.weights import MOST_BYTES, PICKLE, Weights, begins_as_pickle, read_weights
from influence.types import State

MOST_JSON = 100_000_000
SCHEMA = 8
EXPORT = (
    "Write it by torch.export.save(torch.export.export(model.eval(), (x,), dynamic_shapes=({0: torch.export.Dim('rows')},)), 'model.pt2')."
)
MEMBERS = re.compile(
    r"archive_(format|version)|byteorder|version|\.data/(version|serialization_id)|\.(format_version|storage_alignment)|models/model\.json"
    r"|data/(weights/(weight_\d+|model_weights_config\.json)|constants/(tensor_\d+|model_constants_config\.json)|sample_inputs/model\.pt)"
)
PROGRAMS = {
    "data/aotinductor/": "compiled programs", "data/constants/custom_obj": "objects of somebody's classes",
    "data/constants/opaque_obj": "objects of somebody's classes", "data/weights/model.pt": "pickled weights",
}  # fmt: skip
"""Members that run code when they are opened, by how their names begin."""


@dataclass(frozen=True)
class GraphFile:
    """A model as a graph: its text for `influence/models/graph.py`, and all of its tensors by name, constants too."""

    text: str
    weights: Weights
    buffers: State = field(default_factory=dict)

    def whole(self, state: State) -> State:
        """Return a state dict of the same module with the constants and other buffers that only the graph has."""
        own = {name: value for name, value in state.items() if name in self.weights.state}
        return {**{name: value for name, value in self.buffers.items() if name not in own}, **own}

    def checkpoints(self, files: Sequence[Path]) -> list[Weights]:
        """Return the states of the same training in these files, completed; without any, the graph's own.

        Raises:
            BadInput: one cannot be read, or the last of them is not the model that was exported.
        """
        found = [read_weights(file, whole=True) for file in files]
        states = [Weights(self.whole(w.state), w.lr) for w in found] or [self.weights]
        last, own = states[-1].state, self.weights.state
        odd = next((name for name, value in own.items() if name not in last or not torch.equal(last[name].to(value.dtype), value)), "")
        if odd:
            raise BadInput(
                f"The last checkpoint and the .pt2 file beside it are of different models or moments: {odd!r} differs. Export the last."
            )
        return states


def graph_in(path: Path) -> GraphFile | None:
    """Return what a .pt2 file says, or the one in a folder; None if there is none.

    Raises:
        BadInput: it cannot be used, or there are several.
    """
    files = (
        [p for p in path.iterdir() if p.suffix == ".pt2"] if path.is_dir() else [path] if is_graph(path) or path.suffix == ".pt2" else []
    )
    if len(files) > 1:
        names = ", ".join(sorted(file.name for file in files)[:5]) + (", …" if len(files) > 5 else "")
        raise BadInput(
            f"{path.name!r} holds {len(files)} .pt2 files: {names}. Name one of them; its checkpoints are .safetensors beside it, in a "
            "folder with this one alone."
        )
    return read_graph(files[0]) if files else None


def is_graph(path: str | Path) -> bool:
    """Whether a file is an archive as torch.export writes it, by what it holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.count("/") == 1 and name.endswith("/archive_format") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError):
        return False


def read_graph(path: str | Path) -> GraphFile:
    """Return graph and tensors of a .pt2 file.

    Raises:
        BadInput: it is damaged, was written by another version, holds code or pickled tensors, takes a fixed number of rows, or its graph
            calls what no graph may call.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(f"{path.name!r} has {path.stat().st_size / 1e9:.1f} GB; at most {MOST_BYTES / 1e9:.0f} GB are read.")
        with zipfile.ZipFile(path) as archive:
            parts = _members(archive, path)
            told = _json(archive, parts, "models/model.json")
            weights = _tensors(archive, parts, "weights")
            constants = _tensors(archive, parts, "constants")
        if told["schema_version"]["major"] != SCHEMA:
            raise BadInput(f"{path.name!r} was written by another version of PyTorch than is read here. Write it with PyTorch 2.9 to 2.13.")
        return _made(told, weights, constants)
    except BadInput:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, AssertionError, RecursionError, RuntimeError) as error:
        said = f"{type(error).__name__} {str(error)[:60]}"
        raise BadInput(f"{path.name!r} is no graph as torch.export writes them ({said}). {EXPORT}") from None
    except (zipfile.BadZipFile, OSError, NotImplementedError, EOFError):
        raise BadInput(f"{path.name!r} is {PICKLE if begins_as_pickle(path) else 'damaged'}. {EXPORT}") from None


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the parts by name, without the archive's own folder.

    Raises:
        BadInput: there are others than a graph has, links, packed ones, or more than the file could hold.
    """
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        folder, _, name = member.filename.partition("/")
        what = next((what for start, what in PROGRAMS.items() if name.startswith(start)), "")
        if what:
            raise BadInput(f"{path.name!r} holds {what} ({name[:60]!r}), which could run code when opened, and never are here. {EXPORT}")
        if not MEMBERS.fullmatch(name) or name in found or stat.S_ISLNK(member.external_attr >> 16) or folder in ("", "..", "."):
            raise BadInput(f"{path.name!r} holds {member.filename[:80]!r}, which is no part of one exported model. {EXPORT}")
        found[name] = member
    if any(m.compress_type != zipfile.ZIP_STORED for m in found.values()) or sum(m.file_size for m in found.values()) > path.stat().st_size:
        raise BadInput(f"{path.name!r} is packed as PyTorch never packs a graph. {EXPORT}")
    if "byteorder" in found and archive.read(found["byteorder"]) != b"little":
        raise BadInput(f"{path.name!r} was written on a machine of another byte order. Write it on a usual one.")
    return found


def _json(archive: zipfile.ZipFile, parts: Mapping[str, zipfile.ZipInfo], name: str) -> dict[str, Any]:
    if parts[name].file_size > MOST_JSON:
        raise BadInput(f"The graph has {parts[name].file_size / 1e6:,.0f} MB of JSON; at most {MOST_JSON / 1e6:.0f} MB are read.")
    found = json.loads(archive.read(parts[name]))
    assert isinstance(found, dict)
    return found


@dataclass(frozen=True)
class _Tensors:
    """Tensors by name; `same`: of tied ones, all but the first, the name of the first."""

    state: State
    same: Mapping[str, str]


def _tensors(archive: zipfile.ZipFile, parts: Mapping[str, zipfile.ZipInfo], kind: str) -> _Tensors:
    listed = _json(archive, parts, f"data/{kind}/model_{kind}_config.json")["config"]
    state: State = {}
    same: dict[str, str] = {}
    where: dict[str, str] = {}
    for name, told in listed.items():
        if told["use_pickle"] or told["tensor_meta"] is None:
            raise BadInput(f"{name[:80]!r} is a pickled tensor, which could run code when opened, and never is here. Export plain tensors.")
        first = where.setdefault(json.dumps([told["path_name"], told["tensor_meta"]], sort_keys=True), name)
        if first != name:
            same[name] = first
            continue
        state[name] = _tensor(name, archive.read(parts[f"data/{kind}/{told['path_name']}"]), told["tensor_meta"])
    return _Tensors(state, same)


def _tensor(name: str, raw: bytes, meta: Mapping[str, Any]) -> torch.Tensor:
    """Return a tensor from its storage's bytes.

    Raises:
        BadInput: it is of a kind that is not read, does not lie in its bytes, or holds a number that is not finite.
    """
    dtype = DTYPES.get(meta["dtype"])
    if dtype is None:
        raise BadInput(f"{name[:80]!r} is in a number format that is not followed here. Export the model in float32: model.float().")
    sizes, strides = ([int(part["as_int"]) for part in meta[key]] for key in ("sizes", "strides"))
    offset, kind = int(meta["storage_offset"]["as_int"]), getattr(torch, dtype)
    reach = offset + 1 + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    if min([0, offset, *sizes, *strides]) < 0 or math.prod(sizes) * kind.itemsize > len(raw) or reach * kind.itemsize > len(raw) > 0:
        raise BadInput(f"{name[:80]!r} claims other numbers than the file holds. {EXPORT}")
    stored = torch.frombuffer(bytearray(raw), dtype=kind) if raw else torch.zeros(0, dtype=kind)
    made = torch.as_strided(stored, sizes, strides, offset).clone(memory_format=torch.contiguous_format)
    if made.is_floating_point() and not torch.isfinite(made).all() and not _is_mask(made):
        raise BadInput(f"{name[:80]!r} holds numbers that are not finite: that training diverged. Bring an earlier checkpoint.")
    return made


def _is_mask(value: torch.Tensor) -> bool:
    """Whether a tensor is a mask of attention: zeros and minus infinity alone."""
    return bool(((value == 0) | (value == -math.inf)).all())


def _made(told: Mapping[str, Any], weights: _Tensors, constants: _Tensors) -> GraphFile:
    module = told["graph_module"]
    tensors: dict[str, list[Any]] = {}
    aliases: dict[str, str] = {}
    state: State = {}
    of: dict[str, str] = {}
    for spec in module["signature"]["input_specs"]:
        ((kind, what),) = spec.items()
        if kind not in ("parameter", "buffer", "tensor_constant"):
            continue
        name, label = what["arg"]["name"], str(what[f"{kind}_name"])
        source = constants if kind == "tensor_constant" or what.get("persistent") is False else weights
        first = source.same.get(label, label)
        if first in of:
            aliases[name] = of[first]
            continue
        of[first], value = name, source.state[first]
        tensors[name] = [
            first,
            "parameter" if kind == "parameter" else "buffer",
            list(value.shape),
            str(value.dtype).removeprefix("torch."),
        ]
        state[first] = value
    text = condensed(module, tensors, aliases)
    buffers = {name: state[name] for name, kind, *_ in tensors.values() if kind == "buffer"}
    return GraphFile(text, Weights(state), buffers)
