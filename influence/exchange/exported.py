"""A model as it leaves Lethe: a folder with its weights, and `model.json` for all that they mean. Nothing in it is code.

`model.safetensors`: weights under the architecture's own names. `model.json`: the architecture with its settings, inputs, outputs and
classes in order, and how raw columns become inputs. `probe.npz`: drawn inputs, no rows of anybody's, and the model's answers to them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from influence.data.encoding import encode
from influence.data.schema import plain
from influence.data.stated import stated
from influence.data.text import tokens as texts
from influence.errors import BadInput
from influence.exchange.weights import Weights, read_weights
from influence.loop import Bound
from influence.registry import described, models
from influence.types import Architecture, State

FORMAT, WEIGHTS, TOLD, PROBE = 1, "model.safetensors", "model.json", "probe.npz"
MOST_BYTES = 50_000_000
MOST_LISTED = 1000
"""Numbers in one setting or shape: a model of more layers than that is nobody's."""
PROBED = 8
WRITTEN = "It is written by export-model; bring the whole folder as it was."
PARTS = ("target", "id", "split", "eval", "positive")
LISTS = ("protected", "audit", "drop")


@dataclass(frozen=True)
class Exported:
    """What `model.json` says.

    `model`: bound to its inputs and outputs. `encoding`: JSON, with the target's classes, or its mean and sd. `data`: name and digest of
    the data set, and the arguments of `train` by which it was read. `claim`: how the weights came to be, by the file's own account.
    """

    model: Architecture
    encoding: Mapping[str, Any]
    dtype: str = "float32"
    data: Mapping[str, Any] = field(default_factory=dict)
    claim: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the outputs in order; none for a numeric target."""
        return tuple(self.encoding["target"].get("classes", ()))

    @cached_property
    def bound(self) -> Bound:
        """The module with its weights, to evaluate.

        Raises:
            BadInput: the weights are not this architecture's.
        """
        state = self.weights().state  # first: only what fits them is built
        bound = Bound(self.model, dtype=self.dtype, on=torch.device("cpu")).load(state)
        bound.module.eval()
        return bound

    def weights(self) -> Weights:
        """Return the weights beside `model.json`.

        Raises:
            BadInput: they cannot be read, or are not this architecture's.
        """
        assert self.folder is not None
        found = read_weights(self.folder / WEIGHTS)
        shapes = {name: tuple(value.shape) for name, value in found.state.items()}
        try:
            with torch.device("meta"):  # shapes alone: however large they are said to be, nothing is allocated
                wanted = {name: tuple(value.shape) for name, value in self.model().state_dict().items()}
        except (RuntimeError, OverflowError, TypeError):
            wanted = {}
        if shapes != wanted:
            odd = next((name for name in {**wanted, **shapes} if wanted.get(name) != shapes.get(name)), "")
            raise BadInput(
                f"{WEIGHTS} and {TOLD} are of different models: {odd!r} is {shapes.get(odd, 'not there')} in the one and "
                f"{wanted.get(odd, 'not there')} in the other. {WRITTEN}"
            )
        return Weights({name: found.state[name] for name in wanted}, found.lr)

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the predictions for raw rows of a table: `p_<class>` each, or `prediction` in the target's own unit.

        Raises:
            BadInput: a column is missing, or the model is not one of tables or texts.
        """
        read = texts.encode_texts if self.encoding.get("kind") == "text" else encode
        x = as_input(read(plain(rows), self.encoding), self.bound.flat.dtype)
        with torch.no_grad():
            said = self.bound.module(x)
        if self.classes:
            return pd.DataFrame(said.softmax(1).numpy(), columns=[f"p_{name}" for name in self.classes], index=rows.index)
        goal = self.encoding["target"]
        return pd.DataFrame({"prediction": said[:, 0].numpy() * goal["sd"] + goal["mean"]}, index=rows.index)


def write_exported(folder: Path, made: Exported, state: State, like: np.ndarray, **more: Any) -> None:
    """Write the three files. `like`: inputs (n, *shape) by whose kind of number the probe is drawn; `more`: for people, into model.json."""
    bound = Bound(made.model, dtype=made.dtype, on=torch.device("cpu")).load(state)
    bound.module.eval()
    x = drawn(like, PROBED)
    with torch.no_grad():
        said = bound.module(as_input(x, bound.flat.dtype))
    np.savez(folder / PROBE, x=x, y=said.numpy())
    save_file({name: value.contiguous() for name, value in bound.state().items()}, folder / WEIGHTS)
    shape = {"inputs": list(made.model.inputs), "outputs": made.model.outputs, "dtype": made.dtype}
    kind = {key: value for key, value in described(made.model).items() if key != "version"}
    told = {"format": FORMAT, "model": {**kind, **shape}, "encoding": made.encoding, "data": made.data, "claim": made.claim}
    (folder / TOLD).write_text(json.dumps({**told, **more}, indent=1, allow_nan=False), encoding="utf-8")


