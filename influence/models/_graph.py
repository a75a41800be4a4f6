"""A graph of operations as JSON text, checked: whoever wrote it, it calls nothing but the operations that are listed.

`{"x": [name, dtype, shape], "y": name, "tensors": {name: [in the state, kind, shape, dtype]}, "nodes": [[operation, {argument: value},
[names of the results]], ...]}`. In values, {"of": name} is what an earlier node made, {"dtype": name} a number format, {"number": text} a
number that is not finite.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from influence.errors import BadInput
from influence.models._operations import operation, refuse_training

MOST_TEXT, MOST_NODES, MOST_PARAMETERS = 20_000_000, 50_000, 1_000_000_000
DTYPES = ("float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
KINDS = ("parameter", "buffer")
NUMBERS = ("inf", "-inf", "nan")
WRITTEN = "Write it again with torch.export.save."


@dataclass(frozen=True)
class Held:
    """A tensor of the model: its name in the state, whether it is a parameter or a buffer, shape and number format."""

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Node:
    """One call: operation, arguments by name, and the names that its results get."""

    target: str
    given: Mapping[str, Any]
    to: tuple[str, ...]

    @property
    def of(self) -> list[str]:
        """Names of what it is given."""
        return list(named(self.given))


@dataclass(frozen=True)
class Told:
    """What the text says. `shape`: of one input, None where a size is left open."""

    x: str
    dtype: str
    shape: tuple[int | None, ...]
    y: str
    tensors: Mapping[str, Held]
    nodes: tuple[Node, ...]


def named(value: Any) -> Iterator[str]:
    """Yield the names of earlier results in a value."""
    if isinstance(value, Mapping):
        yield from [value["of"]] if "of" in value else [name for part in value.values() for name in named(part)]
    elif isinstance(value, list):
        for part in value:
            yield from named(part)


@lru_cache(maxsize=16)
def told(text: str) -> Told:
    """Return what a text says, every part of it checked.

    Raises:
        BadInput: it is no such graph, or calls what no graph may call.
    """
    try:
        assert len(text) <= MOST_TEXT
        found = json.loads(text)
        x, dtype, shape = found["x"]
        tensors = {str(name): Held(str(n), kind, tuple(size), of) for name, (n, kind, size, of) in found["tensors"].items()}
        nodes = tuple(Node(str(target), dict(given), tuple(map(str, to))) for target, given, to in found["nodes"])
        made = Told(str(x), dtype, tuple(shape), str(found["y"]), tensors, nodes)
        assert dtype in DTYPES
        assert len(nodes) <= MOST_NODES
        assert all(_is_held(held) for held in tensors.values())
        assert all(_is_value(value) for node in nodes for value in node.given.values())
        assert len({held.name for held in tensors.values()}) == len(tensors)
        assert sum(math.prod(held.shape) for held in tensors.values()) <= MOST_PARAMETERS
    except (ValueError, TypeError, KeyError, AssertionError, AttributeError, RecursionError):
        raise BadInput(f"The graph is damaged, or larger than any model here. {WRITTEN}") from None
    _check(made)
    return made


def _is_held(held: Held) -> bool:
    path = held.name.split(".")
    plain = all(part.isidentifier() or part.isdigit() for part in path) and not any(part.startswith("__") for part in path)
    sizes = all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**31 for n in held.shape)
    real = held.dtype in ("float32", "float64") or held.kind == "buffer"
    return plain and sizes and held.kind in KINDS and held.dtype in DTYPES and real


def _is_value(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_value(part) for part in value)
    if not isinstance(value, Mapping):
        return True
    ((kind, text),) = value.items()
    return isinstance(text, str) and (kind == "of" or (kind == "dtype" and text in DTYPES) or (kind == "number" and text in NUMBERS))


def _check(made: Told) -> None:
    known = {made.x, *made.tensors}
    for node in made.nodes:
        operation(node.target)
        refuse_training(node.target, dict(node.given))
        if unknown := [name for name in node.of if name not in known]:
            raise BadInput(f"The graph uses {unknown[0][:80]!r} before it is made. {WRITTEN}")
        known |= set(node.to)
    if made.y not in known:
        raise BadInput(f"The graph does not make its answer {made.y[:80]!r}. {WRITTEN}")
    if not any(held.kind == "parameter" for held in made.tensors.values()):
        raise BadInput("The graph has no parameters, so that there is nothing that training rows could have moved.")
