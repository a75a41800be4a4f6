"""Where a model uses its parameters: each call of an operation that is linear in them, with its input and the delta of its output.

Calls are watched, not modules, so that tied weights, a layer used twice, subclasses, attention, and parameters outside any layer are
nothing special. Whether all uses of a parameter were seen is read from autograd's graph; what was not is left to `whole.py`.
"""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.graph import get_gradient_edge
from torch.overrides import TorchFunctionMode

from influence.errors import BadInput
from influence.grads.moves import READS, Moves, placed, weights
from influence.grads.ops import OPS, Embedding, Op
from influence.grads.parts import Layout, Part, layout

Losses = Callable[[torch.Tensor], torch.Tensor]
"""Outputs (B, C) to the rows' losses (B,)."""

_OPENED = types.FunctionType(  # attention asks whether somebody watches it and then hides what it does; this copy does not ask
    F.multi_head_attention_forward.__code__,
    {**F.multi_head_attention_forward.__globals__, "has_torch_function": lambda *_: False},
    argdefs=F.multi_head_attention_forward.__defaults__,
)


class Astray(BadInput):
    """A batch that cannot be read as the first rows were; its rows must be taken through the whole model, or alone."""

    def __init__(self) -> None:
        super().__init__(
            "The model takes another path through its layers for some rows than for others, or places rows by what is in them, so they "
            "cannot be read layer by layer. Choose the auto or forward sweep, or a method that sweeps."
        )


@dataclass(frozen=True)
class Use:
    """One call of an operation: its arguments, the parameters among them (role and place), and dl_i/d(output)."""

    op: Op
    given: Mapping[str, Any]
    owned: Mapping[str, int]
    shapes: Mapping[str, torch.Size]
    delta: torch.Tensor
    rows: Layout

    @property
    def positions(self) -> int:
        """T: at how many positions of a row the operation is applied."""
        wide_side = self.given["input"] if getattr(self.op, "transposed", False) else self.delta
        return wide_side.numel() // (self.rows.n * self.shapes["weight"][0 if not isinstance(self.op, Embedding) else 1])

    def parts(self) -> dict[int, Part]:
        """Return the rows' gradients by each of its parameters' places."""
        found = self.op.parts(self.given, self.delta, self.rows, self.shapes)
        return {self.owned[role]: part for role, part in found.items()}