def drawn(like: np.ndarray, n: int) -> np.ndarray:
    """Return n inputs drawn without looking at any row: normal numbers, or whole ones up to the largest, (n, *shape)."""
    rng, shape = np.random.default_rng(0), (n, *like.shape[1:])
    return rng.normal(size=shape).astype(np.float32) if like.dtype.kind == "f" else rng.integers(0, int(like.max()) + 1, shape)


def as_input(x: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    """Return inputs as a module takes them: measurements in its number format, whole numbers as they are."""
    made = torch.from_numpy(np.array(x))
    return made.to(dtype) if made.is_floating_point() else made


def is_exported(path: Path) -> bool:
    """Whether a folder is one that `write_exported` wrote."""
    return path.is_dir() and (path / TOLD).is_file()


def read_exported(folder: str | Path) -> Exported:
    """Return what the folder's `model.json` says, every part of it checked; weights are read when asked.

    Raises:
        BadInput: it is missing, damaged, or states what cannot be.
    """
    folder = Path(folder)
    told = _json(folder / TOLD)
    kind = told["model"]
    inputs, outputs = kind.get("inputs"), kind.get("outputs")
    if not _are_sizes(inputs) or not _are_sizes([outputs]) or kind.get("dtype") not in ("float32", "float64"):
        raise BadInput(f"`inputs`, `outputs` or `dtype` of the model in {TOLD} is no shape, number or format. {WRITTEN}")
    given = kind.get("given")
    if not isinstance(given, dict) or any(isinstance(value, list) and len(value) > MOST_LISTED for value in given.values()):
        raise BadInput(f"`given` of the model in {TOLD} must be its settings by name. {WRITTEN}")
    made = replace(models.make(str(kind.get("name")), given), inputs=tuple(inputs), outputs=outputs)
    encoding = told["encoding"]
    reader = {"table": stated, "text": texts.stated}.get(str(encoding.get("kind")))
    encoding = reader(encoding) if reader else encoding
    found = Exported(made, encoding, kind["dtype"], _data(told["data"]), _claim(told["claim"]), folder)
    _refuse_misfit(found)
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError
        told = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(told, dict)
        assert told["format"] == FORMAT
        assert all(isinstance(told[part], dict) for part in ("model", "encoding", "data", "claim"))
    except (OSError, ValueError, KeyError, AssertionError, RecursionError):
        raise BadInput(f"{path.name!r} is missing, too large, or describes no model of format {FORMAT}. {WRITTEN}") from None
    return told


def _are_sizes(given: Any) -> bool:
    whole = isinstance(given, list) and 0 < len(given) <= 8 and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in given)
    return whole and math.prod(given) < 2**31


def _data(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of the data, as far as it is of the right kind: it only fills in what an importer leaves open."""
    lists = {name: [str(part) for part in told[name]] for name in LISTS if isinstance(told.get(name), list)}
    maps = {name: {str(k): v for k, v in told[name].items()} for name in ("data_set", "kinds") if isinstance(told.get(name), dict)}
    share, seed = told.get("test_share"), told.get("seed")
    split = {"test_share": float(share)} if isinstance(share, int | float) and 0 < share < 1 else {}
    split |= {"seed": seed} if isinstance(seed, int) and 0 <= seed < 2**31 else {}
    return {**{name: str(told.get(name) or "") for name in (*PARTS, "name", "source", "digest")}, **lists, **maps, **split}


def _claim(told: Mapping[str, Any]) -> dict[str, Any]:
    removed = told.get("removed")
    return {"level": str(told.get("level", ""))[:20], "removed": removed if isinstance(removed, int) and removed >= 0 else 0}


def _refuse_misfit(found: Exported) -> None:
    goal, width = found.encoding.get("target"), len(found.encoding.get("features", ()))
    numbers = goal if isinstance(goal, dict) else {"mean": None}
    if not isinstance(numbers.get("classes", []), list) or not all(_finite(numbers.get(key, 1.0)) for key in ("mean", "sd")):
        raise BadInput(f"`encoding` in {TOLD} must say what the target is: its classes in order, or its mean and sd. {WRITTEN}")
    if found.model.outputs != (len(found.classes) or 1):
        raise BadInput(f"The model in {TOLD} has {found.model.outputs} outputs and {len(found.classes)} classes. {WRITTEN}")
    if found.encoding.get("kind") == "table" and tuple(found.model.inputs) != (width,):
        raise BadInput(f"The model in {TOLD} takes {tuple(found.model.inputs)}, and its columns make {width} inputs. {WRITTEN}")


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def load_model(folder: str | Path) -> Exported:
    """Return an exported model: `predict(rows)` answers raw rows, `bound.module` is the PyTorch module.

    Raises:
        BadInput: it is no folder that export-model wrote, or was changed.
    """
    found = read_exported(folder)
    assert found.bound
    return found


def same_encoding(first: Mapping[str, Any], second: Mapping[str, Any], but: Sequence[str] = ("brought",)) -> bool:
    """Whether two encodings make the same inputs of the same rows."""
    return {k: v for k, v in first.items() if k not in but} == {k: v for k, v in second.items() if k not in but}
