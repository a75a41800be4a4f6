"""Runs a graph of operations as a module: on tensors, or on shapes alone to see what it would do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from influence.errors import BadInput
from influence.models._graph import WRITTEN, Held, Node, Told, told
from influence.models._operations import MADE, name_of, operation

MOST_NUMBERS = 2**26
"""Numbers that one step may hold for two rows: beyond that it is no model that can be followed here."""
MOST_SIZE = 2**62
"""The largest number that arithmetic of sizes may give."""
MORE_ROWS = (3, 4096)
"""Numbers of rows for which a graph is tried besides two."""


class Program(nn.Module):
    """The module that runs a graph: (B, *inputs) -> (B, outputs), its tensors under the names of the module that was exported.

    Linear layers and lookups are PyTorch's own modules again, so that what looks for a last linear layer finds it.
    """

    def __init__(self, graph: Told, look: Callable[[tuple[int, ...]], None] = lambda shape: None) -> None:
        """Make its layers and tensors. `look` sees the shape of rows before they are answered, and may refuse it."""
        super().__init__()
        self._told, self._look = graph, look
        self._layers: dict[int, str] = {}
        for at, node in enumerate(graph.nodes):
            self._layer(at, node)
        for held in graph.tensors.values():
            self._hold(held)
        last: dict[str, int] = {name: at for at, node in enumerate(graph.nodes) for name in node.of}
        self._spent = [
            [name for name in dict.fromkeys(node.of) if last[name] == at and name != graph.y] for at, node in enumerate(graph.nodes)
        ]

    def _layer(self, at: int, node: Node) -> None:
        """Make the module of a linear layer or a lookup, if its parameters are those of one module and this is their only use."""
        name = name_of(node.target)
        roles = {role: self._told.tensors.get(value["of"]) for role, value in node.given.items() if role in ("weight", "bias") and value}
        if name not in ("linear", "embedding") or not all(roles.values()) or "weight" not in roles:
            return
        held: dict[str, Held] = {role: tensor for role, tensor in roles.items() if tensor is not None}
        path = held["weight"].name.rpartition(".")[0]
        beside = [tensor for tensor in self._told.tensors.values() if tensor.name.rpartition(".")[0] == path]
        uses = sum(node.given["weight"]["of"] in other.of for other in self._told.nodes)
        fits = all(tensor.name == f"{path}.{role}" and tensor.kind == "parameter" for role, tensor in held.items())
        if not path or not fits or len(beside) != len(held) or uses > 1 or len(held["weight"].shape) != 2:
            return
        rows, columns = held["weight"].shape
        padding = node.given.get("padding_idx", -1)
        made = (
            nn.Linear(columns, rows, "bias" in held) if name == "linear" else nn.Embedding(rows, columns, None if padding < 0 else padding)
        )
        self._place(path, made)
        self._layers[at] = path

    def _place(self, path: str, made: nn.Module) -> None:
        parent, _, name = path.rpartition(".")
        self._module(parent).add_module(name, made)

    def _module(self, path: str) -> nn.Module:
        """Return the module at a path, made on the way if it is not there."""
        at: nn.Module = self
        for name in filter(None, path.split(".")):
            if name not in at._modules:
                at.add_module(name, nn.Module())
            at = at._modules[name]  # type: ignore[assignment]
        return at

    def _hold(self, held: Held) -> None:
        """Make a tensor, unless a layer has it already: drawn as PyTorch draws convolutions; scales are 1, shifts and buffers 0.

        Raises:
            BadInput: it has a name that a module needs for itself.
        """
        path, _, name = held.name.rpartition(".")
        module = self._module(path)
        if name in module._parameters:
            return
        if hasattr(module, name):
            raise BadInput(f"The graph names a tensor {held.name[:80]!r}, which PyTorch keeps for itself. Rename it in the model.")
        value = torch.zeros(held.shape, dtype=getattr(torch, held.dtype))
        if held.kind == "buffer":
            module.register_buffer(name, value)
            return
        if value.dim() > 1 and value.numel():
            nn.init.kaiming_uniform_(value, a=math.sqrt(5))
        elif name == "weight":
            value += 1
        module.register_parameter(name, nn.Parameter(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the graph.

        Raises:
            BadInput: a step would need more memory for each row than it does of two.
        """
        if all(isinstance(size, int) for size in x.shape):  # symbols while it is exported again, when nothing is computed
            self._look(tuple(x.shape))
        return self.walk(x, lambda node, found: None)

    def walk(self, x: torch.Tensor, look: Callable[[Node, Any], None]) -> torch.Tensor:
        """Run the graph; `look` sees what each of its calls made."""
        made: dict[str, Any] = {self._told.x: x}
        made |= {name: self._tensor(held.name) for name, held in self._told.tensors.items()}
        for at, node in enumerate(self._told.nodes):
            found = self._run(at, node, made, x.device)
            look(node, found)
            made |= dict(zip(node.to, found if isinstance(found, tuple | list) else (found,), strict=False))
            for name in self._spent[at]:
                made.pop(name, None)
        return made[self._told.y]

    def _tensor(self, name: str) -> Any:
        path, _, own = name.rpartition(".")
        return getattr(self._module(path), own)

    def _run(self, at: int, node: Node, made: Mapping[str, Any], device: torch.device) -> Any:
        if at in self._layers:
            return self._module(self._layers[at])(made[node.given["input" if "input" in node.given else "indices"]["of"]])
        given = {name: _value(value, made) for name, value in node.given.items()}
        if name_of(node.target) in MADE or "device" in given:
            given["device"] = device  # where the rows are, wherever it was that the graph was made
        return operation(node.target)(**given)