class _Watch(TorchFunctionMode):
    """Notes every call of a known operation on a parameter of interest."""

    def __init__(self, places: Mapping[int, int]) -> None:
        super().__init__()
        self.places = places
        self.calls: list[tuple[Op, dict[str, Any], dict[str, int], Any]] = []
        self.reads = False

    def __torch_function__(self, func: Any, kinds: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            with self:
                return _OPENED(*args, **kwargs)
        self.reads |= func in READS
        out = func(*args, **kwargs)
        op = OPS.get(func)
        if op is not None:
            given = {**dict(zip(op.names, args, strict=False)), **kwargs}
            owned = {role: self.places[id(given[role])] for role in op.roles if id(given.get(role)) in self.places}
            if owned and out.requires_grad and _ordinary(given):
                self.calls.append((op, given, owned, get_gradient_edge(out)))
        return out


def _ordinary(given: Mapping[str, Any]) -> bool:
    """Whether no option makes the call something else than linear in its parameters."""
    odd = given.get("max_norm") is not None or given.get("training") or "alpha" in given or "out" in given
    return not odd


@contextmanager
def only(params: Sequence[nn.Parameter], chosen: Sequence[int]) -> Iterator[dict[int, int]]:
    """Within, only the parameters at these places require gradients (frozen ones never do); yields their places by identity."""
    before, wanted = [p.requires_grad for p in params], set(chosen)
    try:
        for k, p in enumerate(params):
            p.requires_grad_(before[k] and k in wanted)
        yield {id(params[k]): k for k in chosen if before[k]}
    finally:
        for p, was in zip(params, before, strict=True):
            p.requires_grad_(was)


def wide(t: Any) -> Any:
    """Half precision to float32, so that sums keep their digits; anything else as it is."""
    return t.float() if isinstance(t, torch.Tensor) and t.dtype in (torch.bfloat16, torch.float16) else t


@dataclass(frozen=True)
class Plan:
    """How to read a batch.

    `places`: the parameters all of whose uses are seen; `layouts`: where the rows lie in each call (None: the losses do not depend on it);
    `rest`: the parameters to be treated as a whole; `numbers`: what the outputs of the calls hold for one row; `moves`: whether rows may
    lie elsewhere in another batch, so that each batch is checked, for one more backward pass.
    """

    places: tuple[int, ...]
    layouts: tuple[str | None, ...]
    rest: tuple[int, ...]
    numbers: int
    moves: bool = False

    @property
    def whole(self) -> Plan:
        """The same with every parameter treated as a whole."""
        return Plan((), (), tuple(sorted({*self.places, *self.rest})), self.numbers)


def plan(module: nn.Module, params: Sequence[nn.Parameter], places: Sequence[int], x: Any, losses: Losses) -> Plan:
    """Try three rows: the loss of each alone shows where rows lie in each call, autograd's graph which uses were not seen."""
    with only(params, places) as known, torch.enable_grad():
        with Moves() as moves:
            watch, found = _run(module, known, x, losses)
        if not found.requires_grad:
            return Plan((), (), tuple(known.values()), 0)  # other rows may reach them
        calls = watch.calls
        edges = reached(found)
        each = [torch.autograd.grad(loss, [e for *_, e in calls], retain_graph=True, allow_unused=True) for loss in found] if calls else []
    told = [{row: d for row, d in enumerate(rows) if d is not None and d.any()} for rows in zip(*each, strict=True)]
    layouts = [layout(deltas, len(found)) if deltas else None for deltas in told]
    layouts = [
        lay if lay and _works(call, next(iter(deltas.values())), lay) else None
        for call, deltas, lay in zip(calls, told, layouts, strict=True)
    ]
    seen = Counter(k for (_, _, owned, _), lay in zip(calls, layouts, strict=True) if lay for k in owned.values())
    rest = {k for key, k in known.items() if seen[k] != edges[key]}
    mine = [k for k in known.values() if k not in rest]  # also those that these rows do not use: if others do, it will be noticed
    kept = [lay.kind if lay else None for (_, _, owned, _), lay in zip(calls, layouts, strict=True) if {*owned.values()} & {*mine}]
    numbers = sum(next(iter(deltas.values())).numel() for deltas in told if deltas)
    return Plan(tuple(mine), tuple(kept), tuple(sorted(rest)), numbers // len(found), moves.seen or watch.reads)


def _works(call: tuple[Any, ...], delta: torch.Tensor, rows: Layout) -> bool:
    op, given, owned, _ = call
    try:
        op.parts(given, delta, rows, {role: given[role].shape for role in owned})
    except (NotImplementedError, RuntimeError):
        return False
    return True


def _run(module: nn.Module, known: Mapping[int, int], x: Any, losses: Losses) -> tuple[_Watch, torch.Tensor]:
    with _Watch(known) as watch:
        out = module(x)
    return watch, losses(out)


def reached(losses: torch.Tensor) -> Counter[int]:
    """Count the edges by which autograd's graph of the losses leads to each leaf, by the leaf's identity."""
    counts: Counter[int] = Counter()
    seen, todo = {losses.grad_fn}, [losses.grad_fn]
    while todo:
        for node, _ in todo.pop().next_functions:  # type: ignore[union-attr]
            leaf = getattr(node, "variable", None)
            if leaf is not None:
                counts[id(leaf)] += 1
            elif node is not None and node not in seen:
                seen.add(node)
                todo.append(node)
    return counts


def uses(module: nn.Module, params: Sequence[nn.Parameter], how: Plan, x: Any, losses: Losses) -> list[Use]:
    """Return the uses of the planned parameters by a batch of rows: one forward and one backward pass to the calls' outputs.

    Raises:
        Astray: the model did other things with this batch than with the first rows, or laid its rows elsewhere.
    """
    if not how.places:
        return []
    with only(params, how.places) as known, torch.enable_grad():
        watch, found = _run(module, known, x, losses)
        if not found.requires_grad:
            return []
        if len(watch.calls) != len(how.layouts):
            raise Astray
        kept = [(*call, Layout(kind, len(found))) for call, kind in zip(watch.calls, how.layouts, strict=True) if kind]  # type: ignore[arg-type]
        deltas = _deltas(found, [edge for *_, edge, _ in kept], [rows for *_, rows in kept], how.moves) if kept else ()
        if how.moves:
            seen = Counter(k for (_, _, owned, *_), delta in zip(kept, deltas, strict=True) if delta is not None for k in owned.values())
            edges = reached(found)
            if any(seen[k] != edges[key] for key, k in known.items()):
                raise Astray
    made = []
    for (op, given, owned, _, rows), delta in zip(kept, deltas, strict=True):
        if delta is None:
            continue
        mine = {role: k for role, k in owned.items() if k in how.places}
        given = {name: wide(value.detach() if isinstance(value, torch.Tensor) else value) for name, value in given.items()}
        made.append(Use(op, given, mine, {role: given[role].shape for role in mine}, wide(delta), rows))
    return made


def _deltas(losses: torch.Tensor, edges: Sequence[Any], rows: Sequence[Layout], moves: bool) -> Sequence[torch.Tensor | None]:
    """Return the derivatives by the calls' outputs (None: no loss depends on it); if rows may move, see that they lie where they should.

    Raises:
        Astray: they do not.
    """
    found = torch.autograd.grad(losses.sum(), edges, allow_unused=True, retain_graph=moves)
    own = [(where, delta, edge) for where, delta, edge in zip(rows, found, edges, strict=True) if delta is not None]
    if not all(where.fits(delta) for where, delta, _ in own):
        raise Astray
    if moves and own:
        by = weights(losses.detach())
        again = torch.autograd.grad((losses * by).sum(), [edge for *_, edge in own])
        if not placed([where for where, *_ in own], [delta for _, delta, _ in own], again, by):
            raise Astray
    return found
