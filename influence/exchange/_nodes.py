"""From the JSON in a .pt2 file to the shorter text that `influence/models/graph.py` runs: what each node calls, and nothing beside."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from influence.errors import BadInput
from influence.models._graph import named
from influence.models._operations import MACHINE, NOTHING, VIEWS, name_of

DTYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 7: "float32", 8: "float64", 12: "bool"}
"""Number formats by PyTorch's number for them."""
SYMBOL = re.compile(r"Symbol\('\w+'(, \w+=\w+)*\)|\w+")
NAMED = ("as_tensor", "as_tensors", "as_sym_int", "as_sym_ints", "as_optional_tensor", "as_optional_tensors")
NUMBERS = ("as_float", "as_floats", "as_int", "as_ints", "as_bool", "as_bools", "as_string")
NOWHERE = ("as_none", "as_device", "as_layout", "as_memory_format")
ENDS = ("softmax", "_softmax", "sigmoid", "hardsigmoid")
STATIC = (
    "The graph takes {n} rows and no other number. Export it for any: torch.export.export(model.eval(), (x,), "
    "dynamic_shapes=({{0: torch.export.Dim('rows')}},)), with two or more rows in x."
)
STATE = "The graph changes the model's own state or inputs when it answers. Call model.eval() before torch.export.export."
ONE = "The graph takes {n} inputs and gives {m} results; one of each is followed here. Export a module that takes one tensor."


def condensed(module: Mapping[str, Any], tensors: Mapping[str, Any], aliases: Mapping[str, str]) -> str:
    """Return the text of a graph. `tensors`: its own by name in the graph; `aliases`: tied ones, by the name of the first.

    Raises:
        BadInput: it has other than one input and one result, a fixed number of rows, ends in probabilities, or changes what others share.
    """
    graph, signature = module["graph"], module["signature"]
    inputs = [spec["user_input"]["arg"] for spec in signature["input_specs"] if "user_input" in spec]
    outputs = [spec.get("user_output", {}).get("arg") for spec in signature["output_specs"]]
    others = {kind for spec in signature["input_specs"] for kind in spec} - {"user_input", "parameter", "buffer", "tensor_constant"}
    if len(inputs) != 1 or len(outputs) != 1 or others or not outputs[0] or "as_tensor" not in inputs[0] or "as_tensor" not in outputs[0]:
        mutated = any("user_output" not in spec for spec in signature["output_specs"])
        raise BadInput(
            "The graph changes the model's own state when it answers. Call model.eval() before torch.export.export." if mutated
            else ONE.format(n=len(inputs), m=len(outputs))
        )  # fmt: skip
    x, y = inputs[0]["as_tensor"]["name"], outputs[0]["as_tensor"]["name"]
    walk = _Nodes({**{name: name for name in tensors}, **aliases, x: x})
    nodes = [made for node in graph["nodes"] if (made := walk.node(node)) is not None]
    if walk.calls.get(y) in ENDS:
        raise BadInput(f"The model ends in {walk.calls[y]}: its answers are probabilities. Export it without, so that it gives logits.")
    told = {"x": _input(graph["tensor_values"][x], x), "y": walk.names[y], "tensors": tensors, "nodes": nodes}
    return json.dumps(told, separators=(",", ":"), allow_nan=False)


def _input(meta: Mapping[str, Any], name: str) -> list[Any]:
    """Return name, number format and shape of the input, sizes that are left open as null.

    Raises:
        BadInput: the number of rows is fixed.
    """
    sizes = meta["sizes"]
    if not sizes or not SYMBOL.fullmatch(str(sizes[0].get("as_expr", {}).get("expr_str", ""))):
        raise BadInput(STATIC.format(n=sizes[0].get("as_int", "some") if sizes else "no"))
    return [name, DTYPES[meta["dtype"]], [size.get("as_int") for size in sizes[1:]]]


class _Nodes:
    """Turns nodes one after another.

    `names`: what a name stands for by now; `own`: tensors of the model, and its input; `shared`: names whose memory others may share;
    `calls`: what made a name.
    """

    def __init__(self, names: dict[str, str]) -> None:
        self.names, self.own, self.shared = names, frozenset(names), set(names)
        self.calls: dict[str, str] = {}

    def node(self, node: Mapping[str, Any]) -> list[Any] | None:
        """Return a node as [operation, arguments, results]; None for what does nothing here."""
        target = str(node["target"]).removeprefix("torch.ops.")
        if name_of(target) in NOTHING:
            return None
        given = {str(part["name"]): self._value(part["arg"]) for part in node["inputs"] if part["name"] not in MACHINE}
        if not target.endswith("to.device"):
            given.pop("device", None)
        to = [name for part in node["outputs"] for name in _results(part)]
        name = name_of(target)
        if name in VIEWS or name == "detach_":
            self.shared |= {*named(given), *to}
        if name.endswith("_") and not name.startswith("_"):
            target = self._in_place(target, node, given, to)
        for result in to:
            self.names[result] = result
            self.calls[result] = name_of(target)
        return [target, given, to]

    def _in_place(self, target: str, node: Mapping[str, Any], given: dict[str, Any], to: list[str]) -> str:
        """Return the operation that makes a new tensor instead of changing its first argument, which from now on stands for the new one.

        Raises:
            BadInput: others share that tensor's memory, and would see the change.
        """
        space, name, overload = target.split(".")
        old, changed = next(iter(named(given)), ""), node["inputs"][0]["arg"]["as_tensor"]["name"]
        if old in self.own:
            raise BadInput(STATE)
        if name != "detach_" and old in self.shared:
            raise BadInput(
                f"The graph changes a tensor in place that others share ({target}). Write that line as x = x + y, and export again."
            )
        for known, now in self.names.items():
            if now == old:
                self.names[known] = to[0]
        self.names[changed] = to[0]
        return f"{space}.{name[:-1]}.{overload}"

    def _value(self, arg: Mapping[str, Any]) -> Any:
        """Return an argument; see `influence/models/_graph.py`.

        Raises:
            BadInput: it is a graph of its own, an object, or of a kind that is not known here.
        """
        ((kind, value),) = arg.items()
        if kind in NAMED:
            return [self._one(part) for part in value] if kind.endswith("s") else self._one(value)
        if kind in NUMBERS:
            return [_number(part) for part in value] if kind.endswith("s") else _number(value)
        if kind == "as_scalar_type":
            return {"dtype": DTYPES[value]}
        if kind in NOWHERE:
            return None
        raise BadInput(f"The graph holds an argument {kind!r}: code or objects are never run here. Export a module of plain tensors.")

    def _one(self, part: Mapping[str, Any]) -> Any:
        """Return a tensor, a size, or None, as they are named or written."""
        if "name" in part or "as_name" in part:
            return {"of": self.names[part.get("name", part.get("as_name"))]}
        if "as_tensor" in part:
            return {"of": self.names[part["as_tensor"]["name"]]}
        return None if "as_none" in part else int(part["as_int"])


def _number(value: Any) -> Any:
    """Return a number, truth value or text; infinity is text in JSON."""
    if isinstance(value, float) or value in ("Infinity", "-Infinity", "NaN"):
        return value if isinstance(value, float) and math.isfinite(value) else {"number": str(float(value))}
    return value


def _results(part: Mapping[str, Any]) -> list[str]:
    ((kind, value),) = part.items()
    if kind == "as_tensors":
        return [str(one["name"]) for one in value]
    return [str(value.get("name", value.get("as_name", "")))] if isinstance(value, Mapping) else [""]