def _value(value: Any, made: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_value(part, made) for part in value]
    if not isinstance(value, Mapping):
        return value
    if "of" in value:
        return made[value["of"]]
    return getattr(torch, value["dtype"]) if "dtype" in value else float(value["number"])


class _Largest(TorchDispatchMode):
    """Notes the largest tensor that is made, also by operations within others."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for part in found if isinstance(found, tuple | list) else (found,):
            self.most = max(self.most, part.numel() if isinstance(part, torch.Tensor) else 0)
        return found


@lru_cache(maxsize=16)
def tried(text: str, inputs: tuple[int, ...], outputs: int) -> Told:
    """Return what a text says, once it is seen to take rows of such inputs and to answer each with so many outputs.

    Shapes alone are run: of two rows, and of more to see that no step needs more than its share of memory for each.

    Raises:
        BadInput: it does not, or a step would need more memory than any model here.
    """
    graph = told(text)
    if len(inputs) != len(graph.shape) or any(size not in (None, given) for size, given in zip(graph.shape, inputs, strict=True)):
        wanted = tuple("any" if size is None else size for size in graph.shape)
        raise BadInput(f"The graph takes inputs {wanted}, and the data have {inputs}. Bring the data in the form that the model saw.")
    for rows in MORE_ROWS:
        refuse_growth(text, inputs, outputs, (rows, *inputs))
    return graph


@lru_cache(maxsize=1024)
def refuse_growth(text: str, inputs: tuple[int, ...], outputs: int, shape: tuple[int, ...]) -> None:
    """See that no step makes more numbers of x (B, *shape) than two rows of `inputs` let expect: B halves of what it makes of these.

    Arithmetic of sizes can compare and divide, and views can leave out the first thousand rows, so that what a graph needs of one number of
    rows tells nothing of another: every shape is looked at when it is first seen, by its shapes alone.

    Raises:
        BadInput: one does.
    """
    rows = max(shape[0], 2)  # what does not depend on the rows is as large for one
    two = _needed(text, tuple(map(max, inputs, shape[1:])), outputs, 2)
    for node, few, more in zip(told(text).nodes, two, _needed(text, shape[1:], outputs, shape[0]), strict=True):
        if 2 * more > rows * few:
            raise BadInput(
                f"{node.target[:80]!r} in the graph makes {few:,} numbers of two rows and {more:,} of {shape[0]:,}: more for each row, the "
                "more there are. Only models that answer each row by itself can be followed here."
            )


@lru_cache(maxsize=64)
def _needed(text: str, inputs: tuple[int, ...], outputs: int, rows: int) -> tuple[int, ...]:
    """Return how many numbers each step makes of so many rows, at most at once in one tensor.

    Raises:
        BadInput: it cannot be run, a step makes too many, or the answer is of another shape.
    """
    graph, seen = told(text), _Largest()
    made: list[int] = []

    def look(node: Node, found: Any) -> None:
        if seen.most > MOST_NUMBERS // 2 * max(rows, 2) or (isinstance(found, int) and abs(found) > MOST_SIZE):
            what = f"a size of {found:,}" if isinstance(found, int) else f"{seen.most:,} numbers"
            of = "two rows" if rows == 2 else "1 row" if rows == 1 else f"{rows:,} rows"
            raise BadInput(f"{node.target[:80]!r} in the graph makes {what} of {of}; that is no model for here.")
        made.append(seen.most)
        seen.most = 0

    try:
        with torch.device("meta"), torch.no_grad():
            program, x = Program(graph), torch.zeros(rows, *inputs, dtype=getattr(torch, graph.dtype))
            with seen:
                answer = program.walk(x, look)
    except BadInput:
        raise
    except Exception as error:  # whatever the first step that cannot be brings about
        said = " ".join(str(error).split())[:160]
        raise BadInput(f"The graph cannot be run on inputs {inputs}: {said}. {WRITTEN}") from None
    _refuse_answer(answer, rows, outputs)
    return tuple(made)


def _refuse_answer(answer: Any, rows: int, outputs: int) -> None:
    if not isinstance(answer, torch.Tensor) or answer.shape != (rows, outputs):
        real = tuple(answer.shape[1:]) if isinstance(answer, torch.Tensor) and answer.shape[:1] == (rows,) else "otherwise"
        raise BadInput(f"The graph answers {real} to a row; the target needs {outputs} outputs. Bring the model with one output per class.")
